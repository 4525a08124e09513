"""Whatever lies on the stream, the writer moves on and the rows around it are stored."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

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
column = st.sampled_from(["user_id", "USER_ID", "text", "data", "version", "a b", "", 5, None])
odd_rows = st.lists(st.tuples(anything, anything, anything), max_size=4)
fields = (
    st.fixed_dictionaries({}, optional=dict.fromkeys(FINE, anything))
    | st.fixed_dictionaries({"columns": st.lists(column, min_size=3, max_size=3)})
    | st.fixed_dictionaries({"rows": odd_rows})
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
