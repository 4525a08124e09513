"""Roles that a service uses by itself: what it calls is what they may, no more and no less.

The local cloud starts runs, invokes functions and reads the stream without looking at these roles,
so that there a missing permission would not be missed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.template.test_permissions import as_list, granted, statements
from tests.template.translation import Json, of_type, properties, short, translated

type Problems = Iterator[str]
type Rule = Callable[[Json], Problems]
type Grants = Mapping[str, str]

# https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html#kinesis-execution-role
READS = "kinesis:DescribeStream kinesis:DescribeStreamSummary kinesis:GetRecords "
READS += "kinesis:GetShardIterator kinesis:ListShards"


def compared(role: str, given: Grants, wanted: Grants) -> Problems:
    """What a role lacks of what is called with it, and what it has besides."""
    for on in sorted({*given, *wanted}):
        has, needs = (set(grants.get(on, "").split()) for grants in (given, wanted))
        if needs - has:
            yield f"{role} may not {' '.join(sorted(needs - has))} on {on}"
        if has - needs:
            yield f"{role} may {' '.join(sorted(has - needs))} on {on}, for nothing"


def role_of(reference: Json) -> str:
    return short(reference).removesuffix(".Arn")


def the_workflow_may_invoke_what_its_definition_calls(template: Json) -> Problems:
    for machine in of_type(template, "StepFunctions::StateMachine").values():
        values = machine["Properties"]
        # The transform makes the reference to a version out of the function's name and a digest.
        called = [
            re.sub("Version[0-9a-f]+$", "", short(value))
            for name, value in values["DefinitionSubstitutions"].items()
            if name.endswith("Function")
        ]
        wanted = {f"${{{name}.Arn}}:*": "lambda:InvokeFunction" for name in called}
        role = role_of(values["RoleArn"])
        given = {on: acts for on, acts in granted(template, role).items() if on != "*"}
        yield from compared(role, given, wanted)


def the_scheduler_may_start_its_target_and_keep_what_it_could_not(template: Json) -> Problems:
    for schedule in of_type(template, "Scheduler::Schedule").values():
        target = schedule["Properties"]["Target"]
        wanted = {
            short(target["Arn"]): "states:StartExecution",
            short(target["DeadLetterConfig"]["Arn"]): "sqs:SendMessage",
            "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",  # it may encrypt the queue
        }
        role = role_of(target["RoleArn"])
        yield from compared(role, granted(template, role), wanted)


def the_mapping_may_read_its_stream_and_put_aside_what_it_gives_up(template: Json) -> Problems:
    """It goes by the role of its function."""
    for mapping in of_type(template, "Lambda::EventSourceMapping").values():
        values = mapping["Properties"]
        stream = short(values["EventSourceArn"])
        bucket = short(values["DestinationConfig"]["OnFailure"]["Destination"])
        wanted = {
            stream: READS,
            f"${{{bucket}}}/aws/lambda/*": "s3:PutObject",
            bucket: "s3:ListBucket",
            "DataKeyArn": "kms:Decrypt kms:GenerateDataKey",  # to read the one, to write the other
        }
        role = role_of(properties(template, short(values["FunctionName"]))["Role"])
        given = {on: acts for on, acts in granted(template, role).items() if on in wanted}
        yield from compared(role, given, wanted)


def the_proxy_may_read_the_secrets_it_logs_in_with(template: Json) -> Problems:
    for proxy in of_type(template, "RDS::DBProxy").values():
        values = proxy["Properties"]
        wanted = {
            short(auth["SecretArn"]): "secretsmanager:GetSecretValue" for auth in values["Auth"]
        }
        wanted["SecretsKeyArn"] = "kms:Decrypt"
        role = role_of(values["RoleArn"])
        yield from compared(role, granted(template, role), wanted)


def a_login_is_for_one_user_of_one_database(template: Json) -> Problems:
    for name in ("IAM::Role", "IAM::ManagedPolicy"):
        for holder in of_type(template, name):
            for _, statement in statements(template, holder):
                if "rds-db:connect" not in as_list(statement["Action"]):
                    continue
                for resource in as_list(statement["Resource"]):
                    whole = short(resource)
                    if "*" in whole or not re.search(r"\$\{Id\}/\$\{DatabaseUser\}", whole):
                        yield f"{holder} may log in to {whole}"


RULES: list[Rule] = [
    the_workflow_may_invoke_what_its_definition_calls,
    the_scheduler_may_start_its_target_and_keep_what_it_could_not,
    the_mapping_may_read_its_stream_and_put_aside_what_it_gives_up,
    the_proxy_may_read_the_secrets_it_logs_in_with,
    a_login_is_for_one_user_of_one_database,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_template_keeps(rule: Rule) -> None:
    assert list(rule(translated())) == []


def statement(template: Json, holder: str, sid: str) -> Json:
    return next(each for _, each in statements(template, holder) if each.get("Sid") == sid)


def change(holder: str, sid: str, **values: object) -> Callable[[Json], None]:
    return lambda template: statement(template, holder, sid).update(values)


def forget(holder: str, sid: str) -> Callable[[Json], None]:
    def spoil(template: Json) -> None:
        for policy in properties(template, holder)["Policies"]:
            document = policy["PolicyDocument"]
            document["Statement"] = [
                each for each in document["Statement"] if each.get("Sid") != sid
            ]

    return spoil


EVERYONE = {"Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*"}
ANY_USER = {"Fn::Sub": "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:*/*"}

BROKEN: list[tuple[Rule, Callable[[Json], None], str]] = [
    (RULES[0], forget("BatchMachineRole", "InvokeTheFunctions"), "BatchMachineRole may not lambda"),
    (
        RULES[0],
        change("BatchMachineRole", "InvokeTheFunctions", Resource=EVERYONE),
        "function:*, for nothing",
    ),
    (
        RULES[0],
        change("BatchMachineRole", "InvokeTheFunctions", Action="lambda:*"),
        "may lambda:* on ${CallApiFunction.Arn}:*, for nothing",
    ),
    (RULES[1], forget("ScheduleRole", "StartRuns"), "ScheduleRole may not states:StartExecution"),
    (RULES[1], forget("ScheduleRole", "KeepStartsThatFailed"), "may not sqs:SendMessage"),
    (RULES[1], change("ScheduleRole", "StartRuns", Resource="*"), "on *, for nothing"),
    (
        RULES[2],
        change("WriteRowsRole", "ReadTheStream", Action=["kinesis:GetRecords"]),
        "may not kinesis:DescribeStream",
    ),
    (RULES[2], forget("WriteRowsRole", "KeepWhatCannotBeStored"), "may not s3:PutObject"),
    (RULES[2], forget("WriteRowsRole", "FindTheBucket"), "may not s3:ListBucket"),
    (
        RULES[2],
        change("WriteRowsRole", "ReadTheStream", Action="kinesis:*"),
        "may kinesis:* on RowStream.Arn, for nothing",
    ),
    (RULES[3], forget("DatabaseProxyRole", "ReadDatabaseSecret"), "may not secretsmanager"),
    (RULES[3], change("DatabaseProxyRole", "ReadDatabaseSecret", Resource="*"), "for nothing"),
    (RULES[4], change("DatabasePolicy", "Connect", Resource=ANY_USER), "may log in to arn"),
    (RULES[4], change("DatabasePolicy", "Connect", Resource="*"), "may log in to *"),
]


@pytest.mark.parametrize(("rule", "spoil", "said"), BROKEN)
def test_a_rule_finds(rule: Rule, spoil: Callable[[Json], None], said: str) -> None:
    template = translated()
    spoil(template)

    assert said in " | ".join(rule(template))


def test_every_rule_has_a_template_that_breaks_it() -> None:
    assert [rule for rule, _, _ in BROKEN if rule not in RULES] == []
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
