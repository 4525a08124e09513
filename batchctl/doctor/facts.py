"""What is known of a tenant's surroundings. Nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batch_core.ports import ServerFacts


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be found out, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Who was asked said no; the text says why."""

    why: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant is, or is to be.

    Parameters
    ----------
    parameters
        Of the template, with its defaults.
    wave
        How many tenants a stage verifies side by side at most; None where no tenants are listed.
    """

    tenant: str
    stack: str
    region: str
    parameters: Mapping[str, str]
    wave: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What an account grants, and the code by which more is asked for."""

    value: int
    code: str


@dataclass(frozen=True, slots=True)
class Builds:
    """How many builds of CodeBuild an account runs at once, by size of the machine."""

    small: Quota
    medium: Quota


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that could be read; its text is not among the facts.

    Parameters
    ----------
    fault
        What is wrong with its shape, in words; empty when it is right.
    user
        The user name in it, of one that logs in to a database.
    """

    fault: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What the API's base URL answered; `secret` tells whether the tenant's was sent along."""

    status: int
    secret: bool


@dataclass(frozen=True, slots=True)
class Network:
    """The ways out of the subnets of the functions that use the database.

    Parameters
    ----------
    vpc
        Its id.
    without_s3
        Route tables of these subnets that lead to S3 neither by a gateway endpoint nor otherwise.
    without_internet
        Route tables that lead to no NAT, nor to anything else outside.
    secrets_endpoint
        Whether the VPC has an interface endpoint of Secrets Manager.
    """

    vpc: str
    without_s3: Sequence[str]
    without_internet: Sequence[str]
    secrets_endpoint: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is judged.

    Parameters
    ----------
    concurrency
        Environments of Lambda that the account runs at once.
    secrets
        By the parameter that names them.
    network
        None where the functions are in no VPC.
    missing_roles
        Those of access.yaml that are not there.
    listed
        How many users the tenant's last runs listed, the most of any.
    """

    place: Place
    concurrency: int | Unknown
    builds: Builds | Unknown
    database: ServerFacts | Refused | Unknown
    secrets: Mapping[str, Secret | Unknown]
    api: ApiAnswer | Refused
    network: Network | Unknown | None
    missing_roles: Sequence[str] | Unknown
    listed: int = 0
