"""The SQL of this repository, held to every MySQL that RDS and Aurora run."""

from __future__ import annotations

import pymysql
import pytest

from batchctl.local.databases import DatabaseKind
from tests.support.databases import Schema, Servers
from tests.template.sql_texts import (
    SqlText,
    complaints,
    gone,
    mysql,
    reserved,
    texts,
    treacherous,
    unquoted,
)


def test_no_statement_says_what_a_mysql_of_rds_refuses() -> None:
    found = list(texts())

    assert len([each for each in found if each.place.endswith(".sql")]) > 8
    assert len([each for each in found if "adapters/" in each.place]) > 20
    assert complaints(found) == []


@pytest.mark.parametrize("word", sorted(treacherous()))
def test_a_reserved_word_as_a_name_is_found_unless_it_is_quoted(word: str) -> None:
    for sql in (
        "CREATE TABLE t (id INT, {} INT)",
        "SELECT a.id, {} FROM a",
        "INSERT INTO {} (id) VALUES (1)",
        "UPDATE t SET id = 1, {} = 2",
    ):
        assert unquoted(sql.format(word.lower())) == {word}
        assert unquoted(sql.format(f"`{word.lower()}`")) == set()
        # What follows a point is a name, whatever it is.
        assert unquoted(f"SELECT t.{word} FROM t") == set()


def test_words_that_are_syntax_or_text_are_no_names() -> None:
    for sql in (
        "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1",
        "CREATE TABLE t (n INT, m INT GENERATED ALWAYS AS (n + 1) STORED, o INT AS (n) VIRTUAL)",
        "SELECT RANK() OVER (ORDER BY n), DATABASE(), 'stored' AS kind FROM t",
        "CREATE DATABASE d",
    ):
        assert complaints([SqlText("here", sql)]) == []


@pytest.mark.parametrize("entry", mysql()["gone"], ids=lambda entry: entry["example"])
def test_what_mysql_does_not_take_is_found_and_is_refused_by_it(
    entry: dict[str, str], servers: Servers
) -> None:
    assert entry["example"] in gone(entry["example"])

    with (
        servers[DatabaseKind.MYSQL].lent_schema() as schema,
        schema.connect() as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE t (n INT)")
        with pytest.raises(pymysql.MySQLError):
            cursor.execute(entry["example"])


def taken_as_names(schema: Schema, words: frozenset[str]) -> set[str]:
    taken = set()
    with schema.connect() as connection, connection.cursor() as cursor:
        for word in sorted(words):
            try:
                cursor.execute(f"CREATE TEMPORARY TABLE named ({word} INT)")
            except pymysql.MySQLError:
                continue
            cursor.execute("DROP TEMPORARY TABLE named")
            taken.add(word)
    return taken


def test_the_list_of_reserved_words_is_that_of_the_servers(servers: Servers) -> None:
    lists = mysql()["reserved"]
    elsewhere = {*lists["mysql_8_0_only"], *lists["mysql_8_4_only"]}
    with servers[DatabaseKind.MYSQL].lent_schema() as schema:
        with schema.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT WORD FROM information_schema.KEYWORDS WHERE RESERVED")
            assert {word for (word,) in cursor.fetchall()} == set(lists["mysql_9_7"])
        assert taken_as_names(schema, reserved()) == elsewhere
    with servers[DatabaseKind.MARIADB].lent_schema() as schema:
        taken = taken_as_names(schema, frozenset(lists["mysql_9_7"]))
    assert taken == set(lists["mariadb_takes"])
