from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.jsonata import Jsonata


@pytest.fixture(scope="session")
def jsonata() -> Iterator[Jsonata]:
    with Jsonata() as engine:
        yield engine
