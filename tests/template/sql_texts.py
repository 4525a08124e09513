"""All SQL of the repository, and what the MySQL of RDS and Aurora would refuse of it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from batch_core.migrate import split
from tests.template.translation import ROOT

FOLDERS: Final = ("layers", "functions", "examples", "batchctl")
_BEGINNING: Final = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|WITH|SET|GRANT|KILL|ANALYZE"
    r"|ON DUPLICATE KEY)\s[^a-z.]"
)
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`", re.DOTALL)
_WORD: Final = re.compile(r"(?<![\w.@$])[A-Za-z_][\w$]*")
# Where a reserved word is not a name.
_SYNTAX: Final = re.compile(
    r"\bFOR\s+EACH\s+ROW\b|\bGENERATED\s+ALWAYS\b|\)\s*(?:STORED|VIRTUAL)\b"
    r"|\b(?:CREATE|ALTER|DROP)\s+(?:DATABASE|SCHEMA|FUNCTION)\b|\bWITH\s+GRANT\s+OPTION\b"
    r"|(?<!INTO)(?<!TABLE)(?<!FROM)(?<!JOIN)(?<!UPDATE)\s(?:DATABASE|SCHEMA|JSON_TABLE|LATERAL|"
    r"GROUPING|(?:PERCENT_|DENSE_)?RANK|CUME_DIST|NTILE|LAG|LEAD|(?:FIRST|LAST|NTH)_VALUE)\s*\(",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SqlText:
    """A statement or a part of one, and where it stands."""

    place: str
    text: str


@cache
def mysql() -> dict[str, Any]:
    """What is known of MySQL."""
    return tomllib.loads((ROOT / "gates/mysql.toml").read_text())


@cache
def reserved() -> frozenset[str]:
    """Every word that a version of MySQL from 8.0 on reserves."""
    lists = mysql()["reserved"]
    return frozenset([*lists["mysql_9_7"], *lists["mysql_8_0_only"], *lists["mysql_8_4_only"]])


@cache
def treacherous() -> frozenset[str]:
    """Those that MariaDB takes as a name."""
    lists = mysql()["reserved"]
    own = {*lists["mysql_8_0_only"], *lists["mysql_8_4_only"]}
    return frozenset(lists["mariadb_takes"]) | own


def texts() -> Iterator[SqlText]:
    """The SQL files and the statements that the code is made of."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.sql")):
            for statement in split(path.read_text()):
                yield SqlText(str(path.relative_to(ROOT)), statement)
        for path in sorted((ROOT / folder).rglob("*.py")):
            for text in _strings(path):
                if _BEGINNING.match(text):
                    yield SqlText(str(path.relative_to(ROOT)), text)


def _strings(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            constants = [
                part.value if isinstance(part, ast.Constant) else "x" for part in node.values
            ]
            yield "".join(map(str, constants))
        elif isinstance(node, ast.Constant) and id(node) not in parts:
            value = node.value.decode() if isinstance(node.value, bytes) else node.value
            if isinstance(value, str):
                yield value


def unquoted(text: str) -> set[str]:
    """The names in a statement that MySQL reserves and MariaDB does not."""
    plain = _SYNTAX.sub(" ", _QUOTED.sub(" ", text))
    return {word.upper() for word in _WORD.findall(plain)} & treacherous()


def gone(text: str) -> set[str]:
    """What a statement says that MySQL no longer or never took."""
    plain = text if "sql_mode" in text else _QUOTED.sub(" ", text)
    return {
        entry["example"]
        for entry in mysql()["gone"]
        if re.search(entry["pattern"], plain, re.IGNORECASE)
    }


def complaints(sql: Iterable[SqlText]) -> list[str]:
    """Say what MySQL would refuse, and where."""
    found = []
    for each in sql:
        found += [f"{each.place}: quote {word}" for word in sorted(unquoted(each.text))]
        found += [f"{each.place}: as in {example}" for example in sorted(gone(each.text))]
    return found
