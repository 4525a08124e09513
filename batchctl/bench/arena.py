"""Where the variants meet: one tenant of the local cloud, made equal before each round."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from batchctl import console
from batchctl.bench import cpu
from batchctl.bench.cpu import CpuSeconds
from batchctl.bench.place import Place, outdate, remember_one_run
from batchctl.bench.samples import Sample
from batchctl.commands.run import Wish, moment_of, perform
from batchctl.commands.seed import seed_users
from batchctl.commands.target import Target, local_target
from batchctl.errors import BatchctlError
from batchctl.local import processes, sam
from batchctl.local.cloud import LocalCloud
from batchctl.local.home import CHECKOUT
from batchctl.run.earlier import make_way
from batchctl.run.report import RunReport
from sampleapi.admin import SampleApiAdmin

TENANT: Final = "bench"

# Every user has a row, and one of this round.
_STORED: Final = (
    "SELECT COUNT(*) FROM users AS u JOIN user_activity AS a USING (user_id)"
    " WHERE u.active = 1 AND a.version > 0"
)


@dataclass(frozen=True, slots=True)
class ProjectRun:
    """A round of the project: its sample, and what it was made from."""

    sample: Sample
    report: RunReport
    cpu: CpuSeconds


class Seen:
    """What the arena saw of a round; it is known when the round is over."""

    cpu: CpuSeconds
    stored: int


class Arena:
    """The tenant, its API and its database.

    Parameters
    ----------
    cloud
        A local cloud; it is started, and the tenant deployed, if need be.
    latency_ms
        How slow the API is.
    reports
        Where the reports of the project's runs go.
    """

    def __init__(self, cloud: LocalCloud, *, latency_ms: int, reports: Path) -> None:
        self._cloud = cloud
        self._latency_ms = latency_ms
        self._reports = reports
        self.target = self.deploy({})

    def deploy(self, parameters: Mapping[str, str]) -> Target:
        """Deploy the tenant with parameters that differ from the local cloud's own, or with none.

        Environments are new after it, if anything changed.
        """
        self._cloud.up()
        target = local_target(self._cloud, self._cloud.deploy(TENANT, parameters=parameters))
        self.target = replace(target, reports=self._reports)
        return self.target

    def project(
        self, users: int, *, group_size: int | None = None, latency_ms: int | None = None
    ) -> ProjectRun:
        """Run the project once, against an API as slow as the arena's if nothing else is said."""
        latency_ms = latency_ms or self._latency_ms
        with self._round(users, latency_ms) as seen:
            wish = Wish(users, group_size, latency_ms, None, moment_of(None))
            report = perform(self.target, wish, goes_on=False)
            if not report.verdict.good:
                raise BatchctlError(
                    f"The run {report.run_id} of the bench ended {report.verdict.status}: "
                    f"{report.verdict.reason or report.verdict.outcomes}. "
                    f"Look at it with: {self.target.hint(report.run_id)}"
                )
        figures = report.figures
        sample = Sample(
            wall_s=report.wall_s,
            users=users,
            stored=seen.stored,
            cpu_s=seen.cpu.emulator + seen.cpu.all_functions,
            functions_cpu_s=seen.cpu.all_functions,
            database_cpu_s=seen.cpu.database,
            api_cpu_s=seen.cpu.api,
            statements=figures.db_statements,
            connections=figures.db_connections_peak,
            in_flight=self._in_flight(),
            invocations=figures.lambda_invocations,
            cold_starts=figures.cold_starts,
            s3_requests=figures.s3_put + figures.s3_get,
            put_units=figures.kinesis_put_units,
            max_state_bytes=figures.max_state_bytes,
            missing_lines=report.missing_lines,
            usd_core=report.costs.step_functions_lambda,
            usd_all_in=report.costs.all_in,
        )
        return ProjectRun(sample, report, seen.cpu)

    def script(self, name: str, users: int, *options: str) -> Sample:
        """Run a script of :mod:`batchctl.bench.baselines` once."""
        with self._round(users, self._latency_ms) as seen:
            told = self._program(f"baselines.{name}", self.place().environment(), *options)
        return Sample(
            wall_s=told["wall_s"],
            users=users,
            stored=seen.stored,
            cpu_s=told["cpu_s"],
            functions_cpu_s=None,
            database_cpu_s=seen.cpu.database,
            api_cpu_s=seen.cpu.api,
            statements=told["statements"],
            connections=told["connections"],
            in_flight=self._in_flight(),
        )

    def listing(self, users: int) -> Mapping[str, Any]:
        """Let List Users list to nowhere, alone in a process; tell what that printed."""
        self._prepare(users, self._latency_ms)
        function = self._cloud.client("cloudformation").describe_stack_resource(
            StackName=self.target.stack.name, LogicalResourceId="ListUsersFunction"
        )["StackResourceDetail"]["PhysicalResourceId"]
        found = self._cloud.client("lambda").get_function_configuration(FunctionName=function)
        place = {"AWS_ENDPOINT_URL": self._cloud.endpoint_url, "AWS_REGION": self.target.region}
        return self._program("listing", {**place, **found["Environment"]["Variables"]})

    def writing(self, users: int) -> Mapping[str, Any]:
        """Measure the row store alone."""
        self._prepare(users, self._latency_ms)
        return self._program("writing", self.place().environment())

    def place(self) -> Place:
        """Where the tenant's users, rows and API are."""
        given = self.target.stack.parameters
        secret = self._cloud.client("secretsmanager").get_secret_value(
            SecretId=given["DatabaseSecretArn"]
        )
        login = json.loads(secret["SecretString"])
        return Place(
            host=given["DatabaseEndpoint"],
            port=int(given["DatabasePort"]),
            database=given["DatabaseName"],
            user=login["username"],
            password=login["password"],
            ca_file=given["DatabaseCaFile"],
            api_url=given["ApiBaseUrl"],
        )

    @contextmanager
    def _round(self, users: int, latency_ms: int) -> Iterator[Seen]:
        """Make everything equal before, count CPU meanwhile, and see that nobody was left out."""
        self._prepare(users, latency_ms)
        seen = Seen()
        before = cpu.read(self._cloud.home)
        yield seen
        seen.cpu = cpu.read(self._cloud.home).since(before)
        with self._cloud.database(TENANT) as connection, connection.cursor() as cursor:
            cursor.execute(_STORED)
            row = cursor.fetchone()
        seen.stored = int(row[0]) if row else 0
        if seen.stored != users:
            raise BatchctlError(
                f"A round stored {seen.stored:,} of {users:,} users, so its figures mean nothing. "
                "Run the bench again; if it repeats, look at the logs of the local cloud."
            )

    def _prepare(self, users: int, latency_ms: int) -> None:
        with self._cloud.database(TENANT) as connection:
            make_way(connection, self._cloud.client("stepfunctions"), console.step)
            seed_users(connection, users)
            outdate(connection)
            remember_one_run(connection, users)
        api = SampleApiAdmin(self._cloud.sample_api_url, TENANT)
        api.reset()
        api.settings(latency_ms=latency_ms)

    def _in_flight(self) -> int:
        api = SampleApiAdmin(self._cloud.sample_api_url, TENANT)
        return int(api.stats()["in_flight_peak"])

    def _program(self, name: str, env: Mapping[str, str], *options: str) -> dict[str, Any]:
        """Run a program of this package and read its last line."""
        folders = (CHECKOUT / "layers" / "job", CHECKOUT / "layers" / "batch_core", CHECKOUT)
        home = self._cloud.home
        log = home / "logs" / f"bench-{name}.log"
        status = processes.run(
            home,
            "bench",
            [sys.executable, "-m", f"batchctl.bench.{name}", *options],
            env={
                **sam.environment(home, None),
                **env,
                "PYTHONPATH": os.pathsep.join(map(str, folders)),
            },
            log=log,
            cwd=CHECKOUT,
        )
        if status != 0:
            raise BatchctlError(
                f"The program {name} of the bench failed with exit status {status}."
                f"{processes.tail(log)}"
            )
        told: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
        return told
