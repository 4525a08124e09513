"""Runs: one slot, one name, one version."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.codec import dump_json
from batch_core.errors import ConfigurationError
from batch_core.run import (
    CLOCK_SKEW,
    SCHEDULED_TIME_ATTRIBUTE,
    TENANT_PATTERN,
    Run,
    Slot,
    slot_of,
)

STARTED = "2026-01-31T10:23:45.678Z"
LATER = "2026-12-31T00:00:00Z"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

milliseconds = st.integers(0, 4_000_000_000_000)


def at(millisecond: int) -> datetime:
    return EPOCH + timedelta(milliseconds=millisecond)


@pytest.mark.parametrize(
    ("scheduled", "run_id"),
    [
        ("2026-01-31T10:20:00Z", "demo-20260131T102000Z"),
        ("2026-01-31T19:20:00+09:00", "demo-20260131T102000Z"),
        ("2026-01-30T20:20:00-14:00", "demo-20260131T102000Z"),
        ("2026-01-31T10:20:00.250Z", "demo-20260131T102000.250Z"),
        ("2026-01-31T10:24:45.678Z", "demo-20260131T102445.678Z"),
        (None, "demo-20260131T102345.678Z"),
        ("", "demo-20260131T102345.678Z"),
        (SCHEDULED_TIME_ATTRIBUTE, "demo-20260131T102345.678Z"),
    ],
)
def test_a_slot_is_named_by_its_scheduled_time_or_else_by_its_start(
    scheduled: str | None, run_id: str
) -> None:
    assert slot_of("demo", scheduled, STARTED).run_id == run_id


@pytest.mark.parametrize(
    "scheduled",
    ["soon", "10:20", "2026-13-01T00:00:00Z", 7, "0001-01-01T00:00:00+01:00"],
)
def test_a_time_that_cannot_be_read_is_told(scheduled: str) -> None:
    with pytest.raises(ConfigurationError, match=r"scheduled_time is .*; give an ISO-8601 time"):
        slot_of("demo", scheduled, STARTED)
    with pytest.raises(ConfigurationError, match=r"started_at is .*; give an ISO-8601 time"):
        slot_of("demo", None, scheduled)


@given(st.datetimes(min_value=datetime.fromisoformat("1970-01-02")))
def test_a_time_without_a_zone_is_refused(time: datetime) -> None:
    with pytest.raises(ConfigurationError, match=r"scheduled_time is .*names no zone"):
        slot_of("demo", time.isoformat(), STARTED)


@given(st.datetimes(max_value=datetime.fromisoformat("1969-12-31"), timezones=st.just(UTC)))
def test_a_time_before_all_versions_is_refused(time: datetime) -> None:
    with pytest.raises(ConfigurationError, match="give a time after 1970"):
        slot_of("demo", time.isoformat(), STARTED)


@given(
    start=milliseconds,
    ahead=st.integers(-(10**9), 10**11),
    hours=st.integers(-12, 14),
)
def test_a_start_is_refused_exactly_if_it_lies_beyond_the_skew_of_clocks(
    start: int, ahead: int, hours: int
) -> None:
    zone = timezone(timedelta(hours=hours))
    scheduled = at(max(start + ahead, 0)).astimezone(zone).isoformat()
    started = at(start).isoformat()

    if max(start + ahead, 0) - start > CLOCK_SKEW / timedelta(milliseconds=1):
        with pytest.raises(ConfigurationError, match="later than the execution's start"):
            slot_of("demo", scheduled, started)
    else:
        assert slot_of("demo", scheduled, started).version == max(start + ahead, 0)


@given(milliseconds)
def test_a_version_is_the_slots_time_to_the_millisecond(millisecond: int) -> None:
    assert Slot("demo", at(millisecond)).version == millisecond


@given(milliseconds, milliseconds)
def test_slots_have_one_name_and_one_version_each(one: int, other: int) -> None:
    first, second = Slot("demo", at(one)), Slot("demo", at(other))
    assert (first.run_id == second.run_id) == (one == other) == (first.version == second.version)
    assert re.fullmatch(r"[a-z0-9TZ.-]{1,48}", first.run_id)


def test_a_day_with_a_change_of_the_clock_has_distinct_slots() -> None:
    before, after = "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"
    ids = {slot_of("demo", time, LATER).run_id for time in (before, after)}
    assert ids == {"demo-20261025T003000Z", "demo-20261025T013000Z"}


def test_a_run_is_read_back_and_small() -> None:
    run = Run("a" * 24 + "-20260131T102000.250Z", 1769854800000, 123456, 1000, 12.5, 1769855085.5)
    assert Run.from_json({**run.to_json(), "later": 1}) == run
    assert len(dump_json(run.to_json())) < 250


@pytest.mark.parametrize("field", ["id", "version", "fence", "group_size", "ends_at"])
def test_a_run_without_a_field_is_told(field: str) -> None:
    value = Run("r", 1, 1, 1, 0, 0).to_json()
    del value[field]
    with pytest.raises(ConfigurationError, match=rf"run\.{field}"):
        Run.from_json(value)


def test_each_lease_of_a_run_has_a_place_of_its_own() -> None:
    assert Run("r", 1, 1, 1, 0, 0).prefix != Run("r", 1, 2, 1, 0, 0).prefix


@pytest.mark.parametrize("name", ["a", "demo", "acme-2", "a" * 24])
def test_names_of_tenants(name: str) -> None:
    assert TENANT_PATTERN.fullmatch(name)


@pytest.mark.parametrize("name", ["", "2demo", "Demo", "de_mo", "-a", "a" * 25, "a/b", "demo\n"])
def test_names_that_no_tenant_has(name: str) -> None:
    assert not TENANT_PATTERN.fullmatch(name)
