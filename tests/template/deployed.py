"""The template as CloudFormation would deploy it: conditions decided, functions worked out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tests.template.translation import Json, translated

# A stack of the canary, in an account that is an example.
PSEUDO: Final = {
    "AWS::StackName": "batch-acme",
    "AWS::Region": "ap-northeast-1",
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
_NOTHING: Final = object()


class Deployed:
    """The resources of a stack with these parameters; what only AWS knows stands in brackets."""

    def __init__(self, **parameters: str) -> None:
        template = translated()
        defaults = {
            name: str(each.get("Default", "")) for name, each in template["Parameters"].items()
        }
        self._values = {**defaults, "TenantId": "acme", **PSEUDO, **parameters}
        self._conditions = template["Conditions"]
        self.resources: dict[str, Json] = {
            name: self._solved(resource)
            for name, resource in template["Resources"].items()
            if self._holds(resource.get("Condition"))
        }

    def of_type(self, kind: str) -> dict[str, Json]:
        """The properties of the resources of one type, by logical id."""
        return {
            name: resource["Properties"]
            for name, resource in self.resources.items()
            if resource["Type"] == f"AWS::{kind}"
        }

    def _holds(self, condition: str | None) -> bool:
        return condition is None or bool(self._decided(self._conditions[condition]))

    def _decided(self, expression: Any) -> Any:
        match expression:
            case {"Condition": str(name)}:
                return self._holds(name)
            case {"Fn::Equals": [one, other]}:
                return self._solved(one) == self._solved(other)
            case {"Fn::Not": [one]}:
                return not self._decided(one)
            case {"Fn::And": [*parts]}:
                return all(self._decided(part) for part in parts)
            case {"Fn::Or": [*parts]}:
                return any(self._decided(part) for part in parts)
        raise ValueError(f"not a condition: {expression}")

    def _solved(self, value: Any) -> Any:
        solved = value
        match value:
            case {"Ref": "AWS::NoValue"}:
                solved = _NOTHING
            case {"Ref": str(name)}:
                solved = self._values.get(name, f"<{name}>")
            case {"Fn::GetAtt": [name, attribute]}:
                solved = f"<{name}.{attribute}>"
            case {"Fn::If": [condition, yes, no]}:
                solved = self._solved(yes if self._holds(condition) else no)
            case {"Fn::Sub": str(text)}:
                solved = self._filled(text, {})
            case {"Fn::Sub": [str(text), names]}:
                solved = self._filled(text, names)
            case {"Fn::Join": [str(between), [*parts]]}:
                solved = between.join(map(self._solved, parts))
            case dict():
                whole = {key: self._solved(each) for key, each in value.items()}
                solved = {key: each for key, each in whole.items() if each is not _NOTHING}
            case list():
                solved = [each for each in map(self._solved, value) if each is not _NOTHING]
        return solved

    def _filled(self, text: str, names: Mapping[str, Any]) -> str:
        def word(found: re.Match[str]) -> str:
            name = found[1]
            if name in names:
                return str(self._solved(names[name]))
            return self._values.get(name, f"<{name}>")

        return re.sub(r"\$\{([\w:.]+)\}", word, text)
