"""Whatever lies on the stream, the writer moves on and the rows around it are stored."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_core.codec import compress
from batch_core.write_rows import RowWriter
from tests.support.fakes import FakePayloadStore
from tests.support.world import TABLE, MySqlWorld

RUN = "demo-20260131T100000Z"
FINE: dict[str, Any] = {
    "v": 1,
    "tenant": "demo",
    "run": RUN,
    "chunk": 0,
    "group": 0,
    "version": 5,
    "trace": "",
    "segment": "",
    "part": 0,
    "columns": ["user_id", "text", "data"],
    "rows": [[1, "fine", None]],
}

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["user_id", "text", "version", "no such"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
column = st.sampled_from(
    ["user_id", "USER_ID", "text", "data", "version", "VERSION", "Version", "a b", "", 5, None]
)
odd_rows = st.lists(st.tuples(anything, anything, anything), max_size=4)
odd_entries = st.lists(
    st.lists(anything | st.integers(-1, 70_000), min_size=1, max_size=4), max_size=4
)
fields = (
    st.fixed_dictionaries({}, optional=dict.fromkeys(FINE, anything))
    | st.fixed_dictionaries({"columns": st.lists(column, min_size=3, max_size=3)})
    | st.fixed_dictionaries({"rows": odd_rows})
    | st.fixed_dictionaries({"failures": odd_entries, "rows": odd_rows})
    | st.fixed_dictionaries({"marks": odd_entries})
    | st.fixed_dictionaries({}, optional=dict.fromkeys(("run", "trace", "segment"), st.text()))
)


def delivery(n: int, plain: dict[str, Any]) -> dict[str, Any]:
    # The standard library writes what orjson would not: NaN, infinities, unpaired surrogates.
    data = b64encode(compress(json.dumps(plain).encode())).decode()
    return {"kinesis": {"sequenceNumber": str(n), "data": data}}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=fields)
def test_no_record_stops_the_shard(mysql_world: MySqlWorld, changes: dict[str, Any]) -> None:
    mysql_world.empty()
    mysql_world.people(1, 2, 3)
    store = FakePayloadStore()
    write = RowWriter("demo", TABLE, mysql_world.rows, lambda: store)
    around = [FINE | {"group": n, "rows": [[n, "around", None]]} for n in (2, 3)]
    odd = FINE | {"version": 1} | changes

    event = {"Records": [delivery(n, r) for n, r in enumerate([around[0], odd, around[1]])]}

    assert write(event) == {"batchItemFailures": []}
    stored = mysql_world.notes()
    assert {2, 3} <= set(stored)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": ["user_id", "text", "VERSION"]},
        {"columns": ["user_id", "text", "Version"]},
        {"failures": [[[1, 2], 3]]},
        {"failures": [[1, -1]]},
        {"failures": [["x" * 300, 1]]},
        {"marks": [[[1], 1, "http_500"]]},
        {"chunk": 1e300},
        {"run": "demo-\u5e74"},
        {"run": "../../other"},
        {"trace": "x" * 100_000},
        {"tenant": ["demo"]},
    ],
    ids=str,
)
def test_a_hostile_record_is_put_aside_like_any_other(
    mysql_world: MySqlWorld, changes: dict[str, Any]
) -> None:
    mysql_world.people(1, 2, 3)
    store = FakePayloadStore()
    write = RowWriter("demo", TABLE, mysql_world.rows, lambda: store)

    write({"Records": [delivery(1, FINE | changes), delivery(2, FINE | {"rows": [[2, "", None]]})]})

    assert set(mysql_world.notes()) == {2}
    assert list(store.objects) == ["quarantine/records/1.json"]
    assert len(store.objects["quarantine/records/1.json"]) < 400_000
