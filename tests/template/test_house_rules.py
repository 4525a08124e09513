"""The template keeps every rule of the house, and every rule finds what it is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.template import house_rules as rules
from tests.template.translation import Json, of_type, properties, translated

type Rule = Callable[[Json], Iterator[str]]

RULES = [
    value
    for value in vars(rules).values()
    if callable(value) and getattr(value, "__annotations__", {}).get("return") == "Problems"
]


@pytest.mark.parametrize("rule", RULES)
def test_the_template_keeps(rule: Rule) -> None:
    assert list(rule(translated())) == []


def give(name: str, **values: Any) -> Callable[[Json], None]:
    """Set properties of a resource."""
    return lambda template: properties(template, name).update(values)


def take(name: str, *path: str) -> Callable[[Json], None]:
    """Remove a property of a resource."""

    def spoil(template: Json) -> None:
        where = properties(template, name)
        for step in path[:-1]:
            where = where[step]
        del where[path[-1]]

    return spoil


def put(*path: str | int, value: Any) -> Callable[[Json], None]:
    """Set something anywhere in the template."""

    def spoil(template: Json) -> None:
        where: Any = template
        for step in path[:-1]:
            where = where[step]
        where[path[-1]] = value

    return spoil


def drop(*path: str | int) -> Callable[[Json], None]:
    """Remove something anywhere in the template."""

    def spoil(template: Json) -> None:
        where: Any = template
        for step in path[:-1]:
            where = where[step]
        del where[path[-1]]

    return spoil


R = "Resources"
VARIABLES = ("Environment", "Variables")
MAPPING = "WriteRowsFunctionRows"
SCHEDULE = "BatchMachineSchedule"

SUBSTITUTIONS = (R, "BatchMachine", "Properties", "DefinitionSubstitutions")


def version(template: Json, function: str) -> Json:
    """The version of a function that the template publishes."""
    (found,) = (
        resource
        for resource in of_type(template, "Lambda::Version").values()
        if resource["Properties"]["FunctionName"] == {"Ref": function}
    )
    return found


BROKEN: list[tuple[Rule, Callable[[Json], None], str]] = [
    (rules.functions_are_the_six, drop(R, "MigrateFunction"), "the functions are"),
    (rules.functions_are_the_six, give("CallApiFunction", Architectures=["arm64"]), "Archit"),
    (rules.functions_are_the_six, give("FinishRunFunction", Timeout=3), "Timeout is 3"),
    (rules.functions_are_the_six, take("MigrateFunction", "MemorySize"), "MemorySize"),
    (
        rules.every_function_has_its_layers,
        lambda t: properties(t, "MigrateFunction")["Layers"].pop(),
        "MigrateFunction: the layers are ['BatchCoreLayer",
    ),
    (
        rules.every_function_has_its_layers,
        lambda t: properties(t, "CallApiFunction")["Layers"].pop(),
        "CallApiFunction: the layers are ['BatchCoreLayer",
    ),
    (
        rules.layers_serve_both_architectures,
        give("BatchCoreLayer", CompatibleArchitectures=["arm64"]),
        "not for both",
    ),
    (
        rules.layers_serve_both_architectures,
        give("JobLayer", CompatibleRuntimes=["python3.12"]),
        "python3.13",
    ),
    (
        rules.environment_is_what_settings_read,
        take("ListUsersFunction", *VARIABLES, "CHUNK_SIZE"),
        "ListUsersFunction lacks CHUNK_SIZE",
    ),
    (
        rules.environment_is_what_settings_read,
        put(R, "CallApiFunction", "Properties", *VARIABLES, "CHUNK_SIZE", value=1),
        "CallApiFunction is given CHUNK_SIZE",
    ),
    (
        rules.settings_come_from_parameters_and_resources,
        put(R, "CallApiFunction", "Properties", *VARIABLES, "API_SECRET_ARN", value="hunter2"),
        "CallApiFunction is given API_SECRET_ARN as a text",
    ),
    (
        rules.every_function_writes_to_a_group_of_its_own,
        put(
            *(R, "CallApiFunction", "Properties", "LoggingConfig", "LogGroup"),
            value={"Ref": "MigrateLogGroup"},
        ),
        "MigrateLogGroup has 2 writers",
    ),
    (
        rules.every_function_writes_to_a_group_of_its_own,
        put(R, "CallApiFunction", "Properties", "LoggingConfig", "SystemLogLevel", value="INFO"),
        "pays for START",
    ),
    (
        rules.every_function_writes_to_a_group_of_its_own,
        put(
            *(R, "CallApiFunction", "Properties", "LoggingConfig", "ApplicationLogLevel"),
            value={"Ref": "LogLevel"},
        ),
        "would drop the debug lines",
    ),
    (
        rules.nothing_is_of_one_account_region_or_partition,
        give("MigrateRole", ManagedPolicyArns=["arn:aws-cn:iam::123456789012:policy/Mine"]),
        "MigrateRole is for 123456789012 only",
    ),
    (
        rules.nothing_is_of_one_account_region_or_partition,
        give("MigrateRole", ManagedPolicyArns=["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
        "MigrateRole is for arn:aws only",
    ),
    (
        rules.nothing_has_a_name_that_two_stacks_share,
        give("PayloadBucket", BucketName="payload"),
        "PayloadBucket: BucketName payload",
    ),
    (
        rules.nothing_has_a_name_that_two_stacks_share,
        give("JobLayer", LayerName="JobLayer"),
        "LayerName",
    ),
    (
        rules.nothing_has_a_name_that_two_stacks_share,
        give("CoverageAlarm", AlarmName="coverage"),
        "CoverageAlarm: AlarmName coverage",
    ),
    (rules.schedule_follows_the_parameters, take(SCHEDULE, "Target", "Input"), "two runs"),
    (
        rules.schedule_follows_the_parameters,
        take(SCHEDULE, "Target", "Input"),
        "in the way of the next",
    ),
    (
        rules.schedule_follows_the_parameters,
        give(SCHEDULE, ScheduleExpression="rate(5 minutes)"),
        "follow",
    ),
    (rules.schedule_follows_the_parameters, take(SCHEDULE, "State"), "switched off"),
    (rules.schedule_follows_the_parameters, take(SCHEDULE, "GroupName"), "mixed"),
    (
        rules.machine_is_express_and_its_logs_can_be_chosen,
        give("BatchMachine", StateMachineType="STANDARD"),
        "not an Express",
    ),
    (
        rules.machine_is_express_and_its_logs_can_be_chosen,
        put(
            *(R, "BatchMachine", "Properties", "LoggingConfiguration", "IncludeExecutionData"),
            value=True,
        ),
        "is logged cannot be chosen",
    ),
    (
        rules.machine_is_express_and_its_logs_can_be_chosen,
        put("Parameters", "WorkflowExecutionData", "Default", value="true"),
        "data would be logged",
    ),
    (
        rules.machine_is_express_and_its_logs_can_be_chosen,
        put(R, "BatchMachine", "Properties", "LoggingConfiguration", "Level", value="ALL"),
        "log level",
    ),
    (
        rules.machine_is_express_and_its_logs_can_be_chosen,
        give("StateMachineLogGroup", LogGroupName="/states"),
        "resource policy",
    ),
    (
        rules.machine_gets_what_its_definition_names,
        take("BatchMachine", "DefinitionSubstitutions", "GroupConcurrency"),
        "in the place of ${GroupConcurrency}",
    ),
    (
        rules.machine_gets_what_its_definition_names,
        put(R, "BatchMachine", "Properties", "DefinitionSubstitutions", "Old", value=1),
        "does not name ${Old}",
    ),
    (
        rules.workflow_calls_versions,
        put(*SUBSTITUTIONS, "CallApiFunction", value={"Fn::GetAtt": ["CallApiFunction", "Arn"]}),
        "calls CallApiFunction as the last deployment left it",
    ),
    (
        rules.workflow_calls_versions,
        lambda t: version(t, "CallApiFunction").pop("UpdateReplacePolicy"),
        "CallApiFunction: a deployment would remove",
    ),
    (
        rules.functions_end_before_their_states,
        give("CallApiFunction", Timeout=70),
        "CallApiFunction has 70 seconds",
    ),
    (
        rules.mapping_begins_at_the_beginning_and_is_measured,
        give(MAPPING, StartingPosition="LATEST"),
        "LATEST",
    ),
    (
        rules.mapping_begins_at_the_beginning_and_is_measured,
        take(MAPPING, "MetricsConfig"),
        "MetricsConfig",
    ),
    (
        rules.mapping_begins_at_the_beginning_and_is_measured,
        take(MAPPING, "BatchSize"),
        "BatchSize",
    ),
    (
        rules.mapping_begins_at_the_beginning_and_is_measured,
        take(MAPPING, "ParallelizationFactor"),
        "Parallelization",
    ),
    (
        rules.objects_are_kept_as_long_as_they_are_good_for,
        take("PayloadBucket", "LifecycleConfiguration"),
        "kept for",
    ),
    (rules.stream_is_kept, take("RowStream", "RetentionPeriodHours"), "a day"),
    (
        rules.what_holds_data_says_what_becomes_of_it,
        drop(R, "RowStream", "DeletionPolicy"),
        "RowStream has no DeletionPolicy",
    ),
    (
        rules.what_holds_data_says_what_becomes_of_it,
        put(R, "RowStream", "UpdateReplacePolicy", value="Delete"),
        "drop what is on the stream",
    ),
    (
        rules.what_holds_data_says_what_becomes_of_it,
        lambda t: t[R]["PayloadBucket"].update(
            DeletionPolicy="Delete", UpdateReplacePolicy="Delete"
        ),
        "quarantined rows",
    ),
    (
        rules.only_functions_with_the_database_are_in_the_vpc,
        take("WriteRowsFunction", "VpcConfig"),
        "WriteRowsFunction cannot be put",
    ),
    (
        rules.only_functions_with_the_database_are_in_the_vpc,
        give("CallApiFunction", VpcConfig={"Ref": "SubnetIds"}),
        "CallApiFunction would need a NAT",
    ),
    (
        rules.only_functions_with_the_database_are_in_the_vpc,
        give("MigrateRole", ManagedPolicyArns=[{"Ref": "NetworkPolicy"}]),
        "MigrateFunction may not make",
    ),
    (rules.proxy_is_optional_and_impatient, drop(R, "DatabaseProxy", "Condition"), "even where"),
    (
        rules.proxy_is_optional_and_impatient,
        take("DatabaseProxyTargets", "ConnectionPoolConfigurationInfo", "ConnectionBorrowTimeout"),
        "gives up",
    ),
    (
        rules.proxy_is_optional_and_impatient,
        take("DatabaseProxyTargets", "ConnectionPoolConfigurationInfo", "InitQuery"),
        "a lock",
    ),
    (
        rules.proxy_is_optional_and_impatient,
        take("DatabaseProxyTargets", "ConnectionPoolConfigurationInfo", "InitQuery"),
        "do not fit",
    ),
    (
        rules.wide_functions_can_be_bounded,
        take("CallApiFunction", "ReservedConcurrentExecutions"),
        "CallApiFunction could take",
    ),
    (rules.outputs_are_those_that_others_read, drop("Outputs", "StreamName"), "StreamName"),
    (
        rules.outputs_are_those_that_others_read,
        drop("Outputs", "StreamName", "Description"),
        "not explained",
    ),
]


@pytest.mark.parametrize(("rule", "spoil", "said"), BROKEN)
def test_a_rule_finds(rule: Rule, spoil: Callable[[Json], None], said: str) -> None:
    template = translated()
    spoil(template)

    assert said in " | ".join(rule(template))


def test_every_rule_has_a_template_that_breaks_it() -> None:
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
