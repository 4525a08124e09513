"""The moment that a run's name tells."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_core.run import Slot
from batchctl.errors import UsageError
from batchctl.trace.moment import slot_of_run, window


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.from_regex(r"[a-z](-?[a-z0-9]){0,22}", fullmatch=True),
)
def test_the_name_of_a_run_is_read_as_it_was_made(at: datetime, tenant: str) -> None:
    whole = at.replace(tzinfo=UTC, microsecond=at.microsecond // 1000 * 1000)
    slot = Slot(tenant, whole)
    assert slot_of_run(slot.run_id) == slot


@pytest.mark.parametrize("name", ["", "acme", "acme-2026", "acme-20260131T102000", 'a"b-1Z'])
def test_what_is_no_name_of_a_run_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UsageError, match="acme-20260131T102000Z"):
        slot_of_run(name)


def test_logs_are_looked_for_from_before_the_moment_until_the_stream_gives_up() -> None:
    since_ms, until_ms = window(slot_of_run("acme-20260131T102000Z"))
    at_ms = datetime(2026, 1, 31, 10, 20, tzinfo=UTC).timestamp() * 1000
    assert since_ms < at_ms
    assert until_ms - at_ms > 60 * 60 * 1000
