"""Where a rehearsal takes place: a local cloud that enforces IAM, with the pipeline's own stack on
it, and a scratch checkout to push from. It does what the pipeline's actions say, as their roles."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Final

import boto3
from botocore.exceptions import ClientError, WaiterError

from batchctl.alarms import Alarms, Heard
from batchctl.local import emulator
from batchctl.local.cloud import LocalCloud, schema_name
from batchctl.local.servers import REGION
from batchctl.stacks import Stack, find_stack
from tests.rehearsal import pipeline
from tests.rehearsal.pipeline import Action
from tests.rehearsal.play import ActionError, Push
from tests.support.checkout import copy_to, environment, fit_sam, lend_programs

ACCOUNT: Final = "000000000000"
PIPELINE: Final = "batch-pipeline"
# What the stages behind the build need; the rest takes long, or asks the internet.
NEEDED: Final = ("make package ",)
_OF_ACCESS: Final = ("-deploy", "-verify", "-cloudformation")
_WAIT: Final = {"Delay": 1, "MaxAttempts": 300}
_PUSHER: Final = ("-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.com")


class Place:
    """Does the actions of the pipeline, for real where the local cloud can.

    Parameters
    ----------
    cloud
        A local cloud that enforces IAM.
    folder
        For the checkout and the packages.
    full
        Whether the build runs all its commands, not only those that later stages need.
    approve
        Whether the change goes on to the other tenants.
    """

    def __init__(
        self, cloud: LocalCloud, folder: Path, *, full: bool, approve: Callable[[str], bool]
    ) -> None:
        self.cloud = cloud
        self.checkout = folder / "checkout"
        self._folder = folder
        self._full = full
        self._approve = approve
        self._pushes = 0
        self._sessions: dict[str, boto3.Session] = {}
        self._lock = Lock()

    # --- the checkout ----------------------------------------------------------------------------

    def make_checkout(self) -> None:
        """Copy the checkout as it is on disk, and make a repository of it to push from."""
        copy_to(self.checkout)
        self._git("init", "--quiet", "--initial-branch", "main")
        if self._full:  # every command of the build may ask for programs of its own
            self._run(["make", "setup"], self._environment())
        else:
            lend_programs(self.checkout)
        fit_sam(self.checkout)

    def push(self, title: str) -> Push:
        """Commit what has changed."""
        self._git("add", "--all")
        self._git(*_PUSHER, "commit", "--quiet", "--message", title)
        self._pushes += 1
        return Push(self._pushes, self._git("rev-parse", "HEAD").strip(), title)

    def take_last(self) -> None:
        """Have in the checkout what was pushed last."""
        self._git("checkout", "--quiet", "main")

    def type(self, command: str) -> str:
        """Type a command in the checkout, as somebody with every permission does."""
        program, *words = shlex.split(command)
        if program == "aws":
            return self._aws(*words)
        if program == "batchctl":
            program = str(self.checkout / ".venv" / "bin" / "batchctl")
        return self._run([program, *words], self._environment())

    def _aws(self, service: str, operation: str, *options: str) -> str:
        """Do what the AWS CLI would, which is not installed here, and wait for a stack's end."""
        given = {
            name.removeprefix("--").replace("-", " ").title().replace(" ", ""): value
            for name, value in zip(options[::2], options[1::2], strict=True)
            if name != "--region"
        }
        client = self.cloud.client(service)
        getattr(client, operation.replace("-", "_"))(**given)
        if operation == "delete-stack":
            client.get_waiter("stack_delete_complete").wait(**given, WaiterConfig=_WAIT)
        return ""

    def _git(self, *words: str) -> str:
        return self._run(["git", *words], dict(os.environ))

    # --- the pipeline's own stack ----------------------------------------------------------------

    def make_pipeline(self) -> None:
        """Deploy what the local cloud can of pipeline.yaml: all but the pipeline itself."""
        self._cloudformation.create_stack(
            StackName=f"{PIPELINE}-access",
            TemplateBody=self._source("pipeline-access.yaml"),
            Parameters=_parameters({"PipelineStack": PIPELINE}),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        self._settled(f"{PIPELINE}-access", "stack_create_complete")
        self._cloudformation.create_stack(
            StackName=PIPELINE,
            TemplateBody=pipeline.without_pipeline(self._source("pipeline.yaml")),
            Parameters=_parameters(self._given),
            Capabilities=["CAPABILITY_IAM"],
        )
        self._settled(PIPELINE, "stack_create_complete")
        # They trust CodePipeline and CodeBuild, which are played here.
        for role in ("PipelineRole", "BuildRole", "VerifyRole"):
            trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
            self.cloud.client("iam").update_assume_role_policy(
                RoleName=self._ids[role],
                PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust}),
            )

    def grant(self, tenant: str) -> None:
        """Deploy access.yaml for a tenant, as its administrator does."""
        outputs = self._stack(PIPELINE).outputs
        given = {
            "TenantId": tenant,
            "DatabaseUser": schema_name(tenant),
            "PipelineAccount": ACCOUNT,
            "ArtifactsArn": outputs["ArtifactsArn"],
            "ArtifactKeyArn": outputs["ArtifactKeyArn"],
        }
        self._cloudformation.create_stack(
            StackName=f"access-{tenant}",
            TemplateBody=emulator.named_as_here(self._source("access.yaml")),
            Parameters=_parameters(given),
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        self._settled(f"access-{tenant}", "stack_create_complete")
        for role in ("deploy", "verify"):
            emulator.mend_trust(self.cloud.client, f"batch-{tenant}-{role}")

    def make_database(self, tenant: str) -> str:
        """Make a schema with its user, and return the secret that holds the password."""
        password = secrets.token_urlsafe(24)
        user = schema_name(tenant)
        self.cloud.database_server.create_schema(user, user, password)
        made = self.cloud.client("secretsmanager").create_secret(
            Name=f"batch/{tenant}/database",
            SecretString=json.dumps({"username": user, "password": password}),
        )
        return str(made["ARN"])

    @property
    def stages(self) -> tuple[pipeline.Stage, ...]:
        """What pipeline.yaml says now."""
        return pipeline.stages(self._source("pipeline.yaml"), self._names)

    # --- the actions -----------------------------------------------------------------------------

    def perform(self, action: Action, push: Push) -> str:
        """Do an action. Raises ActionError when it fails."""
        mode = action.given.get("ActionMode", "")
        does: dict[str, Callable[[Action, Push], str]] = {
            "Source CodeStarSourceConnection": self._take,
            "Deploy CloudFormation CREATE_UPDATE": self._update,
            "Deploy CloudFormation CHANGE_SET_REPLACE": self._prepare,
            "Deploy CloudFormation CHANGE_SET_EXECUTE": self._deploy,
            "Build CodeBuild": self._build,
            "Test CodeBuild": self._build,
            "Approval Manual": self._ask,
        }
        try:
            return does[f"{action.kind} {mode}".strip()](action, push)
        except (ClientError, WaiterError) as error:
            raise ActionError(str(error)) from error

    def _take(self, _action: Action, push: Push) -> str:
        self._at(push)
        return f"commit {push.commit[:8]}"

    def _at(self, push: Push) -> None:
        """Have the source of a push in the checkout: what CodePipeline hands on as an artifact."""
        with self._lock:
            if self._git("rev-parse", "HEAD").strip() != push.commit:
                self._git("checkout", "--quiet", push.commit)

    def _update(self, action: Action, push: Push) -> str:
        self._at(push)
        template = pipeline.without_pipeline(self._source("pipeline.yaml"))
        given = json.loads(action.given["ParameterOverrides"])
        described = self._cloudformation.describe_stacks(StackName=action.given["StackName"])
        try:
            self._acting("PipelineRole")("cloudformation").update_stack(
                # The permission is on its id, which AWS knows by the name, and the emulator not.
                StackName=described["Stacks"][0]["StackId"],
                TemplateBody=template,
                Parameters=_parameters(given),
                Capabilities=[action.given["Capabilities"]],
                RoleARN=action.given["RoleArn"],
            )
        except ClientError as error:
            if "No updates" in str(error):
                return "nothing to change"
            raise
        self._settled(PIPELINE, "stack_update_complete")
        return "all but the pipeline itself, which no emulator makes"

    def _prepare(self, action: Action, push: Push) -> str:
        template = (self.package(push) / "template.yaml").read_text()
        configuration = json.loads(
            (self.package(push) / action.given["TemplateConfiguration"].split("::")[1]).read_text()
        )
        bucket, key = self._ids["Artifacts"], f"{PIPELINE}/Package/{push.number}.yaml"
        as_pipeline = self._acting("PipelineRole")
        as_pipeline("s3").put_object(Bucket=bucket, Key=key, Body=template.encode())
        stack, name = action.given["StackName"], action.given["ChangeSetName"]
        client = self._acting("PipelineRole", action.role)("cloudformation")
        exists = self.find(stack) is not None
        if exists:
            client.delete_change_set(StackName=stack, ChangeSetName=name)
        client.create_change_set(
            StackName=stack,
            ChangeSetName=name,
            ChangeSetType="UPDATE" if exists else "CREATE",
            TemplateURL=f"{self.cloud.endpoint_url}/{bucket}/{key}",
            Parameters=_parameters(configuration["Parameters"]),
            Tags=[{"Key": key, "Value": value} for key, value in configuration["Tags"].items()],
            Capabilities=[action.given["Capabilities"]],
            RoleARN=action.given["RoleArn"],
        )
        try:
            client.get_waiter("change_set_create_complete").wait(
                StackName=stack, ChangeSetName=name, WaiterConfig=_WAIT
            )
        except WaiterError as error:
            if _is_empty(str(error.last_response.get("StatusReason"))):
                return "nothing to change"
            raise
        found = client.describe_change_set(StackName=stack, ChangeSetName=name)
        return f"{len(found['Changes'])} changes"

    def _deploy(self, action: Action, _push: Push) -> str:
        stack, name = action.given["StackName"], action.given["ChangeSetName"]
        client = self._acting("PipelineRole", action.role)("cloudformation")
        found = client.describe_change_set(StackName=stack, ChangeSetName=name)
        if found["Status"] == "FAILED" and _is_empty(found.get("StatusReason", "")):
            return "nothing to change"
        before = self.find(stack)
        created = before is None or before.status == "REVIEW_IN_PROGRESS"
        client.execute_change_set(StackName=stack, ChangeSetName=name)
        self._settled(stack, f"stack_{'create' if created else 'update'}_complete", client)
        after = self._stack(stack)
        emulator.mend(self.cloud.client, after)
        return after.status

    def _build(self, action: Action, push: Push) -> str:
        self._at(push)
        name = next(each for each, id_ in self._ids.items() if id_ == action.given["ProjectName"])
        project = pipeline.project(self._source("pipeline.yaml"), name)
        written = project["Source"]["BuildSpec"]
        spec = pipeline.buildspec(written if "\n" in written else self._source(written))
        given = {
            each["Name"]: str(pipeline.resolved(each["Value"], self._names))
            for each in project["Environment"].get("EnvironmentVariables", [])
        }
        role = name.replace("Project", "Role")
        env = {**self._environment(role), **given, **pipeline.variables(action)}
        env["CODEBUILD_SRC_DIR_Package"] = str(self.package(push))
        deploys = action.kind.startswith("Build") and not self._full
        played = [each for each in spec.commands if not deploys or each.startswith(NEEDED)]
        told = ""
        try:
            for command in played:
                told = self._run(["bash", "-euc", command], env)
        except ActionError:
            if "STACK" in env:
                self._ring(env["STACK"])
            raise
        if spec.artifacts is not None:
            shutil.copytree(self.checkout / spec.artifacts, self.package(push), dirs_exist_ok=True)
            left = ", ".join(each for each in spec.commands if each not in played)
            digest = self.digest(push)
            return f"package {digest}" + (f"; left to CI: {left}" if left else "")
        return _of_run(told)

    def _ring(self, stack: str) -> None:
        """Let an alarm ring, as one does within minutes of a failed run and for up to three hours.

        Those of runs calculate, which the local cloud cannot: whichever it has stands for them.
        """
        self.cloud.client("cloudwatch").set_alarm_state(
            AlarmName=Alarms(self.cloud.client, stack).names[0],
            StateValue="ALARM",
            StateReason="a run failed",
        )

    def ringing(self, stack: str) -> Heard:
        """The alarms of a stack that ring, as a verification would tell them apart."""
        return Alarms(self.cloud.client, stack).ringing()

    def _ask(self, action: Action, _push: Push) -> str:
        question = action.given["CustomData"]
        if not self._approve(question):
            raise ActionError("not approved")
        return "approved"

    # --- what is there ---------------------------------------------------------------------------

    def package(self, push: Push) -> Path:
        """Where a push's package lies."""
        return self._folder / "packages" / str(push.number)

    def digest(self, push: Push) -> str:
        """What a push's package is told apart by: its template, which names the code."""
        return _digest((self.package(push) / "template.yaml").read_text())

    def find(self, stack: str) -> Stack | None:
        """Look for a stack."""
        return find_stack(self.cloud.session(), stack, **self.cloud.client_options())

    def deployed(self, stack: str) -> str:
        """The digest of the package that a stack is deployed from."""
        found = self._cloudformation.get_template(StackName=stack, TemplateStage="Original")
        body = found["TemplateBody"]
        return _digest(body if isinstance(body, str) else json.dumps(body))

    def left_of(self, stack: Stack) -> dict[str, list[str]]:
        """What there still is whose name carries a stack's, by kind."""
        client = self.cloud.client

        def named(names: Iterable[str]) -> list[str]:
            return [each for each in names if stack.name in each]

        functions = client("lambda").get_paginator("list_functions").paginate()
        groups = client("logs").get_paginator("describe_log_groups").paginate()
        roles = client("iam").get_paginator("list_roles").paginate()
        machines = client("stepfunctions").list_state_machines()["stateMachines"]
        mappings = client("lambda").list_event_source_mappings()["EventSourceMappings"]
        alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
        schedules = client("scheduler").list_schedules()["Schedules"]
        targets = [
            client("scheduler").get_schedule(Name=each["Name"], GroupName=each["GroupName"])
            for each in schedules
        ]
        own_roles = (each["RoleName"] for page in roles for each in page["Roles"])
        return {
            "schedule": named(each["Target"]["Arn"] for each in targets),
            # Those of access.yaml are the administrator's.
            "role": [each for each in named(own_roles) if not each.endswith(_OF_ACCESS)],
            "queue": named(client("sqs").list_queues().get("QueueUrls", [])),
            "function": named(e["FunctionName"] for page in functions for e in page["Functions"]),
            "log group": named(
                each["logGroupName"] for page in groups for each in page["logGroups"]
            ),
            "stream": named(client("kinesis").list_streams()["StreamNames"]),
            "workflow": named(each["name"] for each in machines),
            "mapping": named(each["EventSourceArn"] for each in mappings),
            "alarm": named(each["AlarmName"] for each in alarms),
        }

    def _stack(self, name: str) -> Stack:
        found = self.find(name)
        if found is None:
            raise ActionError(f"there is no stack {name}")
        return found

    def _source(self, name: str) -> str:
        return (self.checkout / name).read_text()

    @property
    def _cloudformation(self) -> Any:
        return self.cloud.client("cloudformation")

    @cached_property
    def _ids(self) -> Mapping[str, str]:
        listed = self._cloudformation.list_stack_resources(StackName=PIPELINE)
        return {
            each["LogicalResourceId"]: each["PhysicalResourceId"]
            for each in listed["StackResourceSummaries"]
        }

    @property
    def _given(self) -> Mapping[str, str]:
        connection = "00000000-0000-0000-0000-000000000000"
        return {
            "ConnectionArn": f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/{connection}",
            "Repository": "rehearsal/express-batch",
            "Branch": "main",
        }

    @cached_property
    def _names(self) -> Mapping[str, str]:
        outputs = self._stack(PIPELINE).outputs
        roles = {
            f"{name}.Arn": f"arn:aws:iam::{ACCOUNT}:role/{each}"
            for name, each in self._ids.items()
            if name.endswith("Role")
        }
        return {
            "AWS::Partition": "aws",
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": REGION,
            "AWS::StackName": PIPELINE,
            **self._given,
            **self._ids,
            **roles,
            "ArtifactKey.Arn": outputs["ArtifactKeyArn"],
        }

    # --- who does it -----------------------------------------------------------------------------

    def _acting(self, role: str, then: str = "") -> Callable[[str], Any]:
        """Clients of one of the pipeline's roles or, through it, of another one."""
        with self._lock:
            session = self._sessions.get(f"{role} {then}")
            if session is None:
                session = self._taken_on(self.cloud.session(), self._names[f"{role}.Arn"])
                if then:
                    session = self._taken_on(session, then)
                self._sessions[f"{role} {then}"] = session

        def client(service: str) -> Any:
            with self._lock:  # a session makes one client at a time
                made: Any = session.client(service, **self.cloud.client_options())  # type: ignore[call-overload]
                return made

        return client

    def _taken_on(self, session: boto3.Session, arn: str) -> boto3.Session:
        sts: Any = session.client("sts", **self.cloud.client_options())
        taken = sts.assume_role(RoleArn=arn, RoleSessionName="rehearsal")["Credentials"]
        return boto3.Session(
            taken["AccessKeyId"],
            taken["SecretAccessKey"],
            taken["SessionToken"],
            region_name=REGION,
        )

    def _environment(self, role: str | None = None) -> dict[str, str]:
        """The environment of a command; nothing in it leads to an account of anybody's."""
        env = environment(self.checkout, self.cloud, self._folder / "home")
        if self._full:
            env["PYTHON3"] = sys.executable
        if role is not None:
            self._acting(role)
            known = self._sessions[f"{role} "].get_credentials()
            assert known is not None
            env |= {
                "AWS_ACCESS_KEY_ID": known.access_key,
                "AWS_SECRET_ACCESS_KEY": known.secret_key,
                "AWS_SESSION_TOKEN": str(known.token),
            }
        return env

    def _run(self, command: Sequence[str | Path], env: Mapping[str, str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.checkout,
            env=env,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise ActionError(_reason(done))
        return done.stdout

    def _settled(self, stack: str, waiter: str, client: Any = None) -> None:
        try:
            (client or self._cloudformation).get_waiter(waiter).wait(
                StackName=stack, WaiterConfig=_WAIT
            )
        except WaiterError as error:
            events = self._cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
            reasons = [
                f"{each['LogicalResourceId']}: {each.get('ResourceStatusReason')}"
                for each in events
                if "FAILED" in each["ResourceStatus"]
            ]
            raise ActionError("; ".join(reasons[-3:]) or str(error)) from error


def _parameters(given: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]


def _is_empty(reason: str) -> bool:
    return "didn't contain changes" in reason or "No updates" in reason


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _of_run(told: str) -> str:
    """What `batchctl verify --json` said last, in a few words.

    Raises ValueError when it came to no run.
    """
    line = json.loads(told.strip().rpartition("\n")[2])
    outcomes = ", ".join(f"{count} {name}" for name, count in line["outcomes"].items() if count)
    before = ", ".join(line["alarms"]["before"])
    rang = f"; {before} rang before" if before else ""
    return f"run {line['status']}: {outcomes or 'no users yet'}{rang}"


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a command failed: what its run came to, or the end of what it said."""
    try:
        return _of_run(done.stdout)
    except ValueError:
        said = (done.stdout + done.stderr).strip().splitlines()
        return "\n".join([line for line in said if not line.startswith("make: ")][-5:])
