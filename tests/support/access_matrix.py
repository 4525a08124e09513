"""Every role of one tenant, tried on everything of another, by calls under the role's own session.

A probe is one action on one thing, called in a way that changes nothing worth keeping even where it
is allowed. Only a refusal for want of a permission counts as one: whatever else a call says, it got
past the permissions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

from batchctl.local.cloud import LocalCloud
from tests.template.test_permissions import ALLOWED, SHARED

# Of every stack on the local cloud, where there is no proxy.
ROLES: Final = (
    "ListUsersRole",
    "CallApiRole",
    "ProcessUsersRole",
    "WriteRowsRole",
    "FinishRunRole",
    "MigrateRole",
    "BatchMachineRole",
    "ScheduleRole",
)
# What the table of permissions knows and no call here can try: the local cloud has no such thing.
# A network and a key are given under conditions that do not hold on it.
UNTRIED: Final = {
    "*": "traces and log deliveries have no resource that could be another tenant's",
    "SecretsKeyArn": "no key of one's own",
    "DataKeyArn": "no key of one's own",
    "DatabaseProxySecretArn": "no proxy",
    "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${Id}/${DatabaseUser}"
    " with Id": "no login with IAM",
}

_DENIALS: Final = frozenset({"AccessDenied", "AccessDeniedException"})
# What boto3 calls otherwise than IAM does.
_CLIENTS: Final = {"states": "stepfunctions"}
_CALLED: Final = {
    "s3:ListBucket": "list_objects_v2",
    "s3:ListAllMyBuckets": "list_buckets",
    "lambda:InvokeFunction": "invoke",
}
# One object of each kind that lies in the bucket, by what the table of permissions calls it.
_OBJECTS: Final = {
    "${PayloadBucket.Arn}/runs/*/chunks/*": "runs/probe/chunks/0",
    "${PayloadBucket.Arn}/runs/*/claims/*": "runs/probe/claims/0",
    "${PayloadBucket.Arn}/runs/*/breaker": "runs/probe/breaker",
    "${PayloadBucket.Arn}/runs/*/asked/*": "runs/probe/asked/0",
    "${PayloadBucket.Arn}/quarantine/*": "quarantine/probe",
    "${PayloadBucket.Arn}/aws/lambda/*": "aws/lambda/probe",
    "${PayloadBucket.Arn}/replaying/*": "replaying/probe",
    "${PayloadBucket.Arn}/replayed/*": "replayed/probe",
}
_FUNCTIONS: Final = ("ListUsers", "CallApi", "ProcessUsers", "FinishRun", "WriteRows", "Migrate")
_PUBLISHED: Final = _FUNCTIONS[:4]

type Client = Callable[[str], Any]


class Things:
    """What one deployed tenant owns, with something in it to be read."""

    def __init__(self, cloud: LocalCloud, tenant: str) -> None:
        self._cloud = cloud
        self.tenant = tenant
        self.stack = cloud.stack(tenant)

    @cached_property
    def ids(self) -> Mapping[str, str]:
        """The physical ids of the stack's resources."""
        listed = self._cloud.client("cloudformation").list_stack_resources(
            StackName=self.stack.name
        )
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in listed["StackResourceSummaries"]
        }

    @property
    def bucket(self) -> str:
        return self.ids["PayloadBucket"]

    @property
    def stream(self) -> str:
        return self.ids["RowStream"]

    @property
    def queue(self) -> str:
        return self.ids["ScheduleDeadLetterQueue"]

    @property
    def machine(self) -> str:
        return self.stack.state_machine_arn

    @cached_property
    def iterator(self) -> str:
        """A place on the stream to read from, which its administrator found."""
        kinesis = self._cloud.client("kinesis")
        (shard,) = kinesis.list_shards(StreamName=self.stream)["Shards"]
        return str(
            kinesis.get_shard_iterator(
                StreamName=self.stream,
                ShardId=shard["ShardId"],
                ShardIteratorType="LATEST",
            )["ShardIterator"]
        )

    @cached_property
    def stream_arn(self) -> str:
        found = self._cloud.client("kinesis").describe_stream_summary(StreamName=self.stream)
        return str(found["StreamDescriptionSummary"]["StreamARN"])

    def function_arn(self, name: str) -> str:
        """The ARN of a function, without a version."""
        return self.machine.replace(":states:", ":lambda:").replace(
            ":stateMachine:" + self.machine.rpartition(":")[2],
            f":function:{self.ids[f'{name}Function']}",
        )

    def fill(self) -> None:
        """Put an object of every kind into the bucket, so that there is something to refuse."""
        for key in _OBJECTS.values():
            self._cloud.client("s3").put_object(Bucket=self.bucket, Key=key, Body=b"probe")


@dataclass(frozen=True)
class Probe:
    """One action on one thing of a tenant.

    Attributes
    ----------
    action
        As IAM calls it.
    on
        What it is tried on, in the words of the table of permissions.
    given
        What the call is given, for the things of one tenant.
    """

    action: str
    on: str
    given: Callable[[Things], Mapping[str, Any]]

    def call(self, client: Client, things: Things) -> None:
        """Try it, with the clients of a role."""
        service, _, action = self.action.partition(":")
        method = _CALLED.get(self.action) or xform_name(action)
        getattr(client(_CLIENTS.get(service, service)), method)(**self.given(things))


def _objects() -> Iterator[Probe]:
    def named(key: str, **more: bytes) -> Callable[[Things], Mapping[str, Any]]:
        return lambda t: {"Bucket": t.bucket, "Key": key, **more}

    for on, key in _OBJECTS.items():
        yield Probe("s3:GetObject", on, named(key))
        yield Probe("s3:PutObject", on, named(key, Body=b"probe"))
        yield Probe("s3:DeleteObject", on, named(key))
    for action in ("s3:ListBucket", "s3:GetBucketPolicy"):
        yield Probe(action, "PayloadBucket.Arn", lambda t: {"Bucket": t.bucket})


def _stream() -> Iterator[Probe]:
    record = {"Data": b"probe", "PartitionKey": "probe"}
    first = {"ShardId": "shardId-000000000000", "ShardIteratorType": "LATEST"}
    given: dict[str, Callable[[Things], Mapping[str, Any]]] = {
        "PutRecords": lambda t: {"StreamName": t.stream, "Records": [record]},
        "PutRecord": lambda t: {"StreamName": t.stream, **record},
        "DescribeStream": lambda t: {"StreamName": t.stream},
        "DescribeStreamSummary": lambda t: {"StreamName": t.stream},
        "ListShards": lambda t: {"StreamName": t.stream},
        "GetShardIterator": lambda t: {"StreamName": t.stream, **first},
        "GetRecords": lambda t: {"ShardIterator": t.iterator, "StreamARN": t.stream_arn},
        "AddTagsToStream": lambda t: {"StreamName": t.stream, "Tags": {"a": "b"}},
    }
    for action, each in given.items():
        yield Probe(f"kinesis:{action}", "RowStream.Arn", each)


def _functions() -> Iterator[Probe]:
    def named(name: str, qualifier: str = "", **more: str) -> Callable[[Things], Mapping[str, Any]]:
        return lambda t: {"FunctionName": t.function_arn(name) + qualifier, **more}

    dry = {"InvocationType": "DryRun"}
    for name in _FUNCTIONS:
        arn = f"{name}Function.Arn"
        yield Probe("lambda:InvokeFunction", arn, named(name, **dry))
        yield Probe("lambda:GetFunctionConfiguration", arn, named(name))
        if name in _PUBLISHED:
            yield Probe("lambda:InvokeFunction", f"${{{arn}}}:*", named(name, ":live", **dry))


def _secrets() -> Iterator[Probe]:
    def named(parameter: str) -> Callable[[Things], Mapping[str, Any]]:
        return lambda t: {"SecretId": t.stack.parameters[parameter]}

    for on in ("DatabaseSecretArn", "ApiSecretArn"):
        yield Probe("secretsmanager:GetSecretValue", on, named(on))
        yield Probe("secretsmanager:DescribeSecret", on, named(on))


def _logs() -> Iterator[Probe]:
    # AWS asks for the permission on a stream of the group, MiniStack on the group's name as it is
    # given: so it is given a stream's.
    def named(name: str, **more: Any) -> Callable[[Things], Mapping[str, Any]]:
        return lambda t: {"logGroupName": f"{t.ids[name]}:log-stream:probe", **more}

    stream = {"logStreamName": "probe"}
    lines = {"logEvents": [{"timestamp": 0, "message": "probe"}]}
    for name in (*_FUNCTIONS, "StateMachine"):
        group = f"{name}LogGroup"
        yield Probe("logs:CreateLogStream", f"{group}.Arn", named(group, **stream))
        yield Probe("logs:PutLogEvents", f"{group}.Arn", named(group, **stream, **lines))
        yield Probe("logs:FilterLogEvents", f"{group}.Arn", named(group))


def _workflow() -> Iterator[Probe]:
    machine, queue = "BatchMachine", "ScheduleDeadLetterQueue.Arn"
    for action in ("states:StartExecution", "states:StartSyncExecution"):
        # It is no JSON, so that nothing starts where it may.
        yield Probe(action, machine, lambda t: {"stateMachineArn": t.machine, "input": "{"})
    yield Probe("states:DescribeStateMachine", machine, lambda t: {"stateMachineArn": t.machine})
    yield Probe("sqs:SendMessage", queue, lambda t: {"QueueUrl": t.queue, "MessageBody": "probe"})
    yield Probe("sqs:ReceiveMessage", queue, lambda t: {"QueueUrl": t.queue})
    group = "ScheduleGroup"
    yield Probe("scheduler:ListSchedules", group, lambda t: {"GroupName": t.ids[group]})


def _account() -> Iterator[Probe]:
    wide = {"PolicyName": "probe", "PolicyDocument": '{"Version": "2012-10-17", "Statement": []}'}
    role = "MigrateRole"
    yield Probe("iam:PutRolePolicy", "the roles", lambda t: {"RoleName": t.ids[role], **wide})
    yield Probe("iam:GetRole", "the roles", lambda t: {"RoleName": t.ids[role]})
    yield Probe("cloudformation:DescribeStacks", "the stack", lambda t: {"StackName": t.stack.name})
    for action in (
        "s3:ListAllMyBuckets",
        "lambda:ListFunctions",
        "secretsmanager:ListSecrets",
        "kinesis:ListStreams",
    ):
        yield Probe(action, "the account", lambda _: {})


PROBES: Final = (
    *_objects(),
    *_stream(),
    *_functions(),
    *_secrets(),
    *_logs(),
    *_workflow(),
    *_account(),
)


@dataclass(frozen=True)
class Cell:
    """One field of the matrix: a role of one tenant, and a probe on what is a tenant's."""

    role: str
    of: str
    probe: Probe
    on: str
    allowed: bool

    def __str__(self) -> str:
        return f"{self.of}'s {self.role}: {self.probe.action} on {self.on}'s {self.probe.on}"


def expected(role: str, probe: Probe) -> bool:
    """Whether the table of permissions gives a role an action on a thing of its own tenant."""
    holders = [role, *(name for name in SHARED.get(role, []) if name in ALLOWED)]
    return any(probe.action in ALLOWED[name].get(probe.on, "").split() for name in holders)


def session(cloud: LocalCloud, things: Things, role: str) -> Client:
    """Act as a role. It trusts a service only, so its trust, which is not tried, is opened."""
    iam, name = cloud.client("iam"), things.ids[role]
    trust = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"},
    }
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    arn = iam.get_role(RoleName=name)["Role"]["Arn"]
    taken = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="probe")["Credentials"]
    acting: Any = boto3.Session(
        aws_access_key_id=taken["AccessKeyId"],
        aws_secret_access_key=taken["SecretAccessKey"],
        aws_session_token=taken["SessionToken"],
        region_name=cloud.session().region_name,
    )
    made: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in made:
            made[service] = acting.client(
                service,
                **cloud.client_options(inject_host_prefix=False, retries={"total_max_attempts": 1}),
            )
        return made[service]

    return client


def tried(client: Client, role: str, of: str, things: Things) -> Iterator[Cell]:
    """Try everything on the things of one tenant, as a role of this one or another."""
    for probe in PROBES:
        try:
            probe.call(client, things)
            allowed = True
        except ClientError as error:
            allowed = error.response["Error"]["Code"] not in _DENIALS
        yield Cell(role, of, probe, things.tenant, allowed)
