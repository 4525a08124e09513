"""The database token made here is the one that botocore makes."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import parse_qsl

import botocore.auth
import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.adapters.rds_token import AwsCredentials, token
from batch_core.errors import ConfigurationError

NOW = datetime(2026, 1, 31, 9, 5, 7, tzinfo=UTC)
HOST = "proxy.proxy-abc.eu-west-1.rds.amazonaws.com"


def botocores(*, host: str, port: int, user: str, region: str, keys: AwsCredentials) -> str:
    session = botocore.session.Session()
    client = session.create_client(
        "rds",
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
    )
    # The signer in Python, whose clock can be stopped, even where AWS's native one is installed.
    python = {"v4-query": botocore.auth.SigV4QueryAuth}
    with (
        patch.dict(botocore.auth.AUTH_TYPE_MAPS, python),
        patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)),
    ):
        made: str = client.generate_db_auth_token(  # type: ignore[attr-defined]
            DBHostname=host, Port=port, DBUsername=user
        )
        return made


def parts(made: str) -> tuple[str, list[tuple[str, str]]]:
    """The endpoint, and the parameters, whose order means nothing."""
    endpoint, query = made.split("?")
    return endpoint, sorted(parse_qsl(query, strict_parsing=True))


@pytest.mark.parametrize(
    ("user", "keys"),
    [
        ("batch", AwsCredentials("AKIAEXAMPLE", "secret/with+signs", "")),
        ("batch", AwsCredentials("ASIAEXAMPLE", "secret", "session/token+with=signs==")),
        ("a user@tenant~b", AwsCredentials("ASIAEXAMPLE", "secret", "t" * 900)),
    ],
)
def test_the_token_is_that_of_botocore(user: str, keys: AwsCredentials) -> None:
    ours = token(host=HOST, port=3306, user=user, region="eu-west-1", credentials=keys, now=NOW)

    theirs = botocores(host=HOST, port=3306, user=user, region="eu-west-1", keys=keys)
    assert parts(ours) == parts(theirs)


@given(user=st.text(min_size=1, alphabet=st.characters(codec="utf-8", exclude_characters="\0")))
def test_whatever_the_users_name_the_token_has_no_space_or_second_question_mark(user: str) -> None:
    made = token(
        host=HOST,
        port=3306,
        user=user,
        region="eu-west-1",
        credentials=AwsCredentials("A", "S", ""),
        now=NOW,
    )

    assert made.startswith(f"{HOST}:3306/?Action=connect&DBUser=")
    assert made.isascii()
    assert " " not in made
    assert made.count("?") == 1


def test_an_environment_without_credentials_is_named() -> None:
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY"):
        AwsCredentials.from_env({"AWS_ACCESS_KEY_ID": "A"})
