"""What the tests of faults stand on, and what each says at its end: its row in the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from batch_core.adapters.mysql_connection import Database
from functions.write_rows import app as write_rows
from job import JOB
from tests.support.aws_faults import AwsFaults
from tests.support.clock import Clock
from tests.support.databases import KINDS, DatabaseServer, Schema, Servers, servers_of
from tests.support.deliveries import Deliveries, writer
from tests.support.fault_table import PROPERTY, TITLES, Injection
from tests.support.functions import CONTEXT, execution_environments, secret
from tests.support.stream_lab import StreamLab, environment, prepare
from tests.support.tcp_proxy import MySqlProxy
from tests.support.world import TABLE


class Lab:
    """Takes down what a test injected and what became of the users."""

    def __init__(self, fault: int) -> None:
        self.fault = fault
        self.injections: list[Injection] = []

    def report(
        self, injected: str, *, times: int, users: int, accounted: int, lost: int = 0
    ) -> None:
        """Enter what happened, and fail the test if anybody was lost.

        Parameters
        ----------
        injected
            The fault as it was made, in a few words.
        times
            How often.
        users
            Users, or rows where the fault is about rows, that went in.
        accounted
            Of these, those of whom it is known what became of them.
        lost
            Rows that the database should hold and does not, or holds with other content.
        """
        self.injections.append(Injection(self.fault, injected, times, users, accounted, lost))
        assert times > 0, "nothing was injected"
        assert accounted == users, f"{users - accounted} of {users} are unaccounted for"
        assert lost == 0, f"{lost} rows are lost"


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Report to the row of the fault that the test is marked with."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "mark the test with @pytest.mark.fault(NUMBER)"
    (fault,) = marker.args
    assert fault in TITLES, f"there is no fault {fault}"
    lab = Lab(fault)
    yield lab
    request.node.user_properties += [(PROPERTY, injection) for injection in lab.injections]
    assert lab.injections, "the test never reported what it injected"


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Serve databases that the tests of one file may kill and set as they like."""
    with servers_of(tmp_path_factory, "own-") as servers:
        yield servers


@pytest.fixture(params=KINDS)
def own_server(request: pytest.FixtureRequest, own_servers: Servers) -> DatabaseServer:
    """Run a test on each kind of database, on the file's own server."""
    return own_servers[request.param]


@pytest.fixture
def own_schema(own_server: DatabaseServer) -> Iterator[Schema]:
    """Give one test an empty schema on the file's own server."""
    with own_server.lent_schema() as schema:
        yield schema


@pytest.fixture
def proxy(own_server: DatabaseServer) -> Iterator[MySqlProxy]:
    """Stand between the functions and the file's own server."""
    with MySqlProxy(own_server) as proxy:
        yield proxy


@pytest.fixture
def deployed(
    own_schema: Schema, proxy: MySqlProxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deliveries]:
    """Deliver to Write Rows as it is deployed, with a secret for a login, through the proxy."""
    variables = {
        "DATABASE_ENDPOINT": own_schema.host,
        "DATABASE_PORT": str(proxy.port),
        "DATABASE_NAME": own_schema.name,
        "DATABASE_USER": own_schema.user,
        "DATABASE_CA_FILE": str(own_schema.ca_file),
    }
    monkeypatch.setattr(write_rows, "JOB", replace(JOB, table=TABLE))
    with execution_environments(monkeypatch, variables):
        login = json.dumps({"username": own_schema.user, "password": own_schema.password})
        monkeypatch.setenv("DATABASE_SECRET_ARN", secret("database", login))
        deliveries = Deliveries(own_schema, lambda event: write_rows.lambda_handler(event, CONTEXT))
        yield deliveries
        deliveries.close()


@pytest.fixture
def clock() -> Clock:
    """Let time pass only while somebody waits."""
    return Clock()


@pytest.fixture
def database(own_schema: Schema, proxy: MySqlProxy, clock: Clock) -> Iterator[Database]:
    """Reach the file's own server through the proxy, with the patience of Write Rows."""
    database = own_schema.reach(
        port=proxy.port,
        read_seconds=0.3,
        patience_seconds=write_rows.PATIENCE_SECONDS,
        clock=clock,
        sleep=clock.sleep,
    )
    yield database
    database.discard()


@pytest.fixture
def deliveries(own_schema: Schema, database: Database) -> Iterator[Deliveries]:
    """Deliver to a writer on `database`, which must have nothing to put aside."""
    deliveries = Deliveries(own_schema, writer(database))
    yield deliveries
    deliveries.close()


@pytest.fixture(scope="session")
def stream_schemas() -> dict[str, Schema]:
    """Keep the schema of each kind of database that `stream_lab` has migrated and empties."""
    return {}


@pytest.fixture
def stream_lab(
    server: DatabaseServer, stream_schemas: dict[str, Schema], monkeypatch: pytest.MonkeyPatch
) -> Iterator[StreamLab]:
    """Give a tenant's stream, writer and migrated schema, with no row in it."""
    if server.role not in stream_schemas:
        made = stream_schemas[server.role] = server.fresh_schema()
        with pytest.MonkeyPatch.context() as once, environment(made, once):
            prepare(made)
    schema = stream_schemas[server.role]
    with environment(schema, monkeypatch):
        lab = StreamLab(schema)
        yield lab
        lab.close()


@pytest.fixture
def aws_faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsFaults]:
    """Stand between the adapters and moto's AWS."""
    faults = AwsFaults()
    with faults.installed(monkeypatch):
        yield faults
