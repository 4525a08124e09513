"""What each function reads from its environment, typed, on first use.

One frozen dataclass per function, in a module of its own, since to make one takes longer than to
load one; a field is the variable of the same name in capitals. The template sets every one of
them, so there are no defaults here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, get_type_hints

from batch_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Settings:
    """The base: knows how to read itself."""

    tenant_id: str

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read every field from the environment.

        Raises
        ------
        ConfigurationError
            Naming the variable that is missing or cannot be read.
        """
        source = os.environ if env is None else env
        types = get_type_hints(cls)
        values: dict[str, Any] = {
            f.name: _read(source, f.name.upper(), types[f.name]) for f in fields(cls)
        }
        return cls(**values)


def _read(env: Mapping[str, str], name: str, kind: type) -> str | int | float | bool:
    text = env.get(name)
    if text is None:
        raise ConfigurationError(
            f"the environment variable {name} is not set; the template sets it"
        )
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        value: str | int | float = kind(text)
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            f"the environment variable {name} is {text!r}, not {_WORDS[kind]}"
        ) from error
    return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class DatabaseSettings(Settings):
    """How to reach the tenant's database.

    An empty `database_secret_arn` means IAM authentication; an empty `database_ca_file` means the
    Amazon root certificates shipped with the layer, which is what RDS Proxy presents.
    """

    aws_region: str
    database_endpoint: str
    database_port: int
    database_name: str
    database_user: str
    database_secret_arn: str
    database_ca_file: str
