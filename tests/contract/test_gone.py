"""Gone means that the user is gone: which foreign key says so, and when it cannot be true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from batch_core.adapters.mysql_connection import Database
from batch_core.adapters.mysql_ledger import MySqlRunLedger
from batch_core.adapters.mysql_parents import ForeignKey, Parents
from batch_core.adapters.mysql_rows import MySqlRowStore
from batch_core.adapters.mysql_schema import MySqlSchemaStore
from batch_core.job import Table
from batch_core.limits import MARK_DAYS
from batch_core.outcomes import Outcome, Tally
from batch_core.records import Record
from tests.support.ledger import Total
from tests.support.world import TABLE, MySqlWorld, World

RUN = "demo-20260131T100000Z"
PROFILE = Table("profile", ("country", "plan"))
USERS = "SELECT user_id FROM member WHERE active"
MEMBER = "CONSTRAINT to_member FOREIGN KEY (user_id) REFERENCES member (user_id) ON DELETE CASCADE"
COUNTRY = "CONSTRAINT to_country FOREIGN KEY (country) REFERENCES country (code)"
CONSENT = "CONSTRAINT to_consent FOREIGN KEY (user_id) REFERENCES consent (user_id)"
PLAN = "CONSTRAINT to_plan FOREIGN KEY (user_id, plan) REFERENCES subscribed (user_id, plan)"


@pytest.fixture
def store(mysql_world: MySqlWorld, database: Database) -> MySqlRowStore:
    """A row store beside the ledger's tables; users 1 to 5 are members, and may be profiled."""
    run(
        database,
        "CREATE TABLE member (user_id BIGINT PRIMARY KEY, active INT NOT NULL DEFAULT 1)",
        "CREATE TABLE consent (user_id BIGINT PRIMARY KEY)",
        "CREATE TABLE country (code CHAR(2) PRIMARY KEY)",
        "CREATE TABLE subscribed (user_id BIGINT, plan INT, PRIMARY KEY (user_id, plan))",
        "INSERT INTO member (user_id) VALUES (1), (2), (3), (4), (5)",
        "INSERT INTO consent VALUES (1), (2), (3), (4), (5)",
        "INSERT INTO subscribed VALUES (1, 7), (2, 7), (3, 7), (4, 7), (5, 7)",
        "INSERT INTO country VALUES ('JP')",
        "INSERT INTO batch_run (run_id, version, owner, fence, status, opened_at)"
        f" VALUES ('{RUN}', 5, 'me', 1, 'running', UTC_TIMESTAMP(3))",
    )
    return MySqlRowStore(database, users=USERS)


def run(database: Database, *statements: str) -> None:
    database.ask(lambda session: [session.execute(each) for each in statements])


def profiles(database: Database, *keys: str) -> None:
    run(
        database,
        "CREATE TABLE profile (user_id BIGINT PRIMARY KEY, country CHAR(2), plan INT,"
        f" version BIGINT NOT NULL, {', '.join(keys)}) ENGINE = InnoDB",
    )


def record(version: int = 5, **countries: str) -> Record:
    """Rows of users 1 to 5, with the country of `u3` and the like."""
    return Record(
        tenant="demo",
        run_id=RUN,
        chunk=0,
        group=version,
        version=version,
        trace_id="",
        segment_id="",
        part=0,
        columns=("user_id", "country", "plan"),
        rows=tuple((user, countries.get(f"u{user}", "JP"), 7) for user in range(1, 6)),
    )


def outcomes(store: MySqlRowStore, *records: Record) -> dict[object, Outcome]:
    return {row.row[0]: row.outcome for row in store.write(PROFILE, records)}


def known(database: Database) -> dict[str, str]:
    found = database.ask(lambda session: session.rows("SELECT user_id, error FROM batch_user"))
    return dict(found)


def test_a_foreign_key_that_is_not_the_users_is_a_value_of_the_row(
    database: Database, store: MySqlRowStore
) -> None:
    profiles(database, MEMBER, COUNTRY)
    run(database, "DELETE FROM member WHERE user_id = 5")

    assert outcomes(store, record(u2="XK", u3="XK")) == {
        2: Outcome.REJECTED,
        3: Outcome.REJECTED,
        5: Outcome.GONE,
    }
    assert known(database) == {"2": "mysql_1452", "3": "mysql_1452", "5": "gone"}
    tally = Total.of(MySqlRunLedger(database), RUN).tally
    assert tally == Tally(stored=2, rejected=2, gone=1)


@pytest.mark.parametrize(
    ("keys", "parent", "outcome"),
    [
        ((MEMBER, CONSENT), "member", Outcome.GONE),
        ((MEMBER, CONSENT), "consent", Outcome.REJECTED),
        ((MEMBER, PLAN), "subscribed", Outcome.REJECTED),
        ((MEMBER,), "member", Outcome.GONE),
        ((PLAN,), "subscribed", Outcome.REJECTED),
        # The query may read a view; then the only parent of the key is taken for the users.
        ((CONSENT,), "consent", Outcome.GONE),
    ],
)
def test_gone_is_who_lacks_the_parent_that_the_users_query_reads(
    database: Database, store: MySqlRowStore, keys: tuple[str, ...], parent: str, outcome: Outcome
) -> None:
    profiles(database, *keys)
    run(database, f"DELETE FROM {parent} WHERE user_id = 4")

    assert outcomes(store, record()) == {4: outcome}


def test_a_foreign_key_of_a_table_that_a_trigger_writes_says_nothing_of_the_user(
    database: Database, store: MySqlRowStore
) -> None:
    profiles(database, MEMBER)
    run(
        database,
        "CREATE TABLE journal (user_id BIGINT, CONSTRAINT j FOREIGN KEY (user_id)"
        " REFERENCES consent (user_id))",
        "CREATE TRIGGER t AFTER INSERT ON profile FOR EACH ROW"
        " INSERT INTO journal VALUES (NEW.user_id)",
        "DELETE FROM consent WHERE user_id = 4",
    )

    assert outcomes(store, record()) == {4: Outcome.REJECTED}


def test_a_user_who_is_listed_again_was_not_gone_and_the_run_knows_the_foreign_key(
    database: Database, store: MySqlRowStore
) -> None:
    profiles(database, MEMBER)
    run(
        database,
        # What a nightly sync does; the foreign key follows the old table.
        "CREATE TABLE member_new LIKE member",
        "INSERT INTO member_new SELECT * FROM member",
        "RENAME TABLE member TO member_old, member_new TO member",
        "DELETE FROM member_old WHERE user_id > 3",
    )
    ledger = MySqlRunLedger(database)

    assert outcomes(store, record(5)) == {4: Outcome.GONE, 5: Outcome.GONE}
    assert outcomes(store, record(5)) == {4: Outcome.GONE, 5: Outcome.GONE}  # delivered again
    assert ledger.told(RUN) == ""

    for version in (6, 7):
        assert outcomes(store, record(version)) == {4: Outcome.REJECTED, 5: Outcome.REJECTED}
        assert known(database) == {"4": "not_gone", "5": "not_gone"}
    told = ledger.told(RUN)
    assert "foreign key to_member of profile.user_id leads to the table member_old" in told

    run(
        database,
        "ALTER TABLE profile DROP FOREIGN KEY to_member",
        f"ALTER TABLE profile ADD {MEMBER.replace('to_member', 'to_members')}",
    )
    assert outcomes(store, record(8)) == {}


def test_who_was_gone_and_came_back_may_go_again(world: World) -> None:
    world.people(1)
    rows = ((1, "text", None),)

    def write(version: int, failures: tuple[tuple[int, int], ...] = ()) -> list[Outcome]:
        own: dict[str, Any] = {"columns": ("user_id", "text", "data"), "rows": rows}
        given = Record("demo", RUN, 0, version, version, "", "", 0, failures=failures, **own)
        return [row.outcome for row in world.rows.write(TABLE, [given])]

    world.forsake(1)
    assert write(5) == [Outcome.GONE]
    world.people(1)
    assert write(6, failures=((1, 1),)) == []
    world.forsake(1)
    assert write(7) == [Outcome.GONE]


SAID = (
    "1452: Cannot add or update a child row: a foreign key constraint fails (`s`.`{}`,"
    " CONSTRAINT `{}` FOREIGN KEY (`user_id`) REFERENCES `member` (`user_id`))"
)
TO_MEMBER = ForeignKey("to_member", ("user_id",), "member")
TO_COUNTRY = ForeignKey("to_country", ("country",), "country")


@pytest.mark.parametrize(
    ("keys", "error", "means"),
    [
        ([TO_MEMBER, TO_COUNTRY], SAID.format("profile", "to_member"), TO_MEMBER),
        ([TO_MEMBER, TO_COUNTRY], SAID.format("PROFILE", "to_member"), TO_MEMBER),
        ([TO_MEMBER, TO_COUNTRY], SAID.format("profile", "to_country"), None),
        ([TO_MEMBER, TO_COUNTRY], SAID.format("journal", "to_member"), None),
        # A user without rights on the parent is not told which.
        ([TO_MEMBER], "1216: a foreign key constraint fails", TO_MEMBER),
        ([TO_MEMBER, TO_COUNTRY], "1216: a foreign key constraint fails", None),
        ([TO_COUNTRY], "1216: a foreign key constraint fails", None),
        ([], "1216: a foreign key constraint fails", None),
    ],
)
def test_an_error_means_a_foreign_key_only_where_it_can_mean_no_other(
    keys: list[ForeignKey], error: str, means: ForeignKey | None
) -> None:
    assert Parents(PROFILE, keys, USERS).violated(error) == means


def test_migrate_names_a_foreign_key_that_does_not_lead_where_the_users_are(
    database: Database, store: MySqlRowStore
) -> None:
    profiles(database, MEMBER)
    schema = MySqlSchemaStore(database)
    assert schema.strangers(PROFILE, USERS) == []

    run(
        database,
        "CREATE TABLE member_new LIKE member",
        "INSERT INTO member_new SELECT * FROM member",
        "RENAME TABLE member TO member_old, member_new TO member",
        "DELETE FROM member_old WHERE user_id > 3",
    )

    (fault,) = schema.strangers(PROFILE, f"{USERS};")
    assert fault.startswith("lists 2 users that the table member_old lacks")
    assert "the foreign key to_member of profile.user_id" in fault


def test_old_marks_are_found_by_an_index_and_outlive_the_longest_quarantine(
    database: Database, store: MySqlRowStore
) -> None:
    day = 86_400_000
    run(
        database,
        "INSERT INTO batch_user (user_id, failures, error, version) WITH RECURSIVE n AS"
        " (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
        f" SELECT CONCAT('u', i), 1, 'gone', UNIX_TIMESTAMP() * 1000 - i * {day} / 25 FROM n",
        "ANALYZE TABLE batch_user",
    )
    plan = database.ask(
        lambda session: session.rows(
            "EXPLAIN FORMAT=TRADITIONAL DELETE FROM batch_user"
            " WHERE version < (UNIX_TIMESTAMP() - 31 * 86400) * 1000"
        )
    )
    assert "version" in str(plan)
    assert "ALL" not in {str(value) for row in plan for value in row}

    MySqlRunLedger(database).forget(keep_days=1)

    ((oldest,),) = database.ask(
        lambda session: session.rows(
            f"SELECT (UNIX_TIMESTAMP() * 1000 - MIN(version)) DIV {day} FROM batch_user"
        )
    )
    longest = _template()["Parameters"]["QuarantineHours"]["MaxValue"] / 24
    assert longest < MARK_DAYS
    assert longest <= int(oldest) <= MARK_DAYS


def _template() -> Any:
    root = Path(__file__).parents[2]
    return yaml_parse((root / "template.yaml").read_text(encoding="utf-8"))
