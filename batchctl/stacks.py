"""A deployed tenant, on the local cloud or on AWS, as its outputs describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from batchctl.errors import BatchctlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import boto3

_LOG_GROUP: Final = "LogGroup"


@dataclass(frozen=True)
class Stack:
    """What a command needs to know of one tenant's stack."""

    name: str
    status: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @property
    def tenant(self) -> str:
        return self.parameters["TenantId"]

    @property
    def is_complete(self) -> bool:
        """Whether it was ever deployed: one that was rolled back at first has nothing in it."""
        return "MigrateFunctionName" in self.outputs

    @property
    def state_machine_arn(self) -> str:
        return self._output("StateMachineArn")

    @property
    def stream_name(self) -> str:
        return self._output("StreamName")

    @property
    def payload_bucket(self) -> str:
        return self._output("PayloadBucketName")

    @property
    def migrate_function(self) -> str:
        return self._output("MigrateFunctionName")

    @property
    def log_groups(self) -> dict[str, str]:
        """The functions' log groups by what the function is called: `CallApi`, `WriteRows`, ..."""
        return {
            name.removesuffix(_LOG_GROUP): group
            for name, group in sorted(self.outputs.items())
            if name.endswith(_LOG_GROUP)
        }

    def _output(self, name: str) -> str:
        try:
            return self.outputs[name]
        except KeyError:
            raise BatchctlError(
                f"Stack {self.name} has no output {name}: it is not a stack of this template, or "
                f"it is not deployed completely (its status is {self.status})."
            ) from None


def find_stack(session: boto3.Session, name: str, **client_options: Any) -> Stack | None:
    """Return the stack of that name, or None when there is none.

    Raises BatchctlError when the account cannot be asked.
    """
    try:
        client = session.client("cloudformation", **client_options)
        found = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in error.response.get("Error", {}).get("Message", ""):
            return None
        raise BatchctlError(f"Stack {name} cannot be looked up: {error}") from error
    except BotoCoreError as error:
        raise BatchctlError(f"Stack {name} cannot be looked up: {error}") from error
    return Stack(
        found["StackName"],
        found["StackStatus"],
        {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", [])},
        {item["ParameterKey"]: item["ParameterValue"] for item in found.get("Parameters", [])},
    )
