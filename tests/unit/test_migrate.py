"""Numbered SQL files, and what a job's table must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batch_core
import job
from batch_core.errors import MigrationError, UnreachableDatabaseError
from batch_core.job import Table
from batch_core.migrate import Migrator, check, read, split
from batch_core.ports import ServerFacts
from tests.support.fakes import FakeDatabase, FakeRunLedger, FakeSchemaStore
from tests.support.table_facts import table_facts

TABLE = Table("t", columns=("a", "b"))
QUERY = "SELECT user_id FROM t"
FINE = table_facts()


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", []),
        (" ;; \n; ", []),
        ("A", ["A"]),
        ("A; B ;\nC;", ["A", "B", "C"]),
        ("A 'x;y' \"p;q\" `m;n`; B", ["A 'x;y' \"p;q\" `m;n`", "B"]),
        (r"A 'it''s; \'; fine'; B", [r"A 'it''s; \'; fine'", "B"]),
        ("A -- no; not here\n; B # nor; here\n;", ["A", "B"]),
        ("A /* a; b */ B; C", ["A   B", "C"]),
        ("-- it's a comment\nA;", ["A"]),
        ("SELECT 1--1; B", ["SELECT 1--1", "B"]),
        ("A /*!80000 HINT; */; B", ["A /*!80000 HINT", "*/", "B"]),
        ("A '-- x' ; B '/* y'", ["A '-- x'", "B '/* y'"]),
        ("A --", ["A"]),
    ],
)
def test_sql_is_cut_at_semicolons_that_end_statements(sql: str, statements: list[str]) -> None:
    assert list(split(sql)) == statements


@pytest.mark.parametrize(
    ("sql", "line"), [("A 'x", 1), ('\nA "x', 2), ("A;\n\nB `x", 3), ("A /* x", 1), ("A 'x\\'", 1)]
)
def test_what_is_never_closed_is_named_with_its_line(sql: str, line: int) -> None:
    with pytest.raises(ValueError, match=f"in line {line} is never closed"):
        list(split(sql))


ROUTINES = [
    "CREATE TRIGGER t BEFORE INSERT ON d FOR EACH ROW SET NEW.n = 1",
    "CREATE TRIGGER t BEFORE INSERT ON d FOR EACH ROW BEGIN\n  SET NEW.n = 1;\nEND",
    "create trigger t before insert on d for each row if new.n is null then set new.n = 1; end if",
    "CREATE DEFINER=`a`@`%` TRIGGER t BEFORE INSERT ON d FOR EACH ROW BEGIN SET NEW.end = 1; END",
    "CREATE PROCEDURE p() BEGIN IF EXISTS (SELECT 1) THEN DO 1; ELSEIF 2 THEN DO 2; END IF; END",
    "CREATE PROCEDURE p() BEGIN SELECT IF(1, 2, 3), REPEAT('x', 2), CASE WHEN 1 THEN 2 END; END",
    "CREATE PROCEDURE p() BEGIN CASE x WHEN 1 THEN SELECT 1; ELSE BEGIN END; END CASE; END",
    "CREATE PROCEDURE p() BEGIN l: LOOP LEAVE l; END LOOP; WHILE 0 DO SET @a = 1; END WHILE; END",
    "CREATE FUNCTION f() RETURNS INT BEGIN REPEAT DO 1; UNTIL 1 END REPEAT; RETURN 1; END",
    "CREATE OR REPLACE PROCEDURE p() BEGIN SELECT 'BEGIN', `BEGIN`; END",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN SELECT 1; SELECT 2; END",
    "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN DO 1; END; DO 2; END",
]


@given(st.lists(st.sampled_from([*ROUTINES, "SELECT 1", "CREATE TABLE begin (event INT)"])))
def test_triggers_and_routines_end_behind_their_last_block(statements: list[str]) -> None:
    assert list(split(";\n".join([*statements, ""]))) == statements


@given(
    st.lists(st.sampled_from([*ROUTINES, "SELECT 1; SELECT 2"]), min_size=1),
    st.sampled_from(["$$", "//", "|", "#end#"]),
)
def test_a_delimiter_ends_statements_as_in_the_clients(
    statements: list[str], delimiter: str
) -> None:
    text = f"SELECT 0;\n -- of here\nDelimiter {delimiter}\n"
    text += "".join(f"{statement}{delimiter}\n" for statement in statements)
    text += "DELIMITER ;\nSELECT 9; SELECT 10"

    assert list(split(text)) == ["SELECT 0", *statements, "SELECT 9", "SELECT 10"]


def test_a_byte_order_mark_and_returns_before_line_feeds_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "0001_one.sql").write_bytes("\ufeffA -- x\r\n;\r\nB;\r\n".encode())

    (file,) = read("job", tmp_path)

    assert file.statements == ("A", "B")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "0001_one.sql").write_bytes("SELECT 'é'".encode("utf-16"))

    with pytest.raises(MigrationError, match=r"job/0001_one\.sql: 'utf-8' codec"):
        read("job", tmp_path)


quoted = st.text(alphabet="ab;-#/* \n").map(lambda text: f"'{text}'")


@given(st.lists(st.lists(quoted | st.sampled_from(["SELECT", "x", "1"]), min_size=1), max_size=5))
def test_statements_come_apart_as_they_were_put_together(statements: list[list[str]]) -> None:
    texts = [" ".join(words) for words in statements]

    assert list(split(";".join(texts))) == texts


def write(folder: Path, **files: str) -> Path:
    for name, sql in files.items():
        (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    return folder


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"0010_ten": "C", "0002_two": "B", "0001_one": "A; A"})

    files = read("job", folder)

    assert [(file.number, file.name) for file in files] == [
        (1, "0001_one.sql"),
        (2, "0002_two.sql"),
        (10, "0010_ten.sql"),
    ]
    assert files[0].statements == ("A", "A")


@pytest.mark.parametrize("name", ["1_one", "0001-one", "one", "0001_One"])
def test_a_file_with_another_name_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(MigrationError, match=rf"job/{name}\.sql: name it NNNN_name\.sql"):
        read("job", write(tmp_path, **{name: "A"}))


def test_a_number_that_is_used_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"0001_two\.sql has the same number as 0001_one\.sql"):
        read("job", write(tmp_path, **{"0001_one": "A", "0001_two": "B"}))


def test_a_file_that_cannot_be_cut_is_named(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"job/0001_one\.sql: the ' in line 1"):
        read("job", write(tmp_path, **{"0001_one": "A '"}))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="job has no folder"):
        read("job", tmp_path / "schema")


def test_a_table_with_a_fault_fails_the_migration_and_is_named(tmp_path: Path) -> None:
    for facts, fault in ((None, "does not exist"), (replace(FINE, engine="MyISAM"), "the engine")):
        store = FakeSchemaStore({"t": facts} if facts else {})
        with pytest.raises(MigrationError, match=f"the table t .*{fault}"):
            Migrator(store, [("job", tmp_path)], TABLE, QUERY)()


def test_what_was_done_is_reported(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"0001_one": "A", "0002_two": "B"})
    migrate = Migrator(FakeSchemaStore({"t": FINE}), [("job", folder)], TABLE, QUERY)

    assert migrate() == {"applied": ["job/0001_one.sql", "job/0002_two.sql"], "already": 0}
    write(folder, **{"0003_three": "C"})
    assert migrate() == {"applied": ["job/0003_three.sql"], "already": 2}


@pytest.mark.parametrize("module", [batch_core, job])
def test_the_files_that_are_shipped_can_be_read(module: object) -> None:
    folder = Path(str(getattr(module, "__file__"))).parent / "schema"  # noqa: B009

    assert all(file.statements for file in read("shipped", folder))


def test_a_check_tells_the_facts_or_why_there_are_none() -> None:
    store = FakeSchemaStore()

    ledger = FakeRunLedger(FakeDatabase())
    told = check(store, ledger)["check"]
    assert (told["version"], told["listed"]) == ("8.0.39", 0)
    assert told["rights"] == sorted(store.server_facts.rights)

    class Away(FakeSchemaStore):
        def server(self) -> ServerFacts:
            raise UnreachableDatabaseError("2003: cannot connect")

    assert check(Away(), ledger) == {"check": {"refused": "2003: cannot connect"}}
