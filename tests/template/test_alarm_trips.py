"""Each alarm rings for what it is there for, and for nothing else: good and bad runs, played."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.template.alarms import NAMES
from tests.template.cloudwatch import Alarm, Metric, Point, filtered
from tests.template.deployed import Deployed
from tests.template.runs import good_run, of_aws, run, states

# Long enough for the longest warm-up, in runs of any schedule.
LEAD = 26
WARM_UP = 120
SCHEDULES = (5, 10, 37, 60)

type Happening = Callable[[float], list[Point]]


class Tenant:
    """A tenant since its schedule was switched on at minute 0."""

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes
        stack = Deployed(
            ScheduleState="ENABLED", CreateDatabaseProxy="true", ScheduleMinutes=str(minutes)
        )
        self.alarms = [Alarm.of(each) for each in stack.of_type("CloudWatch::Alarm").values()]
        self.filters = list(stack.of_type("Logs::MetricFilter").values())
        self.points: list[Point] = []
        self.now = 0.0

    def runs(self, *happenings: Happening) -> Tenant:
        """Let so many periods of the schedule pass, with this in each."""
        for happening in happenings:
            # A run's account comes some time after its start.
            self.points += happening(self.now + 1)
            self.now += self.minutes
        return self

    def ringing(self, *, at: float | None = None) -> set[str]:
        """Name the alarms that ring."""
        moment = round(self.now - self.minutes + 3 if at is None else at)
        return {
            alarm.name.removeprefix("batch-acme-")
            for alarm in self.alarms
            if alarm.rings(self.points, at=moment)
        }


def nothing(minute: float) -> list[Point]:
    return []


def failed_start(minute: float) -> list[Point]:
    """A run that its first function ended: it has an execution and no account."""
    return [states(minute, "ExecutionsFailed"), states(minute, "ExecutionTime", 900)]


def with_(*points: tuple[Metric, float], minutes: Iterable[float] = (0,)) -> Happening:
    """A good run, beside which AWS says something else, at one minute or at several."""

    def happening(minute: float) -> list[Point]:
        more = [
            Point(minute + later, metric, value) for later in minutes for metric, value in points
        ]
        return good_run(minute) + more

    return happening


def served(percent: float, **more: int) -> Happening:
    """A run in which so many of a thousand users were served, and the others left for later."""
    others = 1_000 - round(percent * 10)

    def happening(minute: float) -> list[Point]:
        tally = {"unchanged": 1_000 - others, "retry_later": others}
        return run(minute, tally=tally, **more)

    return happening


def unaccounted(minute: float) -> list[Point]:
    return run(minute, tally={"queued": 401, "unchanged": 599}, written={"stored": 400})


def put_aside(minute: float) -> list[Point]:
    tally = {"queued": 400, "unchanged": 600}
    return run(minute, tally=tally, written={"stored": 399, "rejected": 1})


def quarantined(minute: float) -> list[Point]:
    tally = {"unchanged": 940, "skipped": 60}
    return run(minute, tally=tally, held_back={"quarantined": 60})


def api_lines(throttled: int) -> Happening:
    """A good run in which the API answered some of a thousand requests with 429."""
    filters = Tenant(5).filters
    line = {"tenant": "acme", "meter": {"api_requests": 1_000, "api_throttled": throttled}}

    def happening(minute: float) -> list[Point]:
        taken = [point for each in filters for point in filtered(each, line, minute=minute)]
        return good_run(minute) + taken

    return happening


def timed_out(minute: float) -> list[Point]:
    return [states(minute, "ExecutionsTimedOut"), states(minute, "ExecutionTime", 285_000)]


def slow(minute: float) -> list[Point]:
    return [*good_run(minute), states(minute, "ExecutionTime", 250_000)]


WRITER = ("FunctionName", "<WriteRowsFunction>")
MAPPING = ("EventSourceMappingUUID", "<WriteRowsFunctionRows>")
AGE = of_aws("AWS/Lambda", "IteratorAge", *WRITER)
UNDELIVERED = of_aws("AWS/Lambda", "DestinationDeliveryFailures", *WRITER)
DROPPED = of_aws("AWS/Lambda", "DroppedEventCount", *MAPPING)
GIVEN_UP = of_aws("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", *MAPPING)
REFUSED = of_aws("AWS/Kinesis", "PutRecords.ThrottledRecords", "StreamName", "<RowStream>")
NOT_STARTED = of_aws("AWS/Scheduler", "InvocationDroppedCount", "ScheduleGroup", "<ScheduleGroup>")
LETTERS = of_aws(
    *("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    *("QueueName", "<ScheduleDeadLetterQueue.QueueName>"),
)
PROXY = ("ProxyName", "<DatabaseProxy>")
PINNED = of_aws("AWS/RDS", "DatabaseConnectionsCurrentlySessionPinned", *PROXY)
BORROWED = of_aws("AWS/RDS", "DatabaseConnectionsCurrentlyBorrowed", *PROXY)
WAIT = of_aws("AWS/RDS", "DatabaseConnectionsBorrowLatency", *PROXY)
# What a resource says minute by minute is looked at three minutes into a run.
MINUTES = (-1, 0, 1)


def lost_start(minute: float) -> list[Point]:
    return [Point(minute, NOT_STARTED, 1), Point(minute + 1, LETTERS, 1)]


# What happens in the last runs: which alarms ring then.
TROUBLE: list[tuple[str, list[Happening], set[str]]] = [
    ("a third of the runs skipped", [nothing, good_run], set()),
    ("failed starts", [failed_start] * 3, {"dead-man", "run-failed"}),
    ("one failed start", [failed_start], {"run-failed"}),
    ("one bad run of three", [served(80), good_run, good_run], set()),
    ("two bad runs of three", [served(94.9), good_run, served(94.9)], {"coverage", "coverage-low"}),
    ("at the limit", [served(95)] * 3, {"coverage-low"}),
    ("two runs a little short", [served(98.9), good_run, served(98.9)], {"coverage-low"}),
    ("at the lower limit", [served(99)] * 3, set()),
    ("one user unaccounted for", [unaccounted, good_run], {"accounting", "run-failed"}),
    ("long ago", [unaccounted, *[good_run] * 4], set()),
    ("a run at its time limit", [timed_out], {"timed-out"}),
    ("slow runs", [slow, slow], {"run-slow"}),
    ("one slow run", [slow], set()),
    ("a start lost", [lost_start], {"start-lost", "dead-letters"}),
    ("dead letters", [with_((LETTERS, 2), minutes=(1,))], {"dead-letters"}),
    ("a slow writer", [with_((AGE, 61_000), minutes=MINUTES)], {"writer-slow"}),
    ("a writer slow for a moment", [with_((AGE, 61_000))], set()),
    (
        "a writer behind",
        [with_((AGE, 1_801_000), minutes=MINUTES)],
        {"writer-slow", "writer-behind"},
    ),
    ("records dropped", [with_((DROPPED, 3)), good_run], {"rows-lost"}),
    ("records undelivered", [with_((UNDELIVERED, 3)), good_run], {"rows-lost"}),
    ("batches given up", [with_((GIVEN_UP, 3)), good_run], {"batches-given-up"}),
    ("a stream too narrow", [with_((REFUSED, 9))] * 2, {"stream-throttled"}),
    ("a stream too narrow once", [with_((REFUSED, 9)), good_run], set()),
    ("a row put aside", [put_aside, good_run], {"rows-put-aside"}),
    ("many in quarantine", [quarantined] * 2, {"users-quarantined"}),
    ("an API that is down", [served(99.5, stopped=5)] * 2, {"api-stopped"}),
    ("an API that was down", [served(99.5, stopped=5), good_run], set()),
    ("too many requests", [api_lines(51)] * 2, {"api-throttled"}),
    ("some requests too many", [api_lines(50)] * 2, set()),
    (
        "pinned sessions",
        [with_((PINNED, 31), (BORROWED, 100), minutes=MINUTES)],
        {"proxy-pinned"},
    ),
    ("few pinned", [with_((PINNED, 30), (BORROWED, 100), minutes=MINUTES)], set()),
    ("waits for connections", [with_((WAIT, 100_001), minutes=MINUTES)], {"proxy-busy"}),
]


@pytest.mark.parametrize("minutes", SCHEDULES)
@pytest.mark.parametrize(
    ("happenings", "rung"),
    [(happenings, rung) for _, happenings, rung in TROUBLE],
    ids=[name for name, _, _ in TROUBLE],
)
def test_trouble_rings_its_alarm_and_no_other(
    happenings: list[Happening], rung: set[str], minutes: int
) -> None:
    tenant = Tenant(minutes).runs(*[good_run] * LEAD, *happenings)

    assert tenant.ringing() == rung


def test_every_alarm_has_a_trouble_that_rings_it() -> None:
    assert set().union(*(rung for _, _, rung in TROUBLE)) == set(NAMES) - {"page"}


@pytest.mark.parametrize("minutes", SCHEDULES)
def test_a_healthy_tenant_rings_nothing_at_any_minute(minutes: int) -> None:
    tenant = Tenant(minutes).runs(*[good_run] * LEAD)
    last = round(tenant.now)

    rung = [tenant.ringing(at=minute) for minute in range(WARM_UP, last, 1 + minutes // 10)]

    assert set().union(*rung) == set()


@pytest.mark.parametrize("minutes", SCHEDULES)
def test_the_dead_man_rings_between_two_and_two_and_a_half_periods_after_the_last_run(
    minutes: int,
) -> None:
    tenant = Tenant(minutes).runs(*[good_run] * LEAD)
    last = tenant.now - minutes + 1

    assert tenant.ringing(at=last + 2 * minutes - 1) == set()
    assert tenant.ringing(at=last + 2 * minutes + 3) == {"dead-man"}


@pytest.mark.parametrize("minutes", SCHEDULES)
def test_a_schedule_that_was_only_just_switched_on_pages_nobody(minutes: int) -> None:
    tenant = Tenant(minutes)
    assert {name for at in range(WARM_UP) for name in tenant.ringing(at=at)} == set()

    # Nothing has run by then either: now somebody has to know.
    assert tenant.ringing(at=WARM_UP) == {"dead-man"}


@pytest.mark.parametrize("beyond", [0, 3, 30])
def test_it_does_not_matter_how_far_back_cloudwatch_looks(beyond: int) -> None:
    """It says that it does where points are missing; here none are."""
    tenant = Tenant(10).runs(*[good_run] * LEAD, served(80), *[good_run] * 4, served(80))
    at = round(tenant.now - 10 + 3)

    assert [a.name for a in tenant.alarms if a.rings(tenant.points, at=at, beyond=beyond)] == []


def test_a_day_without_a_proxy_or_an_api_call_is_no_division_by_nothing() -> None:
    tenant = Tenant(10).runs(*[nothing] * LEAD)

    assert tenant.ringing() == {"dead-man"}
