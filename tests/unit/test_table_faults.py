"""The rules for a job's table, on facts about one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.job import Table
from batch_core.ports import ColumnFacts, TableFacts, UniqueKey
from batch_core.table_faults import faults_of
from tests.support.table_facts import table_facts

TABLE = Table("t", columns=("a", "b"))
FINE = table_facts()
TEXT_KEY = ColumnFacts(
    "user_id",
    "varchar",
    "varchar(18)",
    required=True,
    charset="utf8mb4",
    collation="utf8mb4_0900_bin",
)


def column(name: str, **changes: object) -> ColumnFacts:
    return replace(FINE.columns[name], **changes)  # type: ignore[arg-type]


def test_a_table_that_is_as_it_must_be_has_no_faults() -> None:
    assert faults_of(TABLE, FINE) == []
    assert faults_of(TABLE, table_facts(TEXT_KEY)) == []


LESS = {name: facts for name, facts in FINE.columns.items() if name not in ("b", "version")}


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        (None, "does not exist"),
        (replace(FINE, columns=LESS), "lacks the columns b, version"),
        (table_facts(column("version", nullable=True)), "nullable version"),
        (table_facts(column("version", type="int", declared="int")), "version of type int"),
        (table_facts(column("version", type="varchar", declared="varchar(20)")), "varchar(20)"),
        (table_facts(column("version", generated=True)), "the generated version"),
        (replace(FINE, unique_keys=()), "it has none"),
        (
            replace(FINE, unique_keys=(UniqueKey(("user_id",)), UniqueKey(("a", "b")))),
            "it has (user_id), (a, b)",
        ),
        (replace(FINE, unique_keys=(UniqueKey(("a",)),)), "primary key (user_id); it has (a)"),
        (
            replace(FINE, unique_keys=(UniqueKey(("user_id",), prefix_of="user_id"),)),
            "the beginning of user_id only",
        ),
        (table_facts(column("user_id", counts=True)), "remove AUTO_INCREMENT from user_id"),
        (table_facts(column("user_id", generated=True)), "the generated key user_id"),
        (table_facts(column("user_id", type="double")), "user_id of type double"),
        (table_facts(column("more", required=True)), "requires the column more"),
        (table_facts(column("a", generated=True)), "generates the column a"),
        (replace(FINE, engine="MyISAM"), "engine MyISAM"),
        (table_facts(column("b", charset="utf8mb3")), "text in utf8mb3"),
    ],
)
def test_a_table_that_would_break_the_upsert_has_one_fault_that_names_it(
    facts: TableFacts | None, fault: str
) -> None:
    (found,) = faults_of(TABLE, facts)

    assert fault in found


@pytest.mark.parametrize(
    ("key", "declared"),
    [
        (replace(TEXT_KEY, collation="utf8mb4_bin"), "varchar(18)"),
        (replace(TEXT_KEY, collation="utf8mb4_0900_ai_ci"), "varchar(18)"),
        (replace(TEXT_KEY, type="char", declared="char(18)"), "varchar(18)"),
        (replace(TEXT_KEY, type="enum", declared="enum('x')", collation="latin1_bin"), "enum('x')"),
    ],
)
def test_a_text_key_that_does_not_tell_ids_apart_is_refused_with_what_mends_it(
    key: ColumnFacts, declared: str
) -> None:
    (fault,) = faults_of(TABLE, table_facts(key))

    assert fault.endswith(
        f"ALTER TABLE `t` MODIFY `user_id` {declared} CHARACTER SET utf8mb4"
        " COLLATE utf8mb4_0900_bin NOT NULL"
    )


def test_a_key_that_refers_to_another_table_may_have_the_collation_of_that_one() -> None:
    key = replace(TEXT_KEY, collation="utf8mb4_0900_ai_ci")

    assert faults_of(TABLE, table_facts(key, referring=frozenset({"user_id"}))) == []
    assert faults_of(TABLE, table_facts(key, referring=frozenset({"a"}))) != []


CHANGES = [
    "SET NEW.user_id = 1",
    "set new.`user_id`=1",
    "BEGIN SET NEW.a = 1, NEW . user_id = 2; END",
    "BEGIN SET @x := 1; SET NEW.version := 5; END",
    "BEGIN CALL pick(@x, NEW.user_id); END",
    "BEGIN SELECT 1 INTO NEW.version; END",
]
READS = [
    "SET NEW.a = NEW.user_id",
    "IF NEW.user_id = 5 THEN SET NEW.a = 1; END IF",
    "BEGIN SET NEW.a = (SELECT MAX(n) FROM log WHERE u = NEW.user_id); END",
    "SET NEW.user_id_before = 1",
    "INSERT INTO audit VALUES (NEW.user_id, NEW.version)",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_a_trigger_that_changes_the_key_or_the_version_is_named(statement: str) -> None:
    (fault,) = faults_of(TABLE, table_facts(triggers_before={"tr": statement}))

    assert fault.startswith("has the trigger tr, which changes ")


@pytest.mark.parametrize("statement", READS)
def test_a_trigger_that_only_reads_them_is_fine(statement: str) -> None:
    assert faults_of(TABLE, table_facts(triggers_before={"tr": statement})) == []


faulty = st.sampled_from(
    [
        column("version", nullable=True),
        column("user_id", counts=True),
        column("a", generated=True),
        column("more", required=True),
    ]
)


@given(st.lists(faulty, unique_by=lambda each: each.name))
def test_every_fault_is_told_not_only_the_first(columns: list[ColumnFacts]) -> None:
    assert len(faults_of(TABLE, table_facts(*columns))) == len(columns)
