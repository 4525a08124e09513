"""What must hold during a soak and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from batchctl.log_events import read_events
from batchctl.run.verdict import Verdict
from tests.soak.plan import Population
from tests.soak.tenant import TENANT, Tenant, account, leaks
from tests.support.activity_table import expected_rows_of, stored_rows

# So many of a kind are named; the others are counted.
_NAMED: Final = 5
_SETTLED: Final = "`stored` + unchanged + rejected + retry_later + skipped + gone"


@dataclass(slots=True)
class VersionWatch:
    """Looks at the versions of the rows now and then: they may only grow."""

    looks: int = 0
    findings: list[str] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)

    def look(self, now: Mapping[str, int], population: Population) -> None:
        """Take in the versions that there are now, by account."""
        self.looks += 1
        for user, version in now.items():
            if version < self._seen.get(user, 0):
                self.findings.append(f"the version of {user} went back to {version}")
        self.findings += [
            f"{user}, who was deleted, has a row again"
            for user in sorted(now.keys() & set(map(account, population.deleted)))
        ]
        self._seen |= now


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of the active users beside what the API says of them."""

    compared: int
    lost: tuple[str, ...]
    stale: tuple[str, ...]
    surplus: tuple[str, ...]

    @classmethod
    def of(cls, expected: Mapping[str, Any], stored: Mapping[str, Any]) -> Self:
        """Compare rows by account."""
        return cls(
            compared=len(expected),
            lost=tuple(sorted(expected.keys() - stored.keys())),
            stale=tuple(
                user for user, row in sorted(expected.items()) if stored.get(user, row) != row
            ),
            surplus=tuple(sorted(stored.keys() - expected.keys())),
        )

    @property
    def findings(self) -> list[str]:
        """What is wrong, in words."""
        kinds = {"have no row": self.lost, "have another row": self.stale}
        kinds["have a row and are not active"] = self.surplus
        return [f"{_some(users)} {what}" for what, users in kinds.items() if users]


def rows(tenant: Tenant, population: Population) -> Rows:
    """Compare every row of the active users with the API."""
    return Rows.of(
        expected_rows_of(tenant.cloud, TENANT, population.active),
        stored_rows(tenant.cloud, TENANT),
    )


def told(verdicts: list[Verdict]) -> Iterator[str]:
    """What executions said of themselves that they must not say."""
    for verdict in verdicts:
        if verdict.status == "SUCCEEDED" and (
            verdict.unaccounted or sum(verdict.outcomes.values()) != verdict.listed
        ):
            yield f"a run ended SUCCEEDED with {verdict.unaccounted} users unaccounted for"
        if verdict.status in {"FAILED", "TIMED_OUT"} and not verdict.reason:
            yield f"a run ended {verdict.status} and says no reason"
        if verdict.status == "UNHEARD":
            yield f"a run's end was not heard of: {verdict.reason}"


def ledger(tenant: Tenant) -> Iterator[str]:
    """What is wrong with the account of the runs."""
    for run_id, listed, settled in tenant.rows(
        f"SELECT run_id, listed, {_SETTLED} FROM batch_run"
        f" WHERE status = 'completed' AND listed <> {_SETTLED}"
    ):
        yield f"{run_id} completed with {settled} outcomes for {listed} users"
    for run_id, chunk, group, part in tenant.rows(
        "SELECT run_id, chunk, grp, part FROM batch_record"
        " WHERE `rows` <> `stored` + kept + rejected + gone"
    ):
        yield f"the line {chunk}/{group}/{part} of {run_id} does not add up"
    # There may be more lines than that: of a group that failed after it put its rows on the stream.
    for run_id, wrote, entered in tenant.rows(
        "SELECT run_id, r.`stored` + r.gone AS wrote, COALESCE(SUM(b.`rows`), 0) AS entered"
        " FROM batch_run AS r LEFT JOIN batch_record AS b USING (run_id)"
        " WHERE r.status = 'completed' GROUP BY run_id, r.`stored`, r.gone HAVING wrote > entered"
    ):
        yield f"{run_id} counts {wrote} rows as written, and has lines about {entered}"


def recovery(tenant: Tenant) -> Iterator[str]:
    """Who is still taken for failing although everybody was served."""
    ((failing,),) = tenant.rows(
        "SELECT COUNT(*) FROM batch_user AS b JOIN users AS u ON u.user_id = b.user_id"
        # As the listing counts: not what a run said that failed as a whole.
        " WHERE u.active = 1 AND b.failures > (SELECT COUNT(*) FROM batch_run AS r"
        " WHERE r.version = b.version AND (r.closed_at IS NULL OR r.fault IS NOT NULL))"
    )
    if failing:
        yield f"{failing} users who were served are still counted as failing"


@dataclass(frozen=True, slots=True)
class Logs:
    """The log lines of all functions, searched."""

    lines: int
    leaks: Mapping[str, int]

    @property
    def findings(self) -> list[str]:
        """What is wrong, in words."""
        return [f"{leak} in {times} lines" for leak, times in self.leaks.items()]


def logs(tenant: Tenant) -> Logs:
    """Search every log line for what it must not hold."""
    client = tenant.cloud.client("logs")
    lines = 0
    found: Counter[str] = Counter()
    for function, group in tenant.stack.log_groups.items():
        for event in read_events(client, group, since_ms=0):
            lines += 1
            leaked = leaks(event.text, tenant.secrets)
            found.update(f"{leak} was logged by {function}" for leak in leaked)
    return Logs(lines, found)


def _some(users: tuple[Any, ...]) -> str:
    more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
    return " ".join(map(str, users[:_NAMED])) + more
