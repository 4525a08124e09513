"""Does to a tenant and its surroundings what the plan says."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from random import Random
from typing import Any, Final

from batch_core.adapters.kinesis import KinesisRecordStream
from batchctl.local import processes
from batchctl.local.processes import ProcessId
from sampleapi.activity import activity
from sampleapi.admin import SampleApiAdmin
from tests.soak.plan import Event, Kind
from tests.soak.tenant import SHORT_NOTE, TENANT, Tenant, account

# Records that may be delivered again: those of the last runs.
_REMEMBERED: Final = 200
_STARTED_AFTER_S: Final = 10.0
# One user's next answers; each of these is one answer or several in a row.
_ODD: Final[tuple[list[dict[str, Any]], ...]] = (
    [{"close": True}] * 3,
    [{"truncate": True, "body": "{"}] * 2,
    [{"status": 404}],
    [{"status": 503}] * 4,
    [{"body": '{"account": NaN}'}],
    [{"body": "a page of an unwell proxy"}],
    [{"status": 401}],
    [{"delay_ms": 6_000}],
)


class Injector:
    """Carries events out, one after the other."""

    def __init__(self, tenant: Tenant) -> None:
        self.database_is_away = False
        self._tenant = tenant
        self._admin = SampleApiAdmin(tenant.cloud.sample_api_url, TENANT)
        self._admin.reset()
        self._kinesis = tenant.cloud.client("kinesis")
        stream = tenant.stack.stream_name
        self._stream = KinesisRecordStream(stream, client=self._kinesis)
        self._iterators = [
            self._kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
            )["ShardIterator"]
            for shard in self._kinesis.list_shards(StreamName=stream)["Shards"]
        ]
        self._records: deque[tuple[str, bytes]] = deque(maxlen=_REMEMBERED)

    def carry_out(self, event: Event) -> None:
        """Do what an event says; the starts of runs are somebody else's."""
        for part in (self._database, self._api, self._people, self._machinery):
            part(event)

    def touch(self, *users: int) -> None:
        """Let some users do something new."""
        self._admin.touch(*(account(user) for user in users))

    def stop(self) -> None:
        """Leave everything well, whatever the plan still had in store."""
        self._admin.reset()
        self._tenant.cloud.database_server.start()
        self.database_is_away = False

    def _database(self, event: Event) -> None:
        server = self._tenant.cloud.database_server
        match event.kind:
            case Kind.DATABASE_KILLED:
                self.database_is_away = True
                server.kill()
            case Kind.DATABASE_STOPPED:
                self.database_is_away = True
                server.stop()
            case Kind.DATABASE_BACK:
                server.start()
                self.database_is_away = False

    def _api(self, event: Event) -> None:
        match event.kind:
            case Kind.API_ERRORS:
                self._admin.settings(error_rate=event.amount, seed=event.draw)
            case Kind.API_THROTTLES:
                self._admin.settings(throttle_rate=event.amount, seed=event.draw)
            case Kind.API_SLOW:
                half = event.amount / 2
                self._admin.settings(latency_ms=half, latency_jitter_ms=half)
            case Kind.API_DOWN:
                self._admin.settings(error_rate=1)
            case Kind.API_WELL:
                self._admin.settings(
                    error_rate=0, throttle_rate=0, latency_ms=0, latency_jitter_ms=0
                )
            case Kind.ODD_ANSWERS:
                random = Random(event.draw)
                self._admin.script({account(user): random.choice(_ODD) for user in event.users})
            case Kind.ROWS_REFUSED:
                self._admin.script({account(user): [_too_long(user)] for user in event.users})
                self.touch(*event.users)

    def _people(self, event: Event) -> None:
        match event.kind:
            case Kind.TOUCHED:
                self.touch(*event.users)
            case Kind.ADDED:
                self._tenant.add(event.users)
            case Kind.DEACTIVATED | Kind.REACTIVATED:
                self._tenant.activate(event.users, active=event.kind is Kind.REACTIVATED)
            case Kind.DELETED:
                self._tenant.delete(event.users)

    def _machinery(self, event: Event) -> None:
        match event.kind:
            case Kind.WORKERS_KILLED:
                self._kill_workers(Random(event.draw), int(event.amount))
            case Kind.REDELIVERED:
                self._deliver_again(Random(event.draw), event.amount)

    def _kill_workers(self, random: Random, count: int) -> None:
        # The first of them is MiniStack itself. With one that is being started, unlike Lambda, it
        # gives up all that are being started for the function: no run would ever get far.
        _, *workers = sorted(
            (
                found
                for found in processes.find(self._tenant.cloud.home, "ministack")
                if _old(found)
            ),
            key=lambda process: (process.started, process.pid),
        )
        for worker in random.sample(workers, min(count, len(workers))):
            processes.send(worker, signal.SIGKILL)

    def _deliver_again(self, random: Random, share: float) -> None:
        self._records.extend(self._new_records())
        chosen = [record for record in self._records if random.random() < share]
        random.shuffle(chosen)
        if chosen:
            self._stream.put(chosen)

    def _new_records(self) -> list[tuple[str, bytes]]:
        found = []
        for n, iterator in enumerate(self._iterators):
            following = iterator
            while True:
                answer = self._kinesis.get_records(ShardIterator=following)
                following = answer["NextShardIterator"]
                if not answer["Records"]:
                    break
                found += [(each["PartitionKey"], each["Data"]) for each in answer["Records"]]
            self._iterators[n] = following
        return found


def _old(process: ProcessId) -> bool:
    """Whether a worker has long been started."""
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return uptime - process.started / os.sysconf("SC_CLK_TCK") > _STARTED_AFTER_S


def _too_long(user: int) -> dict[str, Any]:
    """An answer that the job accepts and the shortened column does not."""
    told = activity(TENANT, account(user), 0)
    return {"body": json.dumps({**told, "note": "n" * (SHORT_NOTE + 1)})}
