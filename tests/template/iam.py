"""What IAM says to a call, from the statements of a role's policies; and what an action is about,
from the list of actions that comes with parliament, in the gates' own environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.template.translation import ROOT, Json


@dataclass(frozen=True)
class Call:
    """One call of an API, as IAM sees it.

    Attributes
    ----------
    action
        `service:Action`.
    resource
        The ARN that it is about; `*` where the action knows no resources.
    context
        What AWS tells of the call besides, by condition key.
    """

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def as_list(value: Any) -> list[Any]:
    """What a policy may write as one value or as a list."""
    return value if isinstance(value, list) else [value]


def allowed(statements: Iterable[Json], call: Call) -> bool:
    """Whether policies allow a call: one statement does, and none denies it."""
    effects = {each["Effect"] for each in statements if applies(each, call)}
    return effects == {"Allow"}


def applies(statement: Json, call: Call) -> bool:
    """Whether a statement is about a call. Raises ValueError for a condition that is not known."""
    return (
        any(matches(form, call.action, re.IGNORECASE) for form in as_list(statement["Action"]))
        and any(matches(form, call.resource) for form in as_list(statement["Resource"]))
        and all(
            _holds(operator, key, as_list(values), call.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def matches(form: str, text: str, flags: re.RegexFlag = re.NOFLAG) -> bool:
    """Whether a text is of a form with `*` for anything and `?` for one character.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
    """
    return _pattern(form, flags).fullmatch(text) is not None


@cache
def _pattern(form: str, flags: re.RegexFlag) -> re.Pattern[str]:
    written = re.escape(form).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(written, flags | re.DOTALL)


def _holds(operator: str, key: str, values: Sequence[str], context: Mapping[str, str]) -> bool:
    plain = operator.removesuffix("IfExists")
    if key not in context:
        return plain != operator
    if plain in ("StringEquals", "ArnEquals"):
        return context[key] in values
    if plain in ("StringLike", "ArnLike"):
        return any(matches(form, context[key]) for form in values)
    raise ValueError(f"a condition may not use {operator}")


@dataclass(frozen=True)
class Resource:
    """A kind of resource that an action is about.

    Attributes
    ----------
    form
        Of its ARN, with `*` for what differs.
    required
        Whether every call is about one of this kind, and not perhaps about another.
    """

    form: str
    required: bool


def resources(action: str) -> Sequence[Resource] | None:
    """The kinds of resources that an action can be given on; none when it is on `*` or nothing.

    None for an action that is not known, a new one say.
    """
    return _actions().get(action.lower())


@cache
def _actions() -> Mapping[str, Sequence[Resource]]:
    (file,) = ROOT.glob(
        ".local/gates-venv/lib/python*/site-packages/parliament/iam_definition.json"
    )
    found: dict[str, list[Resource]] = {}
    for service in json.loads(file.read_text()):
        forms = {
            each["resource"]: re.sub(r"\$\{\w+\}", "*", each["arn"])
            for each in service["resources"]
        }
        for each in service["privileges"]:
            kinds = (kind["resource_type"] for kind in each["resource_types"])
            found[f"{service['prefix']}:{each['privilege']}".lower()] = [
                Resource(forms[kind.rstrip("*")], kind.endswith("*"))
                for kind in kinds
                if kind.rstrip("*") in forms
            ]
    return found
