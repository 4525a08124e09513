"""Judges the facts: for each of them what was found, what is needed, and what mends it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import Final

from batch_core.adapters.mysql_connection import STRICT_MODES
from batch_core.limits import MAP_CONCURRENCY_QUOTA
from batch_core.ports import ServerFacts
from batchctl.doctor.facts import Builds, Facts, Place, Refused, Unknown

# What Lambda keeps for the functions that reserve nothing.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVED_MINIMUM: Final = 100
# Of Write Rows, as template.yaml says.
WRITERS_PER_SHARD: Final = 2
# "Concurrent executions".
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CONCURRENCY_CODE: Final = "L-B99A9384"
# What the machinery and the documented schema files do.
RIGHTS: Final = ("ALTER", "CREATE", "DELETE", "INDEX", "INSERT", "REFERENCES", "SELECT", "UPDATE")
OLDEST_MYSQL: Final = (8, 0)
OLDEST_MARIADB: Final = (10, 6)


class Status(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"  # it works, but worse, or for others only
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the account.

    Parameters
    ----------
    about
        What was looked at; those of one kind have one name.
    remedy
        The command that mends it; words in capitals in it are the reader's to fill in. Empty when
        there is nothing to mend.
    """

    about: str
    status: Status
    found: str
    needed: str
    remedy: str = ""


DATABASE: Final = "database"


def findings(facts: Facts) -> list[Finding]:
    """Judge all facts, in the order in which a person would mend them."""
    return [
        *_concurrency(facts),
        *_builds(facts),
        *_network(facts),
        *_secrets(facts),
        *_database(facts),
        *_api(facts),
        *_roles(facts),
    ]


def _judged(about: str, good: bool, found: str, needed: str, remedy: str) -> Finding:
    status = Status.OK if good else Status.BAD
    return Finding(about, status, found, needed, "" if good else remedy)


def environments_needed(place: Place) -> int:
    """How many environments of Lambda a run takes at once, with what must stay unreserved."""
    given = place.parameters
    groups = int(given["ChunkConcurrency"]) * int(given["GroupConcurrency"])
    others = _beside_groups(place)
    reserved = 2 * int(given["ReservedConcurrency"])  # Call API's, and as many of Process Users
    return reserved + max(UNRESERVED_MINIMUM, others) if reserved else groups + others


def _beside_groups(place: Place) -> int:
    """The writers, and List Users or Finish Run."""
    return int(place.parameters["StreamShards"]) * WRITERS_PER_SHARD + 1


def _concurrency(facts: Facts) -> Iterator[Finding]:
    about, place = "lambda concurrency", facts.place
    needed = environments_needed(place)
    why = f"{needed} environments at once, of ChunkConcurrency x GroupConcurrency and the writers"
    if isinstance(facts.concurrency, Unknown):
        yield Finding(about, Status.UNKNOWN, facts.concurrency.why, why)
        return
    enough, found = facts.concurrency >= needed, f"{facts.concurrency}"
    groups = min(facts.concurrency - _beside_groups(place), MAP_CONCURRENCY_QUOTA)
    if not enough and groups > 0:
        found += f", enough for ChunkConcurrency 1 and GroupConcurrency {groups}, reserving nothing"
    more = _raise_quota("lambda", CONCURRENCY_CODE, needed, place.region)
    yield _judged(about, enough, found, why, more)


def _builds(facts: Facts) -> Iterator[Finding]:
    about, wave = "codebuild builds at once", facts.place.wave
    if wave is None:
        return
    why = f"{wave} small ones, to verify a whole stage at once, and 1 medium one (pipeline only)"
    match facts.builds:
        case Unknown(why=reason):
            yield Finding(about, Status.UNKNOWN, reason, why)
        case Builds(small=small, medium=medium):
            lacking = [
                (quota, wanted)
                for quota, wanted in ((small, wave), (medium, 1))
                if quota.value < wanted
            ]
            found = f"{small.value} small, {medium.value} medium"
            remedies = [
                _raise_quota("codebuild", quota.code, wanted, facts.place.region)
                for quota, wanted in lacking
            ]
            status = Status.NOTE if lacking else Status.OK
            yield Finding(about, status, found, why, "\n".join(remedies))


def _raise_quota(service: str, code: str, value: int, region: str) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service}"
        f" --quota-code {code} --desired-value {value} --region {region}"
    )


def _network(facts: Facts) -> Iterator[Finding]:
    place, network = facts.place, facts.network
    if network is None:
        return
    needed = "a gateway endpoint of S3 in every subnet's route table"
    if isinstance(network, Unknown):
        yield Finding("route to S3", Status.UNKNOWN, network.why, needed)
        return
    endpoint = f"aws ec2 create-vpc-endpoint --region {place.region} --vpc-id {network.vpc}"
    yield _judged(
        "route to S3",
        not network.without_s3,
        f"missing in {', '.join(network.without_s3)}" if network.without_s3 else "there",
        needed,
        f"{endpoint} --service-name com.amazonaws.{place.region}.s3"
        f" --route-table-ids {' '.join(network.without_s3)}",
    )
    if not place.parameters["DatabaseSecretArn"]:
        return  # a login with IAM asks nobody outside
    yield _judged(
        "route to Secrets Manager",
        network.secrets_endpoint or not network.without_internet,
        f"no way out of {', '.join(network.without_internet)}, and no endpoint"
        if network.without_internet and not network.secrets_endpoint
        else "there",
        "an interface endpoint of Secrets Manager, or a NAT, for the password of the database",
        f"{endpoint} --vpc-endpoint-type Interface --private-dns-enabled"
        f" --service-name com.amazonaws.{place.region}.secretsmanager"
        f" --subnet-ids {place.parameters['SubnetIds'].replace(',', ' ')}"
        f" --security-group-ids {place.parameters['SecurityGroupIds'].replace(',', ' ')}",
    )


def _secrets(facts: Facts) -> Iterator[Finding]:
    user = facts.place.parameters["DatabaseUser"]
    for parameter, secret in facts.secrets.items():
        of_database = parameter != "ApiSecretArn"
        needed = (
            f'JSON with the texts "username", {user}, and "password"'
            if of_database
            else "one line of visible ASCII characters"
        )
        if isinstance(secret, Unknown):
            yield Finding(parameter, Status.UNKNOWN, secret.why, needed)
            continue
        fault = secret.fault
        if of_database and not fault and secret.user != user:
            fault = f"its username is {secret.user}"
        text = f'{{"username": "{user}", "password": "PASSWORD"}}' if of_database else "TOKEN"
        yield _judged(
            parameter,
            not fault,
            fault or "of the right shape",
            needed,
            f"aws secretsmanager put-secret-value --region {facts.place.region}"
            f" --secret-id {facts.place.parameters[parameter]} --secret-string {quote(text)}",
        )


# --- the database ---------------------------------------------------------------------------------


def _database(facts: Facts) -> Iterator[Finding]:
    place, found = facts.place, facts.database
    match found:
        case Unknown(why=why):
            yield Finding(DATABASE, Status.UNKNOWN, why, "one that lets the tenant's user in")
        case Refused(why=why):
            yield Finding(
                DATABASE, Status.BAD, why, "one that lets the tenant's user in, and is strict",
                _mend_refusal(why, place),
            )  # fmt: skip
        case ServerFacts():
            yield from _server(found, place)


def _mend_refusal(why: str, place: Place) -> str:
    if "sql_mode" in why:
        return (
            f"aws rds modify-db-cluster-parameter-group --region {place.region}"
            " --db-cluster-parameter-group-name GROUP --parameters"
            " ParameterName=sql_mode,ParameterValue=STRICT_TRANS_TABLES,ApplyMethod=immediate"
        )
    return f"aws logs tail /aws/lambda/{place.stack}/migrate --region {place.region} --since 10m"


def _server(found: ServerFacts, place: Place) -> Iterator[Finding]:
    name = place.parameters["DatabaseName"]
    mariadb = "mariadb" in found.version.lower()
    oldest = OLDEST_MARIADB if mariadb else OLDEST_MYSQL
    numbers = tuple(int(each) for each in re.findall(r"\d+", found.version)[:2])
    yield _judged(
        DATABASE,
        numbers >= oldest,
        f"version {found.version}",
        f"{'MariaDB' if mariadb else 'MySQL'} {'.'.join(map(str, oldest))} or newer",
        f"aws rds modify-db-cluster --region {place.region} --db-cluster-identifier CLUSTER"
        " --engine-version VERSION --allow-major-version-upgrade --apply-immediately",
    )
    yield _judged(
        DATABASE,
        bool(STRICT_MODES & set(found.sql_mode.split(","))),
        f"sql_mode {found.sql_mode or 'empty'}",
        " or ".join(sorted(STRICT_MODES, reverse=True)),
        _mend_refusal("sql_mode", place),
    )
    yield _judged(
        DATABASE,
        found.character_set == "utf8mb4",
        f"character set {found.character_set}, collation {found.collation}",
        "utf8mb4, which alone holds every character",
        _administer(f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4", place),
    )
    yield _rights(found, place)


def _rights(found: ServerFacts, place: Place) -> Finding:
    name, user = place.parameters["DatabaseName"], place.parameters["DatabaseUser"]
    needed = f"of {user} in the schema {name}: {', '.join(RIGHTS)}"
    missing = [right for right in RIGHTS if right not in found.rights]
    if missing and found.role:
        why = f"rights by the role {found.role}, which is not looked into"
        return Finding(DATABASE, Status.UNKNOWN, why, needed)
    # The _ of a schema's name is a wildcard here.
    escaped = name.replace("_", r"\_")
    return _judged(
        DATABASE,
        not missing,
        f"{user} may not {', '.join(missing)}" if missing else f"rights of {user}",
        needed,
        _administer(f"GRANT ALL ON `{escaped}`.* TO {user}", place),
    )


def _administer(statement: str, place: Place) -> str:
    return (
        f"aws rds-data execute-statement --region {place.region} --resource-arn DATABASE_ARN"
        f" --secret-arn ADMINISTRATOR_SECRET_ARN --sql {quote(statement)}"
    )


# --- the API, and the pipeline --------------------------------------------------------------------


def _api(facts: Facts) -> Iterator[Finding]:
    url, place = facts.place.parameters["ApiBaseUrl"], facts.place
    about, needed = "api", f"an answer from {url}"
    look = f"curl --silent --show-error --include --max-time 10 {quote(url)}"
    match facts.api:
        case Refused(why=why):
            yield Finding(about, Status.BAD, why, needed, look)
        case answer if answer.status == 401 and answer.secret:
            yield Finding(
                about, Status.BAD, "status 401 with the tenant's secret", "a secret that it takes",
                f"aws secretsmanager put-secret-value --region {place.region}"
                f" --secret-id {place.parameters['ApiSecretArn']} --secret-string TOKEN",
            )  # fmt: skip
        case answer if answer.status in (401, 403):
            with_it = "with" if answer.secret else "without"
            found = f"status {answer.status} {with_it} the tenant's secret; it is there"
            yield Finding(about, Status.NOTE, found, "credentials that it takes, which a run tells")
        case answer if answer.status >= 500:
            yield Finding(about, Status.NOTE, f"status {answer.status}", needed, look)
        case answer:
            yield Finding(about, Status.OK, f"status {answer.status}; it is there", needed)


def _roles(facts: Facts) -> Iterator[Finding]:
    place = facts.place
    about, needed = "roles of the pipeline", "what access.yaml makes (pipeline only)"
    missing = facts.missing_roles
    if isinstance(missing, Unknown):
        yield Finding(about, Status.UNKNOWN, missing.why, needed)
        return
    found = f"no {', '.join(missing)}" if missing else "there"
    remedy = (
        f"aws cloudformation deploy --region {place.region} --stack-name access-{place.tenant}"
        " --template-file access.yaml --capabilities CAPABILITY_NAMED_IAM --parameter-overrides"
        f" TenantId={place.tenant} DatabaseUser={place.parameters['DatabaseUser']}"
        " PipelineAccount=ACCOUNT ArtifactsArn=ARN ArtifactKeyArn=ARN"
    )
    status = Status.NOTE if missing else Status.OK
    yield Finding(about, status, found, needed, remedy if missing else "")
