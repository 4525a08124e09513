"""Logs Insights, as far as the saved queries use it: its own language over lines in memory.

What is not known here is an error rather than an empty answer, so that a query in words that only
look right does not pass.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

type Record = dict[str, Any]
type Expression = Callable[[Sequence[Record]], Any]

# Of a line that is longer the rest is not searchable by field.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_AnalyzeLogData-discoverable-fields.html
FIELDS: Final = 200
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<regex>(?<=like\s)/(?:[^/\\]|\\.)+/)
    | (?P<number>\d+(?:\.\d+)?(?![\w.]))
    | (?P<period>\d+[smhd]\b)
    | (?P<word>[@A-Za-z_][\w.@]*)
    | (?P<sign><=|>=|!=|[()\[\],=<>*/+-])
    )""",
    re.VERBOSE,
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WORDS: Final = {"and", "or", "not", "in", "like", "as", "by", "asc", "desc", "into"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log group."""

    group: str
    text: str


def ask(query: str, lines: Sequence[Line]) -> list[Record]:
    """Answer a query, in the order and with the columns that the console would show."""
    records = [_record(line) for line in lines]
    shown: list[str] = ["@timestamp", "@message"]
    for command in _commands(query):
        records, shown = _Command(command).run(records, shown)
    return [{name: record.get(name) for name in shown} for record in records]


def _record(line: Line) -> Record:
    record: Record = {"@message": line.text, "@log": line.group}
    try:
        value = json.loads(line.text)
    except ValueError:
        return record
    record |= dict(_flat("", value)[:FIELDS])
    of_metrics = value.get("_aws", {}).get("Timestamp")
    stamp = str(value.get("timestamp") or value.get("event_timestamp") or of_metrics)
    moment = int(stamp) / 1000 if stamp.isdigit() else datetime.fromisoformat(stamp).timestamp()
    return record | {"@timestamp": moment}


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    """Fields as Insights discovers them: `meter.rows`, `failures.0.error`."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        return [(name, value)]
    return [
        leaf for key, each in pairs for leaf in _flat(f"{name}.{key}" if name else str(key), each)
    ]


def _commands(query: str) -> Iterator[str]:
    text = "\n".join(line for line in query.splitlines() if not line.lstrip().startswith("#"))
    # A bar within quotes or within a regular expression separates nothing.
    for command in re.findall(r'(?:"[^"]*"|(?<=like )/[^/]+/|[^|"])+', text):
        yield command.strip()


class _Command:
    """One command of a query."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            assert match is not None, f"not understood: {text[at:]!r}"
            self._tokens.append((match.lastgroup or "", match[0].strip()))
            at = match.end()
        self._tokens.append(("end", ""))
        self._at = 0

    def run(self, records: list[Record], shown: list[str]) -> tuple[list[Record], list[str]]:
        command = getattr(self, f"_{self._take()}_command", None)
        assert command is not None, f"no such command: {self._tokens[0][1]!r}"
        answer: tuple[list[Record], list[str]] = command(records, shown)
        assert self._tokens[self._at][0] == "end", f"left over: {self._tokens[self._at :]}"
        return answer

    # --- commands ---------------------------------------------------------------------------------

    def _filter_command(
        self, records: list[Record], shown: list[str]
    ) -> tuple[list[Record], list[str]]:
        condition = self._any()
        return [record for record in records if condition([record])], shown

    def _fields_command(
        self, records: list[Record], shown: list[str]
    ) -> tuple[list[Record], list[str]]:
        named = self._named()
        for record in records:
            record |= {name: value([record]) for name, value in named}
        return records, [name for name, _ in named]

    def _stats_command(
        self, records: list[Record], shown: list[str]
    ) -> tuple[list[Record], list[str]]:
        named = self._named()
        keys = self._named() if self._if("by") else []
        groups: defaultdict[tuple[Any, ...], list[Record]] = defaultdict(list)
        for record in records:
            groups[tuple(value([record]) for _, value in keys)].append(record)
        answer = []
        for key, members in groups.items():
            row = dict(zip((name for name, _ in keys), key, strict=True))
            for name, value in named:
                # An aggregate may be named in those that follow it.
                row[name] = value([{**member, **row} for member in members])
            answer.append(row)
        return answer, [name for name, _ in [*keys, *named]]

    def _sort_command(
        self, records: list[Record], shown: list[str]
    ) -> tuple[list[Record], list[str]]:
        value = self._sum()
        down = self._if("desc") or (self._if("asc") and False)

        def order(record: Record) -> tuple[bool, Any]:
            key = value([record])
            return (key is not None, key if key is not None else 0)

        return sorted(records, key=order, reverse=down), shown

    def _limit_command(
        self, records: list[Record], shown: list[str]
    ) -> tuple[list[Record], list[str]]:
        return records[: int(self._take())], shown

    def _unnest_command(
        self, records: list[Record], shown: list[str]
    ) -> tuple[list[Record], list[str]]:
        source = self._take()
        self._expect("into")
        name = self._take()
        return [
            {**record, name: item}
            for record in records
            for item in _items(_look_up(record, source))
        ], [*shown, name]

    # --- expressions ------------------------------------------------------------------------------

    def _named(self) -> list[tuple[str, Expression]]:
        named = []
        while True:
            start = self._at
            value = self._sum()
            name = "".join(text for _, text in self._tokens[start : self._at])
            named.append((self._take() if self._if("as") else name, value))
            if not self._if(","):
                return named

    def _any(self) -> Expression:
        parts = [self._all()]
        while self._if("or"):
            parts.append(self._all())
        return lambda records: any(part(records) for part in parts)

    def _all(self) -> Expression:
        parts = [self._condition()]
        while self._if("and"):
            parts.append(self._condition())
        return lambda records: all(part(records) for part in parts)

    def _condition(self) -> Expression:
        if self._if("not"):
            refused = self._condition()
            return lambda records: not refused(records)
        left = self._sum()
        if self._if("in"):
            self._expect("[")
            members = [self._literal()]
            while self._if(","):
                members.append(self._literal())
            self._expect("]")
            return lambda records: left(records) in members
        if self._if("like"):
            kind, text = self._tokens[self._at]
            self._at += 1
            pattern = re.compile(text[1:-1] if kind == "regex" else re.escape(json.loads(text)))
            return lambda records: pattern.search(str(left(records) or "")) is not None
        if self._if("="):
            right = self._sum()
            return lambda records: left(records) == right(records)
        return left

    def _sum(self) -> Expression:
        value = self._product()
        while (sign := self._tokens[self._at][1]) in {"+", "-"}:
            self._at += 1
            value = _calculation(sign, value, self._product())
        return value

    def _product(self) -> Expression:
        value = self._atom()
        while (sign := self._tokens[self._at][1]) in {"*", "/"}:
            self._at += 1
            value = _calculation(sign, value, self._atom())
        return value

    def _atom(self) -> Expression:
        kind, text = self._tokens[self._at]
        if kind in {"text", "number"}:
            constant = self._literal()
            return lambda records: constant
        if self._if("("):
            value = self._sum()
            self._expect(")")
            return value
        assert kind == "word", f"a value is expected, not {text!r}"
        assert text not in _WORDS, f"a value is expected, not {text!r}"
        self._at += 1
        if self._if("("):
            return self._call(text)
        return lambda records: _look_up(records[0], text)

    def _call(self, name: str) -> Expression:
        if name == "bin":
            period = self._take()
            self._expect(")")
            seconds = int(period[:-1]) * _UNITS[period[-1]]
            return lambda records: records[0]["@timestamp"] // seconds * seconds
        if name == "count" and self._if("*"):
            self._expect(")")
            return len
        arguments = [self._sum()]
        while self._if(","):
            arguments.append(self._sum())
        self._expect(")")
        if name in _FUNCTIONS:
            return lambda records: _FUNCTIONS[name](*(value(records) for value in arguments))
        assert name in _AGGREGATES, f"no such function: {name!r}"
        values, *rest = arguments

        def aggregate(records: Sequence[Record]) -> Any:
            in_time = sorted(records, key=lambda record: record.get("@timestamp", 0))
            found = [values([record]) for record in in_time]
            present = [value for value in found if value is not None]
            return _AGGREGATES[name](present, *(value(records) for value in rest))

        return aggregate

    # --- tokens -----------------------------------------------------------------------------------

    def _literal(self) -> Any:
        return json.loads(self._take())

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _if(self, text: str) -> bool:
        found = self._tokens[self._at] in {("word", text), ("sign", text)}
        self._at += found
        return found

    def _expect(self, text: str) -> None:
        assert self._if(text), f"{text!r} is expected, not {self._tokens[self._at][1]!r}"


def _look_up(record: Record, name: str) -> Any:
    if name in record:
        return record[name]
    # What jsonParse or unnest made has a structure.
    head, _, tail = name.partition(".")
    inner = record.get(head)
    return _look_up(inner, tail) if isinstance(inner, dict) and tail else None


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _calculation(sign: str, left: Expression, right: Expression) -> Expression:
    signs: dict[str, Callable[[Any, Any], Any]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
    }
    return lambda records: signs[sign](left(records), right(records))


def _percentile(values: list[float], percent: float) -> float | None:
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)] if ordered else None


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "ispresent": lambda value: value is not None,
    "jsonParse": json.loads,
}
_AGGREGATES: Final[dict[str, Callable[..., Any]]] = {
    "avg": lambda values: sum(values) / len(values) if values else None,
    "count": len,
    "count_distinct": lambda values: len(set(values)),
    "latest": lambda values: values[-1] if values else None,
    "max": lambda values: max(values, default=None),
    "min": lambda values: min(values, default=None),
    "pct": _percentile,
    "sum": sum,
}
