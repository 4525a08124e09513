"""The facts, from answers of AWS as its service models have them, and from a real API."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from batch_core.ports import ServerFacts
from batchctl.doctor.facts import (
    ApiAnswer,
    Builds,
    Facts,
    Network,
    Place,
    Quota,
    Refused,
    Secret,
    Unknown,
)
from batchctl.doctor.gather import gather
from batchctl.stacks import Stack
from tests.unit.batchctl_doctor.test_checks import PARAMETERS

REGION = "eu-west-1"
STACK = Stack("batch-acme", "UPDATE_COMPLETE", {"MigrateFunctionName": "migrate-1"}, PARAMETERS)
SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:batch/acme/"

type Answer = tuple[str, Mapping[str, Any] | str, Mapping[str, Any] | None]


class Aws:
    """Clients whose answers are recorded; nothing else is told."""

    def __init__(self, **recorded: Sequence[Answer]) -> None:
        self._recorded = recorded
        self._open = ExitStack()

    def __call__(self, service: str, **config: Any) -> Any:
        client: Any = boto3.client(
            service,  # type: ignore[call-overload]
            region_name=REGION,
            aws_access_key_id="AKIA",
            aws_secret_access_key="secret",
        )
        stubber = self._open.enter_context(Stubber(client))
        name = service.replace("-", "_")
        for operation, answer, asked in self._recorded.get(name, ()):
            if isinstance(answer, str):
                stubber.add_client_error(operation, answer)
            else:
                stubber.add_response(operation, dict(answer), asked)
        return client


def text_of(secret: str) -> dict[str, Any]:
    return {"SecretString": secret}


def gathered(
    aws: Aws,
    changes: Mapping[str, str],
    *,
    stack: Stack | None = None,
    caller: Aws | None = None,
) -> Facts:
    parameters = {**PARAMETERS, "ApiBaseUrl": "http://127.0.0.1:9/v1", **changes}
    place = Place("acme", "batch-acme", REGION, parameters, wave=3)
    return gather(place, aws, caller=caller or aws, stack=stack, local=True)


NONE = {"SubnetIds": "", "DatabaseSecretArn": "", "ApiSecretArn": ""}


def test_the_quotas_of_the_account_are_read_and_builds_of_the_callers() -> None:
    limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    quotas = [
        {
            "QuotaName": f"Concurrently running builds for {size} environment",
            "QuotaCode": f"L-{code}",
            "Value": float(code),
        }
        for size, code in (("Linux/Small", 1), ("Linux/Medium", 2), ("ARM/Small", 3))
    ]
    tenant = Aws(**{"lambda": [("get_account_settings", {"AccountLimit": limit}, {})]})
    wanted = {"ServiceCode": "codebuild"}
    pipeline = Aws(service_quotas=[("list_service_quotas", {"Quotas": quotas}, wanted)])

    facts = gathered(tenant, NONE, caller=pipeline)

    assert facts.concurrency == 10
    assert facts.builds == Builds(Quota(1, "L-1"), Quota(2, "L-2"))


def migrate(payload: bytes, **more: str) -> Answer:
    body = StreamingBody(io.BytesIO(payload), len(payload))
    asked = {"FunctionName": "migrate-1", "Payload": b'{"check": true}'}
    return "invoke", {"StatusCode": 200, "Payload": body, **more}, asked


SERVER = {
    "version": "8.0.39",
    "sql_mode": "STRICT_TRANS_TABLES",
    "character_set": "utf8mb4",
    "collation": "utf8mb4_0900_ai_ci",
    "rights": ["INSERT", "SELECT"],
    "role": "",
}


@pytest.mark.parametrize(
    ("told", "fact"),
    [
        (
            migrate(json.dumps({"check": {**SERVER, "listed": 9}}).encode()),
            ServerFacts(**{**SERVER, "rights": frozenset({"INSERT", "SELECT"})}),  # type: ignore[arg-type]
        ),
        (migrate(b'{"check": {"refused": "1045: denied"}}'), Refused("1045: denied")),
        (
            migrate(b'{"errorMessage": "timed out"}', FunctionError="Unhandled"),
            Refused("The function Migrate of batch-acme failed: timed out"),
        ),
        (
            migrate(b'{"applied": [], "already": 4}'),
            Unknown("the code that is deployed cannot look yet: deploy, then look again"),
        ),
    ],
)
def test_the_database_is_looked_at_by_the_stack(told: Answer, fact: object) -> None:
    settings: Answer = (
        "get_account_settings",
        {"AccountLimit": {"ConcurrentExecutions": 1000}},
        {},
    )

    class Each(Aws):
        """Every client hears its own answer: one is made for the quota, one for Migrate."""

        def __call__(self, service: str, **config: Any) -> Any:
            if service == "lambda":
                own = told if "read_timeout" in config else settings
                return Aws(**{"lambda": [own]})(service)
            return super().__call__(service)

    facts = gathered(Each(), NONE, stack=STACK)

    assert facts.database == fact
    assert facts.listed == (9 if isinstance(fact, ServerFacts) else 0)


def test_before_there_is_a_stack_the_database_is_unknown() -> None:
    assert gathered(Aws(), NONE).database == Unknown(
        "unknown until deployed: only the stack reaches it"
    )


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"username": "batch_acme", "password": "hush"}', Secret(user="batch_acme")),
        ('{"user": "batch_acme", "password": "hush"}', Secret(fault="of another shape")),
        ("hush", Secret(fault="of another shape")),
    ],
)
def test_of_a_databases_secret_its_shape_and_its_user_are_known_and_no_more(
    text: str, secret: Secret
) -> None:
    arn = f"{SECRET}db-1"
    asked = {"SecretId": arn}
    aws = Aws(secretsmanager=[("get_secret_value", text_of(text), asked)])

    facts = gathered(aws, NONE | {"DatabaseProxySecretArn": arn})

    assert facts.secrets == {"DatabaseProxySecretArn": secret}
    assert "hush" not in repr(facts)


# --- the API --------------------------------------------------------------------------------------


class Api(ThreadingHTTPServer):
    """Answers with the status that the path names, and remembers the credentials."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.heard: list[str | None] = []


class Answering(BaseHTTPRequestHandler):
    """Answers one question."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Api)
        self.server.heard.append(self.headers["Authorization"])
        self.send_response(int(self.path.strip("/")))
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 302, 401, 404, 503])
def test_the_api_is_asked_with_the_tenants_secret_which_no_redirect_gets(
    api: Api, status: int
) -> None:
    arn = f"{SECRET}api-1"
    asked = {"SecretId": arn}
    aws = Aws(secretsmanager=[("get_secret_value", text_of("token\n"), asked)])
    url = f"http://127.0.0.1:{api.server_port}/{status}"

    facts = gathered(aws, NONE | {"ApiSecretArn": arn, "ApiBaseUrl": url})

    assert facts.api == ApiAnswer(status, secret=True)
    assert api.heard == ["Bearer token"]


def test_an_api_whose_secret_may_not_be_read_is_asked_without(api: Api) -> None:
    url = f"http://127.0.0.1:{api.server_port}/401"

    facts = gathered(Aws(), NONE | {"ApiSecretArn": f"{SECRET}api-1", "ApiBaseUrl": url})

    assert facts.api == ApiAnswer(401, secret=False)
    assert isinstance(facts.secrets["ApiSecretArn"], Unknown)


def test_an_api_that_is_not_there_is_told_with_the_reason() -> None:
    api = gathered(Aws(), NONE).api

    assert isinstance(api, Refused)
    assert "refused" in api.why


# --- the network ----------------------------------------------------------------------------------

S3, SECRETS = f"com.amazonaws.{REGION}.s3", f"com.amazonaws.{REGION}.secretsmanager"


def table(name: str, *subnets: str, **route: str) -> dict[str, Any]:
    own = [{"SubnetId": subnet, "Main": False} for subnet in subnets] or [{"Main": True}]
    routes = [{"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"}]
    if route:
        routes.append({"DestinationCidrBlock": "0.0.0.0/0", **route})
    return {"RouteTableId": name, "Associations": own, "Routes": routes}


def network(tables: Sequence[Any], endpoints: Sequence[Any], main: Sequence[Any] = ()) -> Aws:
    subnets = {"SubnetIds": ["subnet-0a", "subnet-0b"]}
    answers: list[Answer] = [
        ("describe_subnets", {"Subnets": [{"VpcId": "vpc-1"}, {"VpcId": "vpc-1"}]}, subnets),
        ("describe_route_tables", {"RouteTables": tables}, {"Filters": ANY}),
    ]
    if main:
        wanted = [
            {"Name": "vpc-id", "Values": ["vpc-1"]},
            {"Name": "association.main", "Values": ["true"]},
        ]
        answers.append(("describe_route_tables", {"RouteTables": main}, {"Filters": wanted}))
    answers.append(("describe_vpc_endpoints", {"VpcEndpoints": endpoints}, {"Filters": ANY}))
    return Aws(ec2=answers)


GATEWAY = {"ServiceName": S3, "VpcEndpointType": "Gateway", "RouteTableIds": ["rtb-1"]}
INTERFACE = {"ServiceName": SECRETS, "VpcEndpointType": "Interface", "RouteTableIds": []}


@pytest.mark.parametrize(
    ("aws", "found"),
    [
        (
            network([table("rtb-1", "subnet-0a", "subnet-0b")], [GATEWAY]),
            Network("vpc-1", [], ["rtb-1"], secrets_endpoint=False),
        ),
        (
            network([table("rtb-1", "subnet-0a", "subnet-0b")], [GATEWAY, INTERFACE]),
            Network("vpc-1", [], ["rtb-1"], secrets_endpoint=True),
        ),
        (
            network([table("rtb-2", "subnet-0a", "subnet-0b", NatGatewayId="nat-1")], []),
            Network("vpc-1", [], [], secrets_endpoint=False),
        ),
        (  # what has no public address gets nowhere through an internet gateway
            network([table("rtb-2", "subnet-0a", "subnet-0b", GatewayId="igw-1")], [GATEWAY]),
            Network("vpc-1", ["rtb-2"], ["rtb-2"], secrets_endpoint=False),
        ),
        (  # a subnet without a table of its own has the main one
            network([table("rtb-1", "subnet-0a")], [GATEWAY], main=[table("rtb-main")]),
            Network("vpc-1", ["rtb-main"], ["rtb-1", "rtb-main"], secrets_endpoint=False),
        ),
    ],
)
def test_the_ways_out_of_the_subnets_are_those_of_their_route_tables(
    aws: Aws, found: Network
) -> None:
    subnets = {"SubnetIds": "subnet-0a,subnet-0b"}

    assert gathered(aws, NONE | subnets).network == found


def test_functions_in_no_vpc_have_no_network_to_look_at() -> None:
    assert gathered(Aws(), NONE).network is None


# --- roles ----------------------------------------------------------------------------------------


def test_roles_and_boundary_that_are_not_there_are_named() -> None:
    arn = "arn:aws:sts::111122223333:assumed-role/administrator/me"
    role = {
        "Path": "/", "RoleName": "batch-acme-deploy", "RoleId": "AROA0123456789ABCDEF",
        "Arn": "arn:aws:iam::111122223333:role/r", "CreateDate": "2026-01-31T00:00:00Z",
    }  # fmt: skip
    boundary = "arn:aws:iam::111122223333:policy/batch-acme-boundary"
    aws = Aws(
        sts=[("get_caller_identity", {"Arn": arn}, {})],
        iam=[
            ("get_role", {"Role": role}, {"RoleName": "batch-acme-deploy"}),
            ("get_role", "NoSuchEntity", None),
            ("get_role", {"Role": role}, {"RoleName": "batch-acme-verify"}),
            ("get_policy", {"Policy": {"PolicyName": "b"}}, {"PolicyArn": boundary}),
        ],
    )

    assert gathered(aws, NONE).missing_roles == ["batch-acme-cloudformation"]


def test_what_somebody_may_not_look_at_is_unknown_and_fails_nothing() -> None:
    denied = Aws(**{"lambda": [("get_account_settings", "AccessDeniedException", None)]})

    facts = gathered(denied, {"SubnetIds": "subnet-0a"})

    unknown = (facts.concurrency, facts.builds, facts.network, facts.missing_roles)
    for fact in (*unknown, *facts.secrets.values()):
        assert isinstance(fact, Unknown)
        assert "not told" in fact.why
