"""When the API's secret is read, and read again."""

from __future__ import annotations

import pytest

from batch_core.adapters import api_secret
from batch_core.adapters.api_secret import RENEWAL_SECONDS, SECONDS, ApiSecret
from batch_core.errors import ConfigurationError


class Place:
    """Where the secret is kept; a text of None cannot be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.text: str | None = "old"
        self.reads = 0
        self.now = 1_000_000.0
        monkeypatch.setattr(api_secret, "secret_text", self._read)
        monkeypatch.setattr(api_secret.time, "time", lambda: self.now)  # type: ignore[attr-defined]

    def _read(self, _arn: str) -> str:
        self.reads += 1
        if self.text is None:
            raise ConfigurationError("away")
        return self.text


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def test_a_secret_is_kept_for_five_minutes(place: Place) -> None:
    secret = ApiSecret("arn")
    assert [secret(), secret(), place.reads] == ["old", "old", 1]
    place.text, place.now = "new", place.now + SECONDS
    assert [secret(), place.reads] == ["new", 2]


def test_a_secret_that_is_refused_is_read_again_before_that(place: Place) -> None:
    secret = ApiSecret("arn")
    secret()
    place.text, place.now = "new", place.now + RENEWAL_SECONDS
    assert [secret.renew("old"), secret(), place.reads] == ["new", "new", 2]
    # Whoever was refused at the same time hears of it without another look.
    assert [secret.renew("old"), place.reads] == ["new", 2]


def test_one_that_is_refused_and_still_the_current_one_is_not_read_at_every_refusal(
    place: Place,
) -> None:
    secret = ApiSecret("arn")
    secret()
    place.now += RENEWAL_SECONDS
    assert [secret.renew("old") for _ in range(5)] == [None] * 5
    assert place.reads == 2


def test_a_secret_that_cannot_be_read_again_is_the_one_before(place: Place) -> None:
    secret = ApiSecret("arn")
    secret()
    place.text, place.now = None, place.now + RENEWAL_SECONDS
    assert [secret.renew("old"), secret()] == [None, "old"]
