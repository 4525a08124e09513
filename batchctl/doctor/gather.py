"""Asks AWS, the stack's own Migrate and the API for the facts; changes nothing anywhere."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from batch_core.adapters.api_secret import bearer_token
from batch_core.adapters.secrets import login_of
from batch_core.errors import ConfigurationError
from batch_core.ports import ServerFacts
from batchctl.aws import ClientFactory
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
from batchctl.errors import BatchctlError
from batchctl.migrations import look
from batchctl.stacks import Stack

_API_SECONDS: Final = 10
_OF_DATABASE: Final = ("DatabaseSecretArn", "DatabaseProxySecretArn")
_OF_API: Final = "ApiSecretArn"
# https://docs.aws.amazon.com/codebuild/latest/userguide/limits.html
_BUILDS: Final = "Concurrently running builds for Linux/{size} environment"
_NOT_DEPLOYED: Final = Unknown("unknown until deployed: only the stack reaches it")
# By these something without a public address gets out; through an internet gateway it cannot.
_WAYS_OUT: Final = ("NatGatewayId", "TransitGatewayId", "NetworkInterfaceId", "InstanceId")


def gather(
    place: Place, client: ClientFactory, *, caller: ClientFactory, stack: Stack | None, local: bool
) -> Facts:
    """Find out everything; what is not told is unknown, and why.

    Parameters
    ----------
    client
        Of the tenant's account.
    caller
        Of the account that whoever asks is in: the pipeline's, where it verifies.
    stack
        None before there is one.
    local
        Whether it is all on this machine, to which no proxy leads.
    """
    texts = {
        name: _known(partial(_secret_text, client, arn))
        for name in (*_OF_DATABASE, _OF_API)
        if (arn := place.parameters[name])
    }
    token = texts.get(_OF_API)
    database, listed = (_NOT_DEPLOYED, 0) if stack is None else _database(client, stack)
    return Facts(
        place=place,
        concurrency=_known(lambda: _concurrency(client)),
        builds=_known(lambda: _builds(caller))
        if place.wave is not None
        else Unknown("no pipeline"),
        database=database,
        secrets={name: _secret(name, text, place) for name, text in texts.items()},
        api=_api(place.parameters["ApiBaseUrl"], token if isinstance(token, str) else "", local),
        network=_known(lambda: _network(client, place)) if place.parameters["SubnetIds"] else None,
        missing_roles=_known(lambda: list(_missing_roles(client, place))),
        listed=listed,
    )


def _known[Fact](question: Callable[[], Fact]) -> Fact | Unknown:
    try:
        return question()
    except (BotoCoreError, ClientError) as error:
        return Unknown(f"not told: {error}")


def _concurrency(client: ClientFactory) -> int:
    return int(client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"])


def _builds(client: ClientFactory) -> Builds | Unknown:
    pages = client("service-quotas").get_paginator("list_service_quotas")
    quotas = {
        quota["QuotaName"]: Quota(int(quota["Value"]), quota["QuotaCode"])
        for page in pages.paginate(ServiceCode="codebuild")
        for quota in page["Quotas"]
    }
    small, medium = (quotas.get(_BUILDS.format(size=size)) for size in ("Small", "Medium"))
    if small is None or medium is None:
        return Unknown("Service Quotas names no quota of builds at once")
    return Builds(small, medium)


# --- the database, from inside the stack ----------------------------------------------------------


def _database(client: ClientFactory, stack: Stack) -> tuple[ServerFacts | Refused | Unknown, int]:
    """What Migrate tells of the database, and how many users were listed lately."""
    try:
        told = look(client, stack)
    except BatchctlError as error:
        return Refused(str(error)), 0
    except (BotoCoreError, ClientError) as error:
        return Unknown(f"Migrate cannot be asked: {error}"), 0
    if told is None:
        return Unknown("the code that is deployed cannot look yet: deploy, then look again"), 0
    if "refused" in told:
        return Refused(str(told["refused"])), 0
    listed = int(told.pop("listed"))
    return ServerFacts(**{**told, "rights": frozenset(told["rights"])}), listed


# --- secrets --------------------------------------------------------------------------------------


def _secret_text(client: ClientFactory, arn: str) -> str:
    return str(client("secretsmanager").get_secret_value(SecretId=arn).get("SecretString", ""))


def _secret(name: str, text: str | Unknown, place: Place) -> Secret | Unknown:
    """Judge a secret's shape; what is kept of its text is the user name of a login."""
    if isinstance(text, Unknown):
        return text
    arn = place.parameters[name]
    try:
        if name == _OF_API:
            bearer_token(arn, text)
            return Secret()
        return Secret(user=login_of(arn, text)[0])
    except ConfigurationError:
        return Secret(fault="of another shape")


# --- the API --------------------------------------------------------------------------------------


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token is for the host that it was made for: 3xx is an answer like any other."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _api(url: str, token: str, local: bool) -> ApiAnswer | Refused:
    headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if local:
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    try:
        # The template lets nothing but http and https into ApiBaseUrl.
        with opener.open(urllib.request.Request(url, headers=headers), timeout=_API_SECONDS) as got:  # noqa: S310
            return ApiAnswer(got.status, bool(token))
    except urllib.error.HTTPError as error:
        with error:
            return ApiAnswer(error.code, bool(token))
    except (OSError, ValueError) as error:
        return Refused(f"no answer: {getattr(error, 'reason', error)}")


# --- the network ----------------------------------------------------------------------------------


def _network(client: ClientFactory, place: Place) -> Network:
    ec2, subnets = client("ec2"), place.parameters["SubnetIds"].split(",")
    vpc = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
    tables = _route_tables(ec2, vpc, subnets)
    services = {name: f"com.amazonaws.{place.region}.{name}" for name in ("s3", "secretsmanager")}
    endpoints = ec2.describe_vpc_endpoints(
        Filters=[_filter("vpc-id", vpc), _filter("service-name", *services.values())]
    )["VpcEndpoints"]
    to_s3 = {
        table
        for endpoint in endpoints
        if endpoint["ServiceName"] == services["s3"] and endpoint["VpcEndpointType"] == "Gateway"
        for table in endpoint["RouteTableIds"]
    }
    inside = [name for name, table in tables.items() if not _leads_out(table)]
    return Network(
        vpc=vpc,
        without_s3=[name for name in inside if name not in to_s3],
        without_internet=inside,
        secrets_endpoint=any(
            endpoint["ServiceName"] == services["secretsmanager"] for endpoint in endpoints
        ),
    )


def _route_tables(ec2: Any, vpc: str, subnets: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The route tables of the subnets, by id; one without its own has the VPC's main one."""
    own = ec2.describe_route_tables(Filters=[_filter("association.subnet-id", *subnets)])
    found = list(own["RouteTables"])
    associated = {each.get("SubnetId") for table in found for each in table["Associations"]}
    if set(subnets) - associated:
        main = [_filter("vpc-id", vpc), _filter("association.main", "true")]
        found += ec2.describe_route_tables(Filters=main)["RouteTables"]
    return {table["RouteTableId"]: table for table in found}


def _leads_out(table: Mapping[str, Any]) -> bool:
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0" and any(way in route for way in _WAYS_OUT)
        for route in table["Routes"]
    )


def _filter(name: str, *values: str) -> dict[str, Any]:
    return {"Name": name, "Values": list(values)}


# --- the roles of access.yaml ---------------------------------------------------------------------


def _missing_roles(client: ClientFactory, place: Place) -> Iterator[str]:
    iam, start = client("iam"), f"batch-{place.tenant}"
    _, partition, *_, account = client("sts").get_caller_identity()["Arn"].split(":")[:5]
    for role in ("deploy", "cloudformation", "verify"):
        if not _is_there(partial(iam.get_role, RoleName=f"{start}-{role}")):
            yield f"{start}-{role}"
    boundary = f"arn:{partition}:iam::{account}:policy/{start}-boundary"
    if not _is_there(partial(iam.get_policy, PolicyArn=boundary)):
        yield f"{start}-boundary"


def _is_there(question: Callable[[], Any]) -> bool:
    try:
        question()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return False
        raise
    return True
