"""What the template's parameters take, read from the template itself."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from samtranslator.yaml_helper import yaml_parse

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DIGEST: Final = "ParametersDigest"
_BOUNDS: Final = ("MinValue", "MaxValue")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a template and its rules about combinations of them."""

    declared: Mapping[str, Mapping[str, Any]]
    rules: Sequence[Mapping[str, Any]]

    def refusal(self, name: str, value: str) -> str | None:
        """Say why the template would refuse a value, and which one to give; None when it would not.

        Numbers whose bounds are whole must be whole: they become counts, minutes and megabytes.
        """
        if name not in self.declared:
            near = difflib.get_close_matches(name, self.declared, n=1)
            hint = (
                f"Did you mean {near[0]}?" if near else "docs/parameters.md lists those there are"
            )
            return f"the template has no such parameter. {hint}"
        parameter = self.declared[name]
        if "AllowedValues" in parameter:
            allowed = [text(each) for each in parameter["AllowedValues"]]
            return (
                None
                if value in allowed
                else f"{value} is none of its values. Give one of {', '.join(allowed)}"
            )
        if parameter["Type"] == "Number":
            return _number_refusal(parameter, value)
        if re.search(parameter.get("AllowedPattern", ""), value) is None:
            wanted = parameter.get("ConstraintDescription") or parameter["AllowedPattern"]
            return f"{value or 'nothing'} is not of its form. Give this: {_lower(wanted)}"
        return None

    @property
    def defaults(self) -> dict[str, str]:
        """What each parameter is when it is not given; empty for one that must be."""
        return {name: text(each.get("Default", "")) for name, each in self.declared.items()}

    def missing(self, given: Mapping[str, str]) -> list[str]:
        """Name the parameters without a default that are not given."""
        return [
            name
            for name, parameter in self.declared.items()
            if "Default" not in parameter and name not in given
        ]

    def broken_rules(self, given: Mapping[str, str]) -> list[str]:
        """Return what CloudFormation would say to a combination, by the template's rules."""
        values = {**self.defaults, **given}
        return [
            assertion["AssertDescription"]
            for rule in self.rules
            if _evaluate(rule.get("RuleCondition", True), values)
            for assertion in rule["Assertions"]
            if not _evaluate(assertion["Assert"], values)
        ]


def read_parameters(template: Path) -> Parameters:
    """Read the parameters of a template. Raises BatchctlError when there is none."""
    try:
        written = _parsed(template.read_text(encoding="utf-8"))
    except OSError as error:
        raise BatchctlError(f"{template} cannot be read: {error.strerror}.") from error
    return Parameters(written["Parameters"], list(written.get("Rules", {}).values()))


def digest(parameters: Mapping[str, str]) -> str:
    """Return the value of ParametersDigest for these values of the other parameters."""
    return hashlib.sha256(json.dumps(dict(parameters), sort_keys=True).encode()).hexdigest()[:12]


def of_a_deployment(parameters: Mapping[str, str], word: str) -> dict[str, str]:
    """Return the parameters for one deployment, whose word no other deployment has.

    A version that an undone deployment has published stays, and Lambda publishes none that is like
    the last one: with the same digest the same code could not be deployed again.
    """
    told = {name: value for name, value in parameters.items() if name != DIGEST}
    return {**parameters, DIGEST: digest({**told, "deployment": word})}


@cache
def _parsed(template: str) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = yaml_parse(template)  # a third of a second
    return parsed


def text(value: Any) -> str:
    """Write a value as CloudFormation does, to which every parameter is text."""
    return value if isinstance(value, str) else json.dumps(value)  # true, not Python's True


def _number_refusal(parameter: Mapping[str, Any], value: str) -> str | None:
    low, high = (parameter[bound] for bound in _BOUNDS)
    whole = all(isinstance(bound, int) for bound in (low, high))
    wanted = f"Give a {'whole ' if whole else ''}number from {low} to {high}"
    form = r"-?\d+" if whole else r"-?\d+(\.\d+)?"
    if re.fullmatch(form, value) is None:
        return f"{value or 'nothing'} is not such a number. {wanted}"
    return None if low <= float(value) <= high else f"{value} is out of bounds. {wanted}"


def _lower(sentence: str) -> str:
    acronym = sentence[1:2].isupper()
    return (sentence if acronym else sentence[:1].lower() + sentence[1:]).rstrip(".")


def _evaluate(expression: Any, values: Mapping[str, str]) -> Any:
    """Work out one of the few functions that rules may use."""
    match expression:
        case {"Ref": str(name)}:
            return values[name]
        case {"Fn::Equals": [one, other]}:
            return _evaluate(one, values) == _evaluate(other, values)
        case {"Fn::Not": [one]}:
            return not _evaluate(one, values)
        case {"Fn::And": [*all_of]}:
            return all(_evaluate(one, values) for one in all_of)
        case {"Fn::Or": [*any_of]}:
            return any(_evaluate(one, values) for one in any_of)
        case bool() | str():
            return expression
    raise ValueError(f"a rule may not use {expression}")
