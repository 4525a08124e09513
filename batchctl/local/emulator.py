"""What MiniStack does otherwise than AWS, put right from outside: the one place for such repairs.

Nothing here is needed on AWS, and nothing that runs on AWS knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batchctl.stacks import Stack


def without_what_it_lacks(template: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a template what MiniStack refuses to make, and the stack with it.

    It knows no saved query, no alarm that combines others, and none that calculates, as nearly all
    of ours do.
    """

    def is_made(resource: Mapping[str, Any]) -> bool:
        match resource:
            case {"Type": "AWS::CloudWatch::CompositeAlarm" | "AWS::Logs::QueryDefinition"}:
                return False
            case {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": _}}:
                return False
        return True

    made = {name: each for name, each in template["Resources"].items() if is_made(each)}
    return {**template, "Resources": made}


def mend(client: Callable[[str], Any], stack: Stack) -> None:
    """Repair what a deployment left wrong.

    An update of a stack keeps the batch size of an event source mapping as text, on which the
    mapping's poller fails for ever; the service's own API makes it a number again.
    """
    stream = stack.outputs.get("StreamName")
    if stream is None:
        return
    arn = client("kinesis").describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"][
        "StreamARN"
    ]
    functions = client("lambda")
    for mapping in functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]:
        functions.update_event_source_mapping(
            UUID=mapping["UUID"], BatchSize=int(stack.parameters["WriteBatchSize"])
        )
