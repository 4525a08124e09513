"""The tenant's API secret, read rarely."""

from __future__ import annotations

import time
from typing import Final

from batch_core.adapters.secrets import secret_text
from batch_core.errors import ConfigurationError
from batch_core.observability import logger

# A rotated secret is in use within this time, and at once where the API refuses the one before;
# each read is paid for and takes a round trip.
SECONDS: Final = 300.0
# How long a secret that is refused, and still the current one, is not read again.
RENEWAL_SECONDS: Final = 10.0


class ApiSecret:
    """Gives the secret's text; keeps it for five minutes.

    Parameters
    ----------
    arn
        Empty when the tenant's API needs no secret.
    """

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._text = ""
        self._until = self._read_at = 0.0

    def __call__(self) -> str | None:
        """Get the text, without the line end that editors leave in secrets.

        Raises
        ------
        ConfigurationError
            When it cannot be read, or could not be sent in a header.
        """
        if not self._arn:
            return None
        # The wall clock: a frozen environment's monotonic clock may stand still.
        if time.time() >= self._until:
            self._read()
        return self._text

    def renew(self, refused: str) -> str | None:
        """Read the secret again, since the API refuses this text; None if nothing else is known."""
        if self._text == refused and time.time() >= self._read_at + RENEWAL_SECONDS:
            try:
                self._read()
            except ConfigurationError as error:
                logger.warning("the API's secret cannot be read again", reason=str(error))
        return self._text if self._text != refused else None

    def _read(self) -> None:
        self._read_at = time.time()
        self._text = bearer_token(self._arn, secret_text(self._arn))
        self._until = self._read_at + SECONDS


def bearer_token(arn: str, text: str) -> str:
    """Take the token out of an API's secret, without the line end that editors leave.

    Raises
    ------
    ConfigurationError
        When it could not be sent in a header; names the secret, not the text.
    """
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigurationError(f"the secret {arn} must be one line of visible ASCII characters")
    return token
