"""The bench as other programs read it, and the notes that go with its figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from batchctl.bench.results import Crowd, Growth, Sweep, Writing
from batchctl.bench.samples import Row, Sample, times_slower
from batchctl.bench.targets import Target, targets_of


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that one bench found.

    Parameters
    ----------
    at
        When it began, ISO-8601.
    machine
        What it ran on.
    asked
        The options of the command.
    stack_parameters
        The parameters of the stack in the rounds and the growth.
    """

    at: str
    machine: Mapping[str, object]
    asked: Mapping[str, object]
    stack_parameters: Mapping[str, str]
    rows: Sequence[Row]
    writing: Writing
    growth: Growth | None = None
    crowd: Crowd | None = None
    sweep: Sweep | None = None

    def row(self, key: str) -> Row:
        """One variant: ``grouped``, ``per_user``, ``cron`` or ``naive``."""
        return next(row for row in self.rows if row.key == key)

    @property
    def targets(self) -> Sequence[Target]:
        """What was to be shown."""
        return targets_of(
            grouped=self.row("grouped"),
            per_user=self.row("per_user"),
            cron=self.row("cron"),
            growth=self.growth,
            crowd=self.crowd,
            writing=self.writing,
        )

    def document(self) -> dict[str, Any]:
        """The results file; its keys are a contract."""
        cron = self.row("cron")
        return {
            "at": self.at,
            "machine": dict(self.machine),
            "asked": dict(self.asked),
            "stack_parameters": dict(self.stack_parameters),
            "variants": [
                {
                    "key": row.key,
                    "title": row.title,
                    "note": row.note,
                    "wall_per_user_to_cron": times_slower(row, cron),
                    "median": _sample(row.median),
                    "rounds": [_sample(sample) for sample in row.rounds],
                    "first": _sample(row.first) if row.first else None,
                }
                for row in self.rows
            ],
            "writing": {**asdict(self.writing), "ratio": self.writing.ratio},
            "growth": self.growth and {**asdict(self.growth), "law": asdict(self.growth.law)},
            "crowd": self.crowd and asdict(self.crowd),
            "sweep": self.sweep and self.sweep.document(),
            "targets": [{**asdict(target), "met": target.met} for target in self.targets],
            "notes": self.notes(),
        }

    def notes(self) -> Sequence[str]:
        """What a reader has to know before quoting a figure."""
        said = [f"{row.title}: {row.note}." for row in self.rows if row.note]
        said += [
            (
                "Measured: every round stored all of its users, in rows that were there before, and"
                " the environments were warm. Medians of the rounds; a ratio is the median of the"
                " rounds' own ratios."
            ),
            (
                "The wall time of a script leaves out the start of its interpreter, its CPU does"
                " not. The project's CPU is that of its functions and of the emulator, which also"
                " answers the questions about its logs."
            ),
            (
                "Modelled: what a and b cost, as in a run's report, with hourly prices shared by as"
                " many users as a has; what c and d cost, a t4g.small that does nothing else."
            ),
        ]
        if self.growth:
            said.append(
                "Growth: one run of each size, measured; the memory of List Users is the peak of a"
                " process that lists the same users to nowhere."
            )
        if self.crowd:
            said.append(
                f"Crowd: {self.crowd.invocations:,} invocations of Call API waited for the API at"
                f" once, in a run that used {self.crowd.environments:,} environments and"
                f" {self.crowd.connections:,} database connections."
            )
        if self.sweep:
            said.append(
                "Sweep: group size, calls in flight and chunk size are measured; memory is"
                " modelled, CPU time stretched to the share of a core that Lambda gives, without"
                " the time that other processes had the processor."
            )
        return said


def _sample(sample: Sample) -> dict[str, Any]:
    return {**asdict(sample), "users_per_s": sample.users_per_s}
