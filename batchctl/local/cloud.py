"""The local cloud: start, repair, deploy to and stop the three servers under one folder."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
from botocore.config import Config

from batchctl.errors import BatchctlError
from batchctl.local import emulator, processes, sam
from batchctl.local.databases import DEFAULT_DATABASE, DatabaseKind
from batchctl.local.home import default_home, exclusive, read_json, write_json
from batchctl.local.processes import ProcessId
from batchctl.local.servers import REGION, HttpServer, MiniStack, SampleApi
from batchctl.migrations import migrate
from batchctl.stacks import Stack, find_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from batchctl.local.sql_server import Connection, SqlServer

DEFAULT_TENANT: Final = "demo"
_BUCKET: Final = "express-batch-artifacts"
_USABLE: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
_STACK_DEADLINE_S: Final = 300.0
# The proxies of the machine have no business on the way to 127.0.0.1, of which no other host name
# is an alias: neither a bucket's nor the one for synchronous executions.
_REACHED: Final[Mapping[str, Any]] = {
    "proxies": {},
    "s3": {"addressing_style": "path"},
    "inject_host_prefix": False,
}


@dataclass(frozen=True)
class Ports:
    """The ports that were asked for; None lets a free one be chosen."""

    database: int | None = None
    ministack: int | None = None
    sampleapi: int | None = None


@dataclass(frozen=True)
class ServerStatus:
    """One server, as `batchctl status` shows it."""

    role: str
    state: str  # "running", "not answering" or "stopped"
    pid: int | None
    port: int | None
    log: str


@dataclass(frozen=True)
class CloudStatus:
    """The whole cloud, as `batchctl status` shows it."""

    home: str
    database: str
    endpoint_url: str | None
    servers: tuple[ServerStatus, ...]
    tenants: tuple[str, ...]
    other_processes: int  # workers of MiniStack, a build under way, leftovers of a crash

    @property
    def running(self) -> bool:
        """Whether every server runs."""
        return all(server.state == "running" for server in self.servers)


def stack_name(tenant: str) -> str:
    """Return the name of a tenant's stack on the local cloud."""
    return f"express-batch-{tenant}"


def schema_name(tenant: str) -> str:
    """Return the name of a tenant's database schema, and of the user who owns it."""
    return f"batch_{tenant.replace('-', '_')}"


class LocalCloud:
    """A local cloud in one folder, whichever process started it.

    Every method finds out for itself what runs, so that two commands, or a command after a crash,
    agree. As a context manager it is up inside and down, with nothing left, outside.

    It runs on the `database` that it was last started with, unless another one is asked for; each
    keeps its own data.

    With `enforces_iam` every call needs a permission, over TLS; so far only tests and rehearsals
    ask for it, each in a folder that no command works in.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        database: DatabaseKind | None = None,
        ports: Ports | None = None,
        enforces_iam: bool = False,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.home = (home or default_home()).resolve()
        self._ports = ports or Ports()
        self._enforces_iam = enforces_iam
        self._report = report
        self._state_file = self.home / "cloud.json"
        self._asked_for = database

    # --- its life --------------------------------------------------------------------------------

    def up(self) -> None:
        """Start whatever of the cloud does not run, and return when all of it answers.

        Raises BatchctlError when a server does not come up, when a port that was asked for is
        taken, or when it runs on another database than the one that was asked for.
        """
        with self._alone():
            self._up()

    def down(self) -> int:
        """Stop everything of this cloud, leftovers of crashes too; return how many processes."""
        with self._alone():
            stopped = processes.stop(self.home)
            shutil.rmtree(self.home / "tmp", ignore_errors=True)
            # A cloud that comes back keeps its database, and its addresses when they are free.
            state = self._state()
            self._remember({name: state[name] for name in ("database", "ports") if name in state})
            return stopped

    def status(self) -> CloudStatus:
        """Return what runs, without changing anything."""
        servers = []
        known = 0
        kind = self._last_database()
        database = kind.server(self.home, self._ports.database)
        for server in (database, self._ministack(), self._sampleapi()):
            role = server.role
            found = processes.find(self.home, role)
            state = "running" if server.answers() else "not answering" if found else "stopped"
            pid = min(found, key=lambda process: process.started).pid if found else None
            known += bool(found)
            port = server.port if found else None
            servers.append(ServerStatus(role, state, pid, port, str(server.log)))
        ministack = self._ministack()
        return CloudStatus(
            home=str(self.home),
            database=kind,
            endpoint_url=ministack.url if ministack.answers() else None,
            servers=tuple(servers),
            tenants=tuple(sorted(self._deployments(ministack))),
            other_processes=len(processes.find(self.home)) - known,
        )

    def __enter__(self) -> LocalCloud:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()

    # --- tenants ---------------------------------------------------------------------------------

    def deploy(
        self,
        tenant: str = DEFAULT_TENANT,
        *,
        template: Path = sam.TEMPLATE,
        parameters: Mapping[str, str] | None = None,
    ) -> Stack:
        """Deploy a tenant, its database schema included, unless it is deployed as it should be.

        `parameters` are values of the template's parameters that differ from the local cloud's own.
        Raises BatchctlError when the template does not build or deploy, or a migration fails.
        """
        with self._alone():
            self._up()
            built = sam.build(self.home, template, self._report)
            wanted = self._parameters(tenant) | dict(parameters or {})
            digest = hashlib.sha256(json.dumps([str(built), wanted], sort_keys=True).encode())
            fingerprint = digest.hexdigest()
            deployments = self._deployments(self._ministack())
            if deployments.get(tenant) == fingerprint:
                return self.stack(tenant)
            self._clear_the_way(stack_name(tenant))
            self._report(f"deploying {stack_name(tenant)}")
            self._ensure_bucket()
            sam.deploy(
                self.home,
                self.endpoint_url,
                ca_file=self.ca_file,
                template=built,
                stack=stack_name(tenant),
                bucket=_BUCKET,
                parameters=wanted,
            )
            stack = self.stack(tenant)
            emulator.mend(self.client, stack)
            migrate(self.client, stack, self._report)
            self._remember_deployments({**deployments, tenant: fingerprint})
            return stack

    def stack(self, tenant: str = DEFAULT_TENANT) -> Stack:
        """Return a tenant's stack. Raises BatchctlError when it is not deployed."""
        found = find_stack(self.session(), stack_name(tenant), **self.client_options())
        if found is None:
            raise BatchctlError(
                f"Tenant {tenant} is not deployed on the local cloud. Run: "
                f"batchctl up --tenant {tenant}"
            )
        return found

    # --- ways in ---------------------------------------------------------------------------------

    @property
    def endpoint_url(self) -> str:
        """Where MiniStack answers. Raises BatchctlError when it does not run."""
        ministack = self._ministack()
        if not ministack.answers():
            raise BatchctlError("The local cloud is not running. Start it with: batchctl up")
        return ministack.url

    @property
    def ca_file(self) -> Path | None:
        """What to verify MiniStack's certificate with; None when it speaks plain http."""
        return self._ministack().ca_file

    @property
    def sample_api_url(self) -> str:
        """Where the sample API answers. Raises BatchctlError when it does not run."""
        sampleapi = self._sampleapi()
        if not sampleapi.answers():
            raise BatchctlError("The sample API is not running. Start it with: batchctl up")
        return sampleapi.url

    def session(self) -> boto3.Session:
        """Return a session of the local cloud's account; its clients still need the endpoint."""
        return self._session

    def client(self, service: str, **config: Any) -> Any:
        """Return a boto3 client of a service of the local cloud.

        Keyword arguments are botocore's Config, as in `read_timeout=300`, in seconds.
        """
        return self._session.client(service, **self.client_options(**config))  # type: ignore[call-overload]

    def client_options(self, **config: Any) -> dict[str, Any]:
        """Return what a client of any session needs to reach the local cloud."""
        ca_file = self.ca_file
        return {
            "endpoint_url": self.endpoint_url,
            "verify": str(ca_file) if ca_file is not None else None,
            "config": Config(**{**_REACHED, **config}),
        }

    @property
    def database_kind(self) -> DatabaseKind:
        """Which database it runs on, or will when it is started."""
        return self._asked_for or self._last_database()

    @property
    def database_server(self) -> SqlServer:
        """The database server, to break and mend in tests."""
        return self.database_kind.server(self.home, self._ports.database)

    def database(self, tenant: str | None = None) -> Connection:
        """Connect to a tenant's schema, or to none, as the administrator."""
        server = self.database_server
        if not server.answers():
            raise BatchctlError("The local database is not running. Start it with: batchctl up")
        return server.connect(database=schema_name(tenant) if tenant is not None else None)

    # --- the servers -----------------------------------------------------------------------------

    def _up(self) -> None:
        # Nobody else is at work here now: a `sam` that still runs lost its command to a kill.
        for role in sam.ROLES:
            processes.stop(self.home, role)
        database = self.database_server
        for other in DatabaseKind:
            if other != database.role and processes.find(self.home, other):
                raise BatchctlError(
                    f"The local cloud runs on {other.server.title}. Stop it first: batchctl down"
                )
        self._remember({**self._state(), "database": database.role})
        if not database.answers():
            self._report(f"starting {database.title}")
        database.start()
        for server in (self._ministack(), self._sampleapi()):
            asked = getattr(self._ports, server.role)
            if server.answers() and asked in (None, server.port):
                continue
            if asked is not None:
                server.port, server.port_is_fixed = asked, True
            self._report(f"starting {server.title}")
            server.start()
            assert server.identity is not None
            # Written at once: if this command is killed now, the next one knows what runs where.
            state = self._state()
            state["ports"] = {**state.get("ports", {}), server.role: server.port}
            state["identities"] = {
                **state.get("identities", {}),
                server.role: asdict(server.identity),
            }
            self._remember(state)

    def _last_database(self) -> DatabaseKind:
        return DatabaseKind(self._state().get("database", DEFAULT_DATABASE))

    def _ministack(self) -> MiniStack:
        return self._recall(MiniStack(self.home, enforces_iam=self._enforces_iam))

    def _sampleapi(self) -> SampleApi:
        return self._recall(SampleApi(self.home))

    def _recall[Server: HttpServer](self, server: Server) -> Server:
        state = self._state()
        server.port = state.get("ports", {}).get(server.role, 0)
        identity = state.get("identities", {}).get(server.role)
        server.identity = ProcessId(**identity) if identity else None
        return server

    # --- what is remembered ----------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return read_json(self._state_file)

    def _remember(self, state: dict[str, Any]) -> None:
        write_json(self._state_file, state)

    def _deployments(self, ministack: MiniStack) -> dict[str, str]:
        """Return the fingerprints of the tenants on this MiniStack; its restart forgets them."""
        remembered = self._state().get("deployments", {})
        if ministack.identity is None or not ministack.answers():
            return {}
        if remembered.get("ministack") != asdict(ministack.identity):
            return {}
        return dict(remembered.get("tenants", {}))

    def _remember_deployments(self, tenants: dict[str, str]) -> None:
        state = self._state()
        identity = state["identities"][self._ministack().role]
        self._remember({**state, "deployments": {"ministack": identity, "tenants": tenants}})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with exclusive(self.home / "lock", self._report):
            yield

    # --- AWS -------------------------------------------------------------------------------------

    @cached_property
    def _session(self) -> boto3.Session:
        # Without these a profile named in the person's environment would be looked for.
        nothing = (None, None, os.devnull, None)
        core = botocore.session.Session(
            {
                "profile": (None, None, None, None),
                "config_file": nothing,
                "credentials_file": nothing,
            }
        )
        credentials = sam.credentials()
        return boto3.Session(
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
            botocore_session=core,
        )

    def _parameters(self, tenant: str) -> dict[str, str]:
        database = self.database_server
        return sam.local_parameters() | {
            "TenantId": tenant,
            "Architecture": sam.architecture(),
            "ScheduleState": "DISABLED",
            "ApiBaseUrl": f"{self.sample_api_url}/{tenant}",
            "ApiAllowPrivateAddresses": "true",
            "DatabaseEndpoint": database.host,
            "DatabasePort": str(database.port),
            "DatabaseName": schema_name(tenant),
            "DatabaseUser": schema_name(tenant),
            "DatabaseSecretArn": self._ensure_database(tenant),
            "DatabaseCaFile": str(database.ca_file),
        }

    def _ensure_database(self, tenant: str) -> str:
        """Make the tenant's schema and user, and return the secret that holds the password."""
        client = self.client("secretsmanager")
        name = f"express-batch/{tenant}/database"
        user = schema_name(tenant)
        try:
            found = client.get_secret_value(SecretId=name)
            arn, password = found["ARN"], json.loads(found["SecretString"])["password"]
        except client.exceptions.ResourceNotFoundException:
            password = secrets.token_urlsafe(24)
            text = json.dumps({"username": user, "password": password})
            arn = client.create_secret(Name=name, SecretString=text)["ARN"]
        self.database_server.create_schema(schema_name(tenant), user, password)
        return str(arn)

    def _ensure_bucket(self) -> None:
        client = self.client("s3")
        if _BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(
                Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
            )

    def _clear_the_way(self, name: str) -> None:
        """Delete a stack that an interrupted or failed deployment left in a state of no return."""

        def status() -> str | None:
            found = find_stack(self._session, name, **self.client_options())
            return found.status if found else None

        def settled() -> bool:
            now = status()
            return now is None or now == "REVIEW_IN_PROGRESS" or not now.endswith("_IN_PROGRESS")

        if not processes.wait_for(settled, deadline_s=_STACK_DEADLINE_S, interval_s=0.2):
            raise BatchctlError(
                f"Stack {name} has been {status()} for {_STACK_DEADLINE_S:.0f} seconds. Start "
                "afresh with: batchctl down, then batchctl up"
            )
        if status() in (None, *_USABLE):
            return
        self._report(f"removing what a failed deployment left of {name}")
        self.client("cloudformation").delete_stack(StackName=name)
        if not processes.wait_for(
            lambda: status() in (None, "DELETE_COMPLETE"),
            deadline_s=_STACK_DEADLINE_S,
            interval_s=0.2,
        ):
            raise BatchctlError(
                f"Stack {name}, which a failed deployment left behind, cannot be deleted (it is "
                f"{status()}). Start afresh with: batchctl down, then batchctl up"
            )
