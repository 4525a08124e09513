"""The reference JSONata engine, the one whose semantics AWS runs, as a subprocess.

The local cloud evaluates the workflow with a Python port; this is the second opinion.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

_FOLDER = Path(__file__).parents[1] / "jsonata"
_NODE = Path(sys.executable).with_name("node")


class QueryEvaluationError(Exception):
    """What AWS calls States.QueryEvaluationError."""


class Jsonata:
    """Evaluates expressions; use as a context manager."""

    def __enter__(self) -> Self:
        if not (_FOLDER / "node_modules" / "jsonata").is_dir():
            raise FileNotFoundError("the reference engine is not installed; run: make setup")
        self._process = subprocess.Popen(
            [_NODE, _FOLDER / "evaluate.js"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def evaluate(self, expression: str, states: dict[str, Any]) -> Any:
        """Evaluate with ``$states`` bound.

        Raises
        ------
        QueryEvaluationError
            When the expression fails, or has no value: AWS refuses both.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"expression": expression, "states": states}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise QueryEvaluationError(f"{expression}: {answer['error']}")
        if not answer["defined"]:
            raise QueryEvaluationError(f"{expression}: returned nothing (undefined)")
        return answer["value"]


@pytest.fixture(scope="session")
def jsonata() -> Iterator[Jsonata]:
    """Evaluate the workflow's expressions with the reference engine."""
    with Jsonata() as engine:
        yield engine
