"""The password of IAM database authentication: a presigned URL, made here without botocore.

Signing is local arithmetic; importing botocore for it would double the writer's cold start.
https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from batch_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# A token opens connections for 15 minutes; one that is open stays open.
TOKEN_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """The execution role's credentials, as Lambda puts them into the environment."""

    access_key_id: str
    secret_access_key: str
    session_token: str

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read them.

        Raises
        ------
        ConfigurationError
            When there are none.
        """
        source = os.environ if env is None else env
        try:
            return cls(
                access_key_id=source["AWS_ACCESS_KEY_ID"],
                secret_access_key=source["AWS_SECRET_ACCESS_KEY"],
                session_token=source.get("AWS_SESSION_TOKEN", ""),
            )
        except KeyError as error:
            raise ConfigurationError(
                f"the environment variable {error.args[0]} is not set; Lambda sets it from the "
                "execution role, and IAM database authentication needs it"
            ) from error


def token(
    *,
    host: str,
    port: int,
    user: str,
    region: str,
    credentials: AwsCredentials,
    now: datetime,
) -> str:
    """Make the password for `user` at a database endpoint.

    Parameters
    ----------
    host, port
        The endpoint that is connected to; the token works for no other.
    now
        The time, in UTC.

    Returns
    -------
    The token, valid for 15 minutes, as boto3's `generate_db_auth_token` makes it.
    """
    day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{day}/{region}/rds-db/aws4_request"
    query = {
        "Action": "connect",
        "DBUser": user,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(TOKEN_SECONDS),
    }
    if credentials.session_token:
        query["X-Amz-Security-Token"] = credentials.session_token
    query["X-Amz-SignedHeaders"] = "host"
    # SigV4 wants the parameters sorted by name; they are.
    parameters = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items())
    empty = sha256(b"").hexdigest()
    canonical = f"GET\n/\n{parameters}\nhost:{host}:{port}\n\nhost\n{empty}"
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, region, "rds-db", "aws4_request"):
        key = _sign(key, part)
    return f"{host}:{port}/?{parameters}&X-Amz-Signature={_sign(key, to_sign).hex()}"


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), sha256).digest()
