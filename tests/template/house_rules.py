"""What this project asks of its template beyond what the linters know.

A rule takes the translated template and says, one sentence each, what breaks it. What any template
should keep, encryption and logs and roles, is in gates/rules.guard; here is what needs this one's
own names, its files or its code.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from batch_core import limits
from batch_core.settings import Settings
from batch_core.settings.call_api import CallApiSettings
from batch_core.settings.finish_run import FinishRunSettings
from batch_core.settings.list_users import ListUsersSettings
from batch_core.settings.migrate import MigrateSettings
from batch_core.settings.process_users import ProcessUsersSettings
from batch_core.settings.write_rows import WriteRowsSettings
from tests.template.translation import ROOT, Json, of_type, properties, short

type Problems = Iterator[str]

# Function: (seconds, uses the database, its settings)
FUNCTIONS: dict[str, tuple[int, bool, type[Settings]]] = {
    "ListUsersFunction": (120, True, ListUsersSettings),
    "CallApiFunction": (60, False, CallApiSettings),
    "ProcessUsersFunction": (30, False, ProcessUsersSettings),
    "WriteRowsFunction": (60, True, WriteRowsSettings),
    "FinishRunFunction": (60, True, FinishRunSettings),
    "MigrateFunction": (900, True, MigrateSettings),
}
NO_VALUE = {"Ref": "AWS::NoValue"}
DEBUG_LINES_PASS = {"Fn::If": ["SampleDebug", "DEBUG", {"Ref": "LogLevel"}]}
# Powertools reads the first two; nobody the third.
NOT_IN_SETTINGS = {"POWERTOOLS_LOG_LEVEL", "POWERTOOLS_LOGGER_SAMPLE_RATE", "PARAMETERS_DIGEST"}


def functions_are_the_six(template: Json) -> Problems:
    found = of_type(template, "Lambda::Function")
    if set(found) != set(FUNCTIONS):
        yield f"the functions are {sorted(found)}"
    for name, function in found.items():
        values = function["Properties"]
        seconds = FUNCTIONS[name][0] if name in FUNCTIONS else None
        wanted = {
            "Handler": "app.lambda_handler",
            "Architectures": [{"Ref": "Architecture"}],
            "Timeout": seconds,
        }
        for key, value in wanted.items():
            if values.get(key) != value:
                yield f"{name}: {key} is {values.get(key)}, not {value}"
        if "MemorySize" not in values:
            yield f"{name}: MemorySize is left to Lambda, which gives 128 MB"


def every_function_has_its_layers(template: Json) -> Problems:
    for name, function in of_type(template, "Lambda::Function").items():
        layers = [short(layer) for layer in function["Properties"].get("Layers", [])]
        wanted = ["BatchCoreLayer", "JobLayer"]
        if name == "CallApiFunction":
            wanted.append("LibcurlLayer")
        if [re.sub("[0-9a-f]{10}$", "", layer) for layer in layers] != wanted:
            yield f"{name}: the layers are {layers}"


def layers_serve_both_architectures(template: Json) -> Problems:
    for name, layer in of_type(template, "Lambda::LayerVersion").items():
        values = layer["Properties"]
        if set(values.get("CompatibleArchitectures", [])) != {"x86_64", "arm64"}:
            yield f"{name} is not for both architectures"
        if values.get("CompatibleRuntimes") != ["python3.13"]:
            yield f"{name} is not for python3.13"
        if layer.get("DeletionPolicy") != "Delete":
            yield f"{name} leaves every old version behind"


def environment_is_what_settings_read(template: Json) -> Problems:
    for name, (_, _, kind) in FUNCTIONS.items():
        # Lambda sets the region itself, and lets nobody else.
        wanted = {field.upper() for field in kind.__dataclass_fields__} - {"AWS_REGION"}
        given = set(properties(template, name)["Environment"]["Variables"])
        for variable in sorted(wanted - given):
            yield f"{name} lacks {variable}"
        for variable in sorted(given - wanted - NOT_IN_SETTINGS):
            yield f"{name} is given {variable}, which {kind.__name__} does not read"


def settings_come_from_parameters_and_resources(template: Json) -> Problems:
    """A text would be the same for every tenant, and may be a secret."""
    for name, function in of_type(template, "Lambda::Function").items():
        for variable, value in function["Properties"]["Environment"]["Variables"].items():
            if not isinstance(value, dict):
                yield f"{name} is given {variable} as a text of the template"


def every_function_writes_to_a_group_of_its_own(template: Json) -> Problems:
    users = Counter(["StateMachineLogGroup"])
    for name, function in of_type(template, "Lambda::Function").items():
        logging = function["Properties"].get("LoggingConfig", {})
        group = short(logging.get("LogGroup"))
        users[group] += 1
        if logging.get("LogFormat") != "JSON" or logging.get("SystemLogLevel") != "WARN":
            yield f"{name} pays for START, END and REPORT lines"
        if logging.get("ApplicationLogLevel") != DEBUG_LINES_PASS:
            yield f"{name}: Lambda would drop the debug lines of invocations that are sampled"
    for name in of_type(template, "Logs::LogGroup"):
        if users[name] != 1:
            yield f"{name} has {users[name]} writers"


def nothing_is_of_one_account_region_or_partition(template: Json) -> Problems:
    for name, resource in template["Resources"].items():
        for found in re.findall(
            r"\b\d{12}\b|\barn:aws\b|\b[a-z]{2}-[a-z]+-\d\b", json.dumps(resource)
        ):
            yield f"{name} is for {found} only"


def nothing_has_a_name_that_two_stacks_share(template: Json) -> Problems:
    names = {"Name", "RoleName", "FunctionName", "LayerName", "LogGroupName", "BucketName"}
    names |= {"QueueName", "StateMachineName", "ManagedPolicyName", "DBProxyName", "GroupName"}
    names |= {"AlarmName", "DashboardName", "TopicName"}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Alias":
            continue  # its name is its function's alone
        for key, value in resource.get("Properties", {}).items():
            if key not in names or short(value) in template["Resources"]:
                continue
            if "AWS::StackName" not in short(value):
                yield f"{name}: {key} {short(value)} would be the same in every stack"


def schedule_follows_the_parameters(template: Json) -> Problems:
    for name, schedule in of_type(template, "Scheduler::Schedule").items():
        values = schedule["Properties"]
        target = values["Target"]
        given = short(target.get("Input", ""))
        if '"scheduled_time": "<aws.scheduler.scheduled-time>"' not in given:
            yield f"{name}: duplicates of a start would be two runs"
        if '"max_age_minutes": ${ScheduleMinutes}' not in given:
            yield f"{name}: a start delivered late would get in the way of the next"
        if short(values["ScheduleExpression"]) != "rate(${ScheduleMinutes} minutes)":
            yield f"{name} does not follow ScheduleMinutes"
        if short(values.get("State")) != "ScheduleState":
            yield f"{name} cannot be switched off"
        if short(values.get("GroupName")) not in of_type(template, "Scheduler::ScheduleGroup"):
            yield f"{name}: its metrics would be mixed with other tenants'"


def machine_is_express_and_its_logs_can_be_chosen(template: Json) -> Problems:
    machine = properties(template, "BatchMachine")
    logging = machine.get("LoggingConfiguration", {})
    if machine.get("StateMachineType") != "EXPRESS":
        yield "the machine is not an Express one"
    if short(logging.get("IncludeExecutionData")) != "WorkflowExecutionData":
        yield "whether users' data is logged cannot be chosen"
    if template["Parameters"]["WorkflowExecutionData"]["Default"] != "false":
        yield "users' data would be logged"
    if short(logging.get("Level")) != "WorkflowLogLevel":
        yield "the machine's log level cannot be chosen"
    group = properties(template, "StateMachineLogGroup").get("LogGroupName", "")
    if not short(group).startswith("/aws/vendedlogs/states/"):
        yield "the machine's log group takes room in the account's resource policy"


def machine_gets_what_its_definition_names(template: Json) -> Problems:
    definition = (ROOT / "statemachine" / "batch.asl.json").read_text()
    named = set(re.findall(r"\$\{(\w+)\}", definition))
    given = set(properties(template, "BatchMachine").get("DefinitionSubstitutions", {}))
    for name in sorted(named - given):
        yield f"nothing is put in the place of ${{{name}}}"
    for name in sorted(given - named):
        yield f"the definition does not name ${{{name}}}"


def workflow_calls_versions(template: Json) -> Problems:
    """Code, settings and layers of a run stay what they were, whatever is deployed under it."""
    given = properties(template, "BatchMachine")["DefinitionSubstitutions"]
    for name in (name for name in given if name.endswith("Function")):
        version = template["Resources"].get(short(given[name]), {})
        if version.get("Type") != "AWS::Lambda::Version":
            yield f"the workflow calls {name} as the last deployment left it"
            continue
        if {version.get(each) for each in ("DeletionPolicy", "UpdateReplacePolicy")} != {"Retain"}:
            yield f"{name}: a deployment would remove the version that a run is using"


def functions_end_before_their_states(template: Json) -> Problems:
    definition = json.loads((ROOT / "statemachine" / "batch.asl.json").read_text())
    for state in _tasks(definition):
        name = re.sub(r"\W", "", state["Arguments"]["FunctionName"])
        seconds = properties(template, name).get("Timeout", 3)  # Lambda's default
        waits = state.get("TimeoutSeconds", limits.RUN_SECONDS)
        if not seconds < waits <= seconds + 10:
            yield f"{name} has {seconds} seconds, its state {waits}"
        if waits >= limits.RUN_SECONDS:
            yield f"{name} may take longer than a run"


def _tasks(machine: Json) -> Iterator[Json]:
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state
        elif state["Type"] == "Map":
            yield from _tasks(state["ItemProcessor"])


def mapping_begins_at_the_beginning_and_is_measured(template: Json) -> Problems:
    (mapping,) = of_type(template, "Lambda::EventSourceMapping").values()
    values = mapping["Properties"]
    wanted = {
        "StartingPosition": "TRIM_HORIZON",
        "MetricsConfig": {"Metrics": ["EventCount"]},
        "BatchSize": {"Ref": "WriteBatchSize"},
    }
    for key, value in wanted.items():
        if values.get(key) != value:
            yield f"the mapping's {key} is {values.get(key)}"
    for key in ("MaximumBatchingWindowInSeconds", "ParallelizationFactor"):
        if key not in values:
            yield f"the mapping's {key} is left to Lambda"


def objects_are_kept_as_long_as_they_are_good_for(template: Json) -> Problems:
    values = properties(template, "PayloadBucket")
    kept = {
        rule.get("Prefix"): rule.get("ExpirationInDays")
        for rule in values.get("LifecycleConfiguration", {}).get("Rules", [])
        if rule.get("Status") == "Enabled"
    }
    expected = {"runs/": 3, None: None}
    expected |= dict.fromkeys(("quarantine/", "aws/lambda/", "replaying/", "replayed/"), 30)
    if kept != expected:
        yield f"objects are kept for {kept}"


def stream_is_kept(template: Json) -> Problems:
    if (
        short(properties(template, "RowStream").get("RetentionPeriodHours"))
        != "StreamRetentionHours"
    ):
        yield "the stream keeps records for a day only"


def what_holds_data_says_what_becomes_of_it(template: Json) -> Problems:
    for kind in ("S3::Bucket", "Kinesis::Stream", "SQS::Queue", "Logs::LogGroup"):
        for name, resource in of_type(template, kind).items():
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if policy not in resource:
                    yield f"{name} has no {policy}"
    bucket = template["Resources"]["PayloadBucket"]
    if "Retain" not in bucket["DeletionPolicy"] + bucket["UpdateReplacePolicy"]:
        yield "quarantined rows would be deleted with the stack"
    if template["Resources"]["RowStream"]["UpdateReplacePolicy"] != "Retain":
        yield "an update could drop what is on the stream"


def only_functions_with_the_database_are_in_the_vpc(template: Json) -> Problems:
    for name, (_, uses_database, _) in FUNCTIONS.items():
        network = properties(template, name).get("VpcConfig")
        policies = properties(template, name.replace("Function", "Role"))["ManagedPolicyArns"]
        interfaces = {"Fn::If": ["UseVpc", {"Ref": "NetworkPolicy"}, NO_VALUE]}
        if uses_database:
            if not network or network["Fn::If"][0] != "UseVpc" or network["Fn::If"][2] != NO_VALUE:
                yield f"{name} cannot be put into the VPC, or not kept out of it"
            if interfaces not in policies:
                yield f"{name} may not make its network interfaces, or always may"
        elif network or any("NetworkPolicy" in str(policy) for policy in policies):
            yield f"{name} would need a NAT to reach the API and the stream"


def proxy_is_optional_and_impatient(template: Json) -> Problems:
    for name, resource in template["Resources"].items():
        if "Proxy" in name and resource.get("Condition") != "CreateProxy":
            yield f"{name} is made even where a database is given"
    pool = properties(template, "DatabaseProxyTargets")["ConnectionPoolConfigurationInfo"]
    if pool.get("ConnectionBorrowTimeout", 120) > 5:
        yield "functions would end before the proxy gives up"
    if "innodb_lock_wait_timeout" not in pool.get("InitQuery", ""):
        yield "a lock is waited for longer than a function lives"
    if "STRICT_TRANS_TABLES" not in pool.get("InitQuery", ""):
        yield "values that do not fit are changed and stored"


def wide_functions_can_be_bounded(template: Json) -> Problems:
    wanted = {"Fn::If": ["ReserveConcurrency", {"Ref": "ReservedConcurrency"}, NO_VALUE]}
    for name in ("CallApiFunction", "ProcessUsersFunction"):
        if properties(template, name).get("ReservedConcurrentExecutions") != wanted:
            yield f"{name} could take the whole account's concurrency"


def outputs_are_those_that_others_read(template: Json) -> Problems:
    wanted = {"StateMachineArn", "StreamName", "PayloadBucketName", "MigrateFunctionName"}
    wanted |= {"StateMachineConsole", "QueriesConsole", "ScheduleDeadLetterQueueUrl"}
    wanted |= {"AlarmTopic", "DashboardConsole"}
    wanted |= {"DatabaseEndpoint", *of_type(template, "Logs::LogGroup")}
    outputs: dict[str, Any] = template["Outputs"]
    for name in sorted(wanted ^ set(outputs)):
        yield f"the output {name} is missing, or new"
    for name, output in outputs.items():
        if not output.get("Description"):
            yield f"the output {name} is not explained"
