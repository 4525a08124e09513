"""A YAML file as plain values, with the line that each of them stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

type Place = tuple[str | int, ...]

_MERGE: Final = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that cannot be as it is; the message says what to do about it."""

    line: int
    field: str
    message: str


class InvalidFileError(BatchctlError):
    """A file that a person wrote and that does not hold, with every reason that was found."""

    def __init__(self, file: Path, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(f"{file}:{_sentence(each)}" for each in self.problems))


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file, and where they stand.

    Attributes
    ----------
    file
        Where it was read from.
    text
        The whole file.
    values
        What it says.
    lines
        The line of each place, counted from 1; the place of the whole is empty.
    """

    file: Path
    text: str
    values: Any
    lines: Mapping[Place, int]

    def problem(self, place: Iterable[str | int], message: str) -> Problem:
        """Complain about a place; one that is not in the file stands where its parent does."""
        steps = tuple(place)
        known = steps
        while known not in self.lines:
            known = known[:-1]
        return Problem(self.lines[known], _dotted(steps), message)


def read(file: Path) -> Document:
    """Read a file.

    Raises BatchctlError when it is absent, and InvalidFileError when it is not YAML or says
    something twice.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BatchctlError(f"{file} cannot be read: {error.strerror}.") from error
    return parse(file, text)


def parse(file: Path, text: str) -> Document:
    """Read what would be in a file.

    Raises InvalidFileError when it is not YAML or says something twice.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        reader = _Reader(loader)
        values = reader.value(node, ()) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = Problem(line, "", f"this is not YAML: {error.problem}. Mend the line")
        raise InvalidFileError(file, [problem]) from error
    finally:
        loader.dispose()
    if reader.problems:
        raise InvalidFileError(file, reader.problems)
    return Document(file, text, values, {(): 1, **reader.lines})


class _Reader:
    """Takes the values out of YAML's nodes, which alone know their lines."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self.lines: dict[Place, int] = {}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, place)
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            here = (*place, name)
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                message = "merging with << is not known here. Write it under `defaults`"
                self.problems.append(Problem(line, _dotted(here), message))
            elif name in found:
                message = f"it is given twice, first on line {self.lines[here]}. Remove one"
                self.problems.append(Problem(line, _dotted(here), message))
            else:
                self.lines[here] = line
                found[name] = self.value(value, here)
        return found

    def _sequence(self, node: yaml.SequenceNode, place: Place) -> list[Any]:
        found = []
        for number, item in enumerate(node.value):
            here = (*place, number)
            self.lines[here] = item.start_mark.line + 1
            found.append(self.value(item, here))
        return found


def _dotted(place: Place) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def _sentence(problem: Problem) -> str:
    parts = [str(problem.line), problem.field, problem.message.rstrip(".") + "."]
    return ": ".join(part for part in parts if part)
