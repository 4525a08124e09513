"""The vocabulary of errors, and the texts that stand beside it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batch_core
from batch_core.error_classes import ErrorClass, cut, known, of_exception, text_of

CORE = Path(str(batch_core.__file__)).parent
# Who takes a class of an error, and as which argument.
TAKE_A_CLASS = {"Failure": 1, "Setback": 0, "UnfitRequestError": 0}


@pytest.mark.parametrize("word", [*ErrorClass, "http_404", "mysql_1406", "KeyError"])
def test_a_word_of_the_vocabulary_stays(word: str) -> None:
    assert known(word) == word


@pytest.mark.parametrize(
    "word", ["", "alice", "http_4040", "http_40", "mysql_", "mysql_1a", "SystemExit"]
)
def test_any_other_word_is_unknown(word: str) -> None:
    assert known(word) == "unknown"


@given(st.text())
def test_whatever_is_said_ends_as_a_word_without_data(word: str) -> None:
    assert len(known(word)) <= 30
    assert known(known(word)) == known(word)


def test_every_class_that_is_written_out_in_the_code_is_a_word_of_the_vocabulary() -> None:
    written = [
        argument.value
        for path in sorted(CORE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        for at, argument in enumerate(node.args)
        if at == TAKE_A_CLASS.get(node.func.id) and isinstance(argument, ast.Constant)
    ]

    assert len(written) > 10
    assert [word for word in written if known(str(word)) != word] == []


@given(st.text(), st.integers(0, 300))
def test_a_text_is_cut_in_bytes_and_never_within_a_character(text: str, limit: int) -> None:
    told = cut(text, limit)

    assert len(told.encode()) <= limit
    assert text.startswith(told)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d" * 500])
def test_a_surrogate_without_its_partner_becomes_a_question_mark(text: str) -> None:
    assert cut(text)[:2] in {"?", "a?", "??"}


def test_an_exception_is_named_by_the_nearest_of_pythons_own() -> None:
    class MineError(LookupError):
        pass

    assert of_exception(MineError("x")) == "LookupError"
    assert of_exception(UnicodeDecodeError("utf-8", b"", 0, 1, "x")) == "UnicodeDecodeError"
    assert text_of(MineError("x")) == "x"
