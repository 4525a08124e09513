"""The scripts learn from their environment where the users are."""

from __future__ import annotations

import pytest

from batchctl.bench.place import Place

PLACE = Place(
    host="127.0.0.1",
    port=3306,
    database="batch_bench",
    user="batch_bench",
    password="s3cret'",
    ca_file="/ca.pem",
    api_url="http://127.0.0.1:8080/bench",
)


def test_a_place_survives_the_environment() -> None:
    assert Place.from_environment(PLACE.environment()) == PLACE


def test_a_variable_that_is_missing_is_named() -> None:
    environment = PLACE.environment()
    del environment["BENCH_API_URL"]

    with pytest.raises(KeyError, match="BENCH_API_URL"):
        Place.from_environment(environment)
