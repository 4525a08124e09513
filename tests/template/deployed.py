"""The template as CloudFormation would deploy it, with what only AWS knows in brackets."""

from __future__ import annotations

from tests.template.rendered import REQUIRED, Stack
from tests.template.translation import Json, of_type, translated


class Deployed(Stack):
    """A stack with these parameters beside those that every stack needs."""

    def __init__(self, **parameters: str) -> None:
        super().__init__(translated(), REQUIRED | parameters)
        self._made = {"Resources": self.resources()}

    def of_type(self, kind: str) -> dict[str, Json]:
        """The properties of the resources of one type, by logical id."""
        return {name: made["Properties"] for name, made in of_type(self._made, kind).items()}

    def _resource(self, name: str, attribute: str = "") -> str:
        if attribute.endswith("Arn"):  # of which functions take parts
            return super()._resource(name, attribute)
        return f"<{name}.{attribute}>" if attribute else f"<{name}>"
