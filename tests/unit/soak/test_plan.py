"""What a soak has in store: the seed alone decides, and the plan can be carried out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.soak.plan import Event, Kind, Plan, Population

plans = st.builds(
    Plan.of,
    seed=st.integers(0, 2**63),
    seconds=st.floats(1, 90),
    users=st.integers(1, 60),
)
AWAY = {Kind.DATABASE_KILLED, Kind.DATABASE_STOPPED}


def test_the_same_seed_is_the_same_plan_and_another_one_is_not() -> None:
    plan = Plan.of(seed=7, seconds=60, users=100)

    assert Plan.of(seed=7, seconds=60, users=100) == plan
    assert Plan.of(seed=8, seconds=60, users=100).events != plan.events


def test_ten_minutes_hold_every_kind_of_event() -> None:
    plan = Plan.of(seed=1, seconds=600, users=400)

    assert {event.kind for event in plan.events} == set(Kind)


@given(plans)
def test_events_come_in_order_and_within_the_time(plan: Plan) -> None:
    moments = [event.at for event in plan.events]

    assert moments == sorted(moments)
    assert all(0 <= at <= plan.seconds for at in moments)


@given(plans)
def test_what_breaks_is_mended_by_the_end(plan: Plan) -> None:
    away = ill = False
    for event in plan.events:
        if event.kind in AWAY or event.kind is Kind.DATABASE_BACK:
            assert away == (event.kind is Kind.DATABASE_BACK)
            away = not away
        if event.kind.name.startswith("API_"):
            assert ill == (event.kind is Kind.API_WELL)
            ill = not ill

    assert (away, ill) == (False, False)


@given(plans)
def test_nothing_is_asked_of_a_database_that_is_away(plan: Plan) -> None:
    away = False
    for event in plan.events:
        if event.kind in AWAY or event.kind is Kind.DATABASE_BACK:
            away = event.kind in AWAY

        assert not (away and event.kind.needs_database)


@given(plans)
def test_only_those_who_are_there_are_concerned_and_nobody_comes_back_from_the_dead(
    plan: Plan,
) -> None:
    population = Population.of(plan.users)
    for event in plan.events:
        users = set(event.users)
        if event.kind is Kind.ADDED:
            assert not users & (population.active | population.inactive | population.deleted)
        elif event.kind is Kind.REACTIVATED:
            assert users <= population.inactive
        elif event.kind.needs_database:
            assert users <= population.active
        population.change(event)

    assert plan.population == population


def test_an_event_says_in_words_how_much_and_whom() -> None:
    assert Event(1, Kind.API_ERRORS, amount=0.25).line == "API answers 500 at times: 25%"
    assert Event(1, Kind.API_SLOW, amount=300).line == "API slow: 300 ms"
    assert Event(1, Kind.WORKERS_KILLED, amount=2).line == "Lambda workers killed: 2"
    assert Event(1, Kind.DELETED, users=(1, 2, 3, 9, 11)).line == "users deleted: 1 2 3 and 2 more"
