"""What is rehearsed: five tenants, a push, four broken ones, a repair, a tenant more, one less.

Every act says what it expects; what is not as expected fails the rehearsal.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import yaml

from batchctl.commands.seed import seed_users
from batchctl.local import sam
from batchctl.local.cloud import schema_name
from batchctl.local.servers import REGION
from batchctl.tenants.project import Project
from sampleapi.admin import SampleApiAdmin
from tests.rehearsal.place import ACCOUNT, Place
from tests.rehearsal.play import Done, Passage, Pipeline, Push

WAVES: Final[Mapping[str, int]] = {
    "canary": 0,
    "acme": 1,
    "globex": 1,
    "initech": 2,
    "umbrella": 2,
}
NEW, GONE = "hooli", "umbrella"
USERS: Final = 50
# Fewer of everything: each invocation is a process of this machine.
SIZES: Final = {"UsersPerInvocation": USERS, "ChunkConcurrency": 1, "GroupConcurrency": 2}
# What a stack is made of that must go with it.
MADE: Final = ("schedule", "role", "queue", "function", "log group", "stream", "workflow")
JOB: Final = "layers/job/job.py"
BROKEN: Final = ('told.get("score")', 'told.get("points")')
BROKEN_TOO: Final = ('told.get("action")', 'told.get("deed")')
_REQUEST: Final = "    return Request("
LISTS_NOBODY: Final = ("WHERE u.active = 1", "WHERE u.active = 2")
ASKS_NOBODY: Final = (_REQUEST, f'    raise RejectError("nobody is asked")\n{_REQUEST}')
_NOTE: Final = '_text(told.get("note"), "note", 500)'
GOOD: Final = (_NOTE, f"{_NOTE}.strip()")


@dataclass(frozen=True)
class State:
    """What one tenant runs: the digest of its package, and the version that its workflow calls."""

    package: str
    version: int


@dataclass(frozen=True)
class Row:
    """What became of one tenant in one act."""

    act: str
    tenant: str
    before: State | None
    after: State | None
    result: str
    seconds: float


class Show(Protocol):
    """Is told of everything while it happens."""

    def act(self, title: str) -> None: ...
    def done(self, done: Done) -> None: ...
    def typed(self, command: str, seconds: float) -> None: ...
    def expected(self, what: str, held: bool) -> None: ...


@dataclass
class Rehearsal:
    """Plays the acts, and keeps what became of whom and what was not as expected."""

    place: Place
    show: Show
    rows: list[Row] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    left_out: str = ""

    _job: str = ""

    def __post_init__(self) -> None:
        self._pipeline = Pipeline(self.place, self.show.done)

    def play(self) -> None:
        """Play all of it."""
        self._prepare()
        first = self._first_push()
        self._broken_pushes(first)
        self._good_push()
        self._one_more()
        self._one_less()

    # --- the acts --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self.show.act("A checkout, the pipeline's own stack, and what each tenant is given first")
        self.place.make_checkout()
        self._job = (self.place.checkout / JOB).read_text()
        self._write_canary()
        for tenant, wave in WAVES.items():
            if wave > 0:
                self._add(tenant, wave)
        self._type("batchctl tenants render")
        self.place.make_pipeline()
        for tenant in WAVES:
            self.place.grant(tenant)

    def _first_push(self) -> Push:
        self.show.act("The first push: packaged once, the canary, then two waves of two tenants")
        push = self.place.push("Five tenants")
        passage = self._through(push, WAVES)
        self._expect("it went through every stage", not passage.stopped_in)
        self._expect("each tenant runs its package", self._packages() == {self.place.digest(push)})
        for tenant in WAVES:
            self._seed(tenant)
        return push

    def _broken_pushes(self, good: Push) -> None:
        self.show.act("A broken push: the job reads a field that the API does not have")
        self._stopped_by_the_canary(self._change("Points instead of scores", *BROKEN), good)
        self.show.act("Another behind it: an alarm rings, and who failed is asked all the same")
        passage = self._stopped_by_the_canary(self._change("Deeds, not actions", *BROKEN_TOO), good)
        failed = next(each for each in passage.done if each.action == "canary-verify")
        self._expect("everybody was asked", f"{USERS} rejected" in failed.told)
        self.show.act("A push that asks nobody, of a tenant whose runs may reject everybody")
        self._set_canary(MaxRejectedPercent=100)
        self._stopped_by_the_canary(self._change("Ask nobody", *ASKS_NOBODY), good)
        self._set_canary(MaxRejectedPercent=5)
        self.show.act("A push that lists nobody, of a tenant that had users")
        self._stopped_by_the_canary(self._change("List nobody", *LISTS_NOBODY), good)

    def _stopped_by_the_canary(self, push: Push, good: Push) -> Passage:
        before = self._states()
        passage = self._through(push, WAVES)
        after = self._states()
        others = [tenant for tenant in WAVES if tenant != "canary"]
        self._expect("the canary was not verified", passage.stopped_in == "Canary")
        self._expect("what was good came back", passage.rolled_back_to == good)
        self._expect(
            "the canary runs and is well again",
            after["canary"].package == before["canary"].package and self._is_well(passage),
        )
        self._expect("nobody else was touched", all(after[each] == before[each] for each in others))
        return passage

    def _good_push(self) -> None:
        self.show.act("A repair: the job strips what the API wrote, and an alarm rings still")
        self._expect("an alarm of the failed runs rings", bool(self._canary_rings()))
        before = self._states()
        push = self._change("Notes without blanks around them", *GOOD)
        passage = self._through(push, WAVES)
        after = self._states()
        self._expect("it went through every stage", not passage.stopped_in)
        self._expect("with the alarm ringing all along", bool(self._canary_rings()))
        self._expect("each tenant runs its package", self._packages() == {self.place.digest(push)})
        self._expect(
            "each tenant's workflow calls new versions",
            all(after[each].version > before[each].version for each in WAVES),
        )
        self._expect(
            f"each tenant's {USERS} users were stored",
            all(f"{USERS} stored" in done.told for done in passage.done if "verify" in done.action),
        )

    def _one_more(self) -> None:
        self.show.act("A new tenant by hand: one file, two commands")
        answer = json.loads(self._add(NEW, max(WAVES.values())))
        with self._row(NEW) as told:
            deploy, verify = answer["next"]
            self._type(deploy)
            told.append(f"first run {self._verified(verify)['status']}")
        self._expect("its first run is done", "SUCCEEDED" in self.rows[-1].result)
        self._seed(NEW)
        stored = self._verified(verify)["outcomes"]["stored"]
        self._expect(f"its {USERS} users are stored by the next", stored == USERS)

    def _verified(self, command: str) -> Mapping[str, Any]:
        # No metric arrives late here.
        line = self._type(f"{command} --json --alarm-seconds 0").strip().rpartition("\n")[2]
        said: Mapping[str, Any] = json.loads(line)
        return said

    def _one_less(self) -> None:
        self.show.act("A tenant is removed, and what it stored is kept")
        stack = self.place.find(f"batch-{GONE}")
        assert stack is not None
        bucket, rows = stack.payload_bucket, self._rows_of(GONE)
        others = {each: state for each, state in self._states().items() if each != GONE}
        made = {kind for kind, names in self.place.left_of(stack).items() if names}
        self._expect(f"of it there are {', '.join(MADE)}", made >= set(MADE))
        with self._row(GONE) as told:
            answer = json.loads(self._type(f"batchctl tenants remove {GONE} --json"))
            for command in answer["next"]:
                self._type(command)
            told.append("removed")
        left = self.place.left_of(stack)
        self._expect(
            f"no {', '.join(left)} is left of it", not [each for each in left.values() if each]
        )
        listed = self.place.cloud.client("s3").list_objects_v2(Bucket=bucket)
        self.kept = [
            f"bucket {bucket}: {listed['KeyCount']} objects",
            f"schema {schema_name(GONE)}: {self._rows_of(GONE)} rows",
            f"secret batch/{GONE}/database",
        ]
        self._expect("its bucket is kept", listed["KeyCount"] > 0)
        self._expect("its rows are kept", self._rows_of(GONE) == rows == USERS)
        self._expect(
            "the others are as they were",
            all(self._find_state(each) == state for each, state in others.items()),
        )

    # --- what they are made of -------------------------------------------------------------------

    def _through(self, push: Push, tenants: Mapping[str, int]) -> Passage:
        before = self._states()
        act = f"{push.number}. {push.title}"
        passage = self._pipeline.play(push, self.place.stages)
        for tenant in tenants:
            own = [each for each in passage.done if each.action.startswith(f"{tenant}-")]
            self.rows.append(
                Row(
                    act,
                    tenant,
                    before.get(tenant),
                    self._find_state(tenant),
                    result(own),
                    sum(each.seconds for each in own),
                )
            )
        build = next((each for each in passage.done if each.action == "Build"), None)
        if build is not None and "left to CI" in build.told:
            self.left_out = build.told.partition("left to CI: ")[2]
        return passage

    @contextmanager
    def _row(self, tenant: str) -> Iterator[list[str]]:
        told: list[str] = []
        before, started = self._find_state(tenant), time.monotonic()
        yield told
        seconds = time.monotonic() - started
        after = self._find_state(tenant)
        self.rows.append(Row("by hand", tenant, before, after, ", ".join(told), seconds))

    def _change(self, title: str, old: str, new: str) -> Push:
        """Change the job as it was at first, and let every user do something new."""
        self.place.take_last()  # a rollback has left what was pushed before
        assert self._job.count(old) == 1, f"{JOB} has changed: adapt the rehearsal"
        (self.place.checkout / JOB).write_text(self._job.replace(old, new))
        accounts = [f"u-{number:06d}" for number in range(1, USERS + 1)]
        for tenant in WAVES:
            SampleApiAdmin(self.place.cloud.sample_api_url, tenant).touch(*accounts)
        return self.place.push(title)

    def _set_canary(self, **parameters: int) -> None:
        self.place.take_last()
        file = Project(self.place.checkout).file
        written = yaml.safe_load(file.read_text())
        written["tenants"][0]["parameters"] |= parameters
        file.write_text(yaml.safe_dump(written, sort_keys=False))
        self._type("batchctl tenants render")

    def _canary_rings(self) -> Sequence[str]:
        return self.place.ringing("batch-canary").before

    def _write_canary(self) -> None:
        database = self.place.cloud.database_server
        name = "canary"
        shared = {
            "Architecture": sam.architecture(),
            "ApiAllowPrivateAddresses": True,
            "DatabaseEndpoint": database.host,
            "DatabasePort": database.port,
            "DatabaseCaFile": str(database.ca_file),
            **SIZES,
        }
        own = {
            "ApiBaseUrl": f"{self.place.cloud.sample_api_url}/{name}",
            "DatabaseName": schema_name(name),
            "DatabaseUser": schema_name(name),
            "DatabaseSecretArn": self.place.make_database(name),
        }
        written = {
            "defaults": {"account": ACCOUNT, "region": REGION, "parameters": shared},
            "tenants": [{"name": name, "wave": 0, "parameters": own}],
        }
        Project(self.place.checkout).file.write_text(yaml.safe_dump(written, sort_keys=False))

    def _add(self, tenant: str, wave: int) -> str:
        url = f"{self.place.cloud.sample_api_url}/{tenant}"
        secret = self.place.make_database(tenant)
        return self._type(
            f"batchctl tenants add {tenant} --wave {wave} --api-base-url {url}"
            f" --set DatabaseSecretArn={secret} --json"
        )

    def _type(self, command: str) -> str:
        started = time.monotonic()
        out = self.place.type(command)
        self.show.typed(command, time.monotonic() - started)
        return out

    def _seed(self, tenant: str) -> None:
        with self.place.cloud.database(tenant) as connection:
            seed_users(connection, USERS)

    def _rows_of(self, tenant: str) -> int:
        with self.place.cloud.database(tenant) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM user_activity")
            ((count,),) = cursor.fetchall()
            return int(count)

    def _expect(self, what: str, held: bool) -> None:
        self.show.expected(what, held)
        if not held:
            self.broken.append(what)

    def _is_well(self, passage: Passage) -> bool:
        back = [each for each in passage.done if each.rolling_back]
        return bool(back) and all(each.ok for each in back)

    def _packages(self) -> set[str]:
        return {state.package for state in self._states().values()}

    def _states(self) -> dict[str, State]:
        found = {tenant: self._find_state(tenant) for tenant in WAVES}
        return {tenant: state for tenant, state in found.items() if state is not None}

    def _find_state(self, tenant: str) -> State | None:
        stack = self.place.find(f"batch-{tenant}")
        if stack is None or "StateMachineArn" not in stack.outputs:
            return None
        machine: Any = self.place.cloud.client("stepfunctions").describe_state_machine(
            stateMachineArn=stack.state_machine_arn
        )
        called = re.findall(r"function:[^:\"]+:(\d+)", machine["definition"])
        return State(self.place.deployed(stack.name), max(map(int, called)))


def result(own: Sequence[Done]) -> str:
    """What became of a tenant, from what was done to it."""
    if not own:
        return "not reached"
    last = own[-1]
    forward = [each for each in own if not each.rolling_back]
    if last.rolling_back:
        failed = forward[-1].action.rpartition("-")[2]
        told = "rolled back" if last.ok else "and so did the way back"
        return f"{failed} failed, {told}: {last.told}"
    return last.told if last.ok else f"{last.action.rpartition('-')[2]} failed: {last.told}"
