"""The tenant's API secret, read rarely."""

from __future__ import annotations

import time
from typing import Final

from batch_core.adapters.secrets import secret_text
from batch_core.errors import ConfigurationError

# A rotated secret is in use within this time; each read is paid for and takes a round trip.
SECONDS: Final = 300.0


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
        self._until = 0.0

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
            text = secret_text(self._arn).strip()
            if not text or not text.isascii() or not text.isprintable():
                raise ConfigurationError(
                    f"the secret {self._arn} must be one line of visible ASCII characters"
                )
            self._text, self._until = text, time.time() + SECONDS
        return self._text
