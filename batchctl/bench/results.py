"""What the parts of the bench found, beside the rounds of the variants. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from batchctl.bench.fit import PowerLaw, power_law
from batchctl.bench.frontier import Choice, Setting, frontier, recommended
from batchctl.run.lambda_model import Time


@dataclass(frozen=True, slots=True)
class GrowthPoint:
    """One run of so many users; the memory is that of List Users alone, listing them."""

    users: int
    wall_s: float
    max_state_bytes: int
    connections: int
    in_flight: int
    statements: int
    put_units: int
    listing_peak_bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """The runs from the fewest users to the most."""

    points: Sequence[GrowthPoint]

    @property
    def law(self) -> PowerLaw:
        """How the wall time grows."""
        return power_law([(point.users, point.wall_s) for point in self.points])


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many invocations at once, and the database connections that it took.

    Parameters
    ----------
    invocations
        Of Call API, all waiting for the API at the same time.
    environments
        Of all functions, in the same run.
    """

    invocations: int
    environments: int
    connections: int


@dataclass(frozen=True, slots=True)
class Writing:
    """Rows per second into the table, round by round: the row store, and PyMySQL by itself.

    Parameters
    ----------
    rows
        How many rows were written in each round.
    row_store
        By `MySqlRowStore.write`: short statements, the ledger, one transaction per batch.
    long_statements
        By statements of 500 rows each, however long.
    """

    rows: int
    row_store: Sequence[float]
    long_statements: Sequence[float]

    @property
    def ratio(self) -> float:
        """The row store's speed as a share of the other's."""
        pairs = zip(self.row_store, self.long_statements, strict=True)
        return median(store / long for store, long in pairs)


@dataclass(frozen=True, slots=True)
class Invocations:
    """The invocations of one function in a run: how many, and the average of their times."""

    count: int
    average: Time

    def gb_s_at(self, memory_mb: int) -> float:
        """Gigabyte-seconds that all of them are billed with so much memory: modelled."""
        return self.count * self.average.gb_s_at(memory_mb)


@dataclass(frozen=True, slots=True)
class Observation:
    """A run of the sweep, measured: every invocation had what the machine gave it.

    Parameters
    ----------
    setting
        As it ran; the memory is that of a whole core.
    users, wall_s
        Users, and seconds.
    waves
        How many groups follow each other in one place: those of a run over those at once.
    invocations
        Of Call API and Process Users.
    usd_other
        US dollars per million user-runs for all but these two and what is paid by the hour.
    """

    setting: Setting
    users: int
    wall_s: float
    waves: int
    invocations: Mapping[str, Invocations]
    usd_other: float

    def at(self, memory_mb: int, *, usd_gb_s: float) -> Choice:
        """The same run with so much memory for these two functions: modelled."""
        functions = self.invocations.values()
        longer = sum(f.average.at(memory_mb) - f.average.wall for f in functions) / 1000
        gb_s = sum(f.gb_s_at(memory_mb) for f in functions)
        usd = self.usd_other + gb_s * usd_gb_s / self.users * 1_000_000
        return Choice(
            replace(self.setting, memory_mb=memory_mb),
            self.wall_s + self.waves * longer,
            usd,
        )


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything that was tried, and what it comes to at each memory size."""

    observations: Sequence[Observation]
    choices: Sequence[Choice]

    @property
    def frontier(self) -> Sequence[Choice]:
        """The choices that no other beats."""
        return frontier(self.choices)

    @property
    def recommended(self) -> Choice:
        """The one to start from."""
        return recommended(self.choices)

    def document(self) -> dict[str, Any]:
        """For the results file."""
        return {
            "measured": [asdict(observation) for observation in self.observations],
            "modelled": [asdict(choice) for choice in self.choices],
            "frontier": [asdict(choice) for choice in self.frontier],
            "recommended": asdict(self.recommended),
        }
