"""Which metrics there are: those of AWS that are used here, and those that the project publishes.

A name or a dimension that is wrong by a letter is no error anywhere: it shows nothing, for ever.
"""

from __future__ import annotations

from batch_core.observability import METRICS_NAMESPACE
from tests.template.alarms import EVERYTHING
from tests.template.cloudwatch import metric_of
from tests.template.runs import published
from tests.template.translation import Json

LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"
STATES = "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html"
SCHEDULER = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html"
KINESIS = "https://docs.aws.amazon.com/streams/latest/dev/monitoring-with-cloudwatch.html"
SQS = (
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"
    "sqs-available-cloudwatch-metrics.html"
)
PROXY = "https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/rds-proxy.monitoring.html"

# Namespace and dimension: what AWS documents, and where.
DOCUMENTED = {
    ("AWS/States", "StateMachineArn"): (
        "ExecutionsStarted ExecutionsSucceeded ExecutionsFailed ExecutionsTimedOut ExecutionTime",
        STATES,
    ),
    ("AWS/Scheduler", "ScheduleGroup"): ("InvocationDroppedCount", SCHEDULER),
    ("AWS/Lambda", "FunctionName"): (
        "Errors Throttles Duration ConcurrentExecutions IteratorAge DestinationDeliveryFailures",
        LAMBDA,
    ),
    # With MetricsConfig of the mapping only.
    ("AWS/Lambda", "EventSourceMappingUUID"): (
        "DroppedEventCount OnFailureDestinationDeliveredEventCount",
        LAMBDA,
    ),
    ("AWS/Kinesis", "StreamName"): (
        "IncomingRecords PutRecords.ThrottledRecords WriteProvisionedThroughputExceeded",
        KINESIS,
    ),
    ("AWS/SQS", "QueueName"): ("ApproximateNumberOfMessagesVisible", SQS),
    ("AWS/RDS", "ProxyName"): (
        """ClientConnections DatabaseConnectionsBorrowLatency DatabaseConnectionsCurrentlyBorrowed
        DatabaseConnectionsCurrentlySessionPinned""",
        PROXY,
    ),
}
# What the dimension's value has to be: the resource itself.
VALUES = {
    "StateMachineArn": {"<BatchMachine>"},
    "ScheduleGroup": {"<ScheduleGroup>"},
    "FunctionName": {f"<{n}Function>" for n in ("ListUsers", "CallApi", "ProcessUsers")}
    | {"<WriteRowsFunction>", "<FinishRunFunction>"},
    "EventSourceMappingUUID": {"<WriteRowsFunctionRows>"},
    "StreamName": {"<RowStream>"},
    "QueueName": {"<ScheduleDeadLetterQueue.QueueName>"},
    "ProxyName": {"<DatabaseProxy>"},
}


def is_published(named: Json) -> bool:
    """Whether anybody publishes the metric: AWS, Finish Run or a metric filter."""
    namespace, name, dimensions = metric_of(named)
    if namespace == METRICS_NAMESPACE:
        return (namespace, name, dimensions) in published(EVERYTHING)
    ((dimension, value),) = dimensions
    names, _ = DOCUMENTED.get((namespace, dimension), ("", ""))
    return name in names.split() and value in VALUES[dimension]
