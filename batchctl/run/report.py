"""The account of one run: the JSON line other programs rely on, and the report file. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from batchctl.run.costs import Costs, Deployment
from batchctl.run.course import course_of
from batchctl.run.figures import Figures
from batchctl.run.lines import Example, FailedGroup, Invocation, Notice, Received
from batchctl.run.prices import Prices
from batchctl.run.recommend import Evidence, recommendations
from batchctl.run.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything known about one run.

    Parameters
    ----------
    where
        The stack it ran on, in words.
    local
        Whether that was the local cloud.
    started_at
        ISO-8601.
    missing_lines
        Invocation lines that did not arrive in time: the figures leave those out.
    logs_error
        Why the logs could not be read, if they could not.
    invocations, received
        How it went, from the functions' own lines.
    failures, examples
        Users without a row, by outcome and class of failure; and some of them, by pseudonym.
    failed_groups
        Groups whose users the next run tries again.
    notices
        What functions warned of, and how often.
    asked
        What the person asked for.
    stack_parameters
        The parameters the stack is deployed with.
    path
        Where the report file is.
    """

    run_id: str
    execution: str
    where: str
    local: bool
    started_at: str
    wall_s: float
    verdict: Verdict
    figures: Figures
    costs: Costs
    deployment: Deployment
    prices: Prices
    missing_lines: int
    logs_error: str
    invocations: Sequence[Invocation]
    received: Sequence[Received]
    failures: Mapping[tuple[str, str], int]
    examples: Mapping[tuple[str, str], Sequence[Example]]
    failed_groups: Sequence[FailedGroup]
    notices: Mapping[Notice, int]
    asked: Mapping[str, object]
    stack_parameters: Mapping[str, str]
    path: str

    @property
    def page(self) -> str:
        """Where the same is for a person to read, beside the report file."""
        return str(PurePath(self.path).with_suffix(".html"))

    def line(self) -> dict[str, Any]:
        """The object that `batchctl run --json` prints; its keys are a contract."""
        figures, verdict = self.figures, self.verdict
        return {
            "run_id": self.run_id,
            "status": verdict.status,
            "listed": verdict.listed,
            "outcomes": dict(verdict.outcomes),
            "kept": verdict.kept,
            "unaccounted": verdict.unaccounted,
            "wall_s": round(self.wall_s, 3),
            "api": {
                "requests": figures.api_requests,
                "retries": figures.api_retries,
                "p50_ms": figures.api_p50_ms,
                "p99_ms": figures.api_p99_ms,
            },
            "billing": {
                "state_machine_executions": 1,
                "lambda_invocations": figures.lambda_invocations,
                "lambda_gb_s": round(figures.lambda_gb_s, 4),
                "s3_put": figures.s3_put,
                "s3_get": figures.s3_get,
                "kinesis_put_units": figures.kinesis_put_units,
                "db_statements": figures.db_statements,
                "db_connections_peak": figures.db_connections_peak,
                "db_statement_bytes_max": figures.db_statement_bytes_max,
            },
            "max_state_bytes": figures.max_state_bytes,
            "usd_per_million_user_runs": {
                "step_functions_lambda": _rounded(self.costs.step_functions_lambda),
                "all_in": _rounded(self.costs.all_in),
            },
            "report": self.path,
        }

    def document(self) -> dict[str, Any]:
        """The report file: the line, all that it was made from, and what follows from it."""
        course = course_of(self.invocations, self.received)
        return {
            **self.line(),
            "reason": self.verdict.reason,
            "failed_state": self.verdict.state,
            "execution": self.execution,
            "where": self.where,
            "started_at": self.started_at,
            "asked": dict(self.asked),
            "stack_parameters": dict(self.stack_parameters),
            "failures": [
                {
                    "outcome": outcome,
                    "error": error,
                    "users": users,
                    "examples": [asdict(each) for each in self.examples.get((outcome, error), ())],
                }
                for (outcome, error), users in self.failures.items()
            ],
            "failed_groups": [asdict(each) for each in self.failed_groups],
            "notices": [{**asdict(notice), "lines": n} for notice, n in self.notices.items()],
            "missing_invocation_lines": self.missing_lines,
            "cold_starts": self.figures.cold_starts,
            "functions": [asdict(function) for function in self.figures.by_function],
            "costs": [
                {**asdict(line), "scope": scope}
                for scope, lines in (
                    ("step_functions_lambda", self.costs.core),
                    ("all_in", self.costs.rest),
                )
                for line in lines
            ],
            "prices": {
                "region": self.prices.region,
                "as_of": self.prices.as_of.isoformat(),
                "sources": dict(self.prices.sources),
                "unconfirmed": list(self.prices.unconfirmed),
            },
            "usd_per_month": round(self.costs.usd_per_month, 2),
            "lambda_gb_s_modelled": round(self.figures.lambda_gb_s_modelled, 4),
            "assumptions": self.assumptions(),
            "recommendations": [
                asdict(said)
                for said in recommendations(self._evidence(course["api"]["failed_attempts"]))
            ],
            "course": course,
        }

    def _evidence(self, failed_attempts: Mapping[str, int]) -> Evidence:
        return Evidence(
            figures=self.figures,
            invocations=self.invocations,
            failed_attempts=failed_attempts,
            verdict=self.verdict,
            costs=self.costs,
            wall_s=self.wall_s,
            local=self.local,
            parameters=self.stack_parameters,
        )

    def assumptions(self) -> Sequence[str]:
        """What a reader has to know before quoting a figure."""
        said = [
            (
                "Counts, durations and sizes are measured by this run, from one log line per"
                " invocation; percentiles of API latency are right within 3.5 %."
            ),
            (
                f"Prices: {self.prices.region}, {self.prices.as_of.isoformat()}, list price of"
                " the first tier, without free tiers."
            ),
            (
                f"Prices by the hour or the month (shards, RDS Proxy, CloudWatch) are shared out"
                f" over a run every"
                f" {self.deployment.schedule_minutes} minutes."
            ),
            "Not counted: the database, NAT, traffic to the API, KMS, storage.",
        ]
        if self.local:
            said.append(
                "Durations, and so lambda_gb_s, are those of this machine. What is priced is"
                " modelled: CPU time stretched to the share of a core that Lambda gives a"
                " function's memory, waiting as it was, without the time that other processes had"
                " the processor."
            )
            said.append(
                "modelled: the Step Functions bill, from the run's length and the documented memory"
                " formula."
            )
        if self.prices.unconfirmed:
            said.append("Prices to look up before quoting: " + ", ".join(self.prices.unconfirmed))
        if self.logs_error:
            said.append(f"The figures are lacking: {self.logs_error}")
        elif self.missing_lines:
            said.append(
                f"Partial: {self.missing_lines} invocation lines did not arrive in time, so the"
                " figures are too low."
            )
        return said


def _rounded(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 6)
