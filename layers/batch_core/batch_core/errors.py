"""What can go wrong, as one tree.

::

    BatchError
    +-- ConfigurationError      a setting, a parameter or the execution's input is wrong
    +-- JobError                layers/job does not keep the interface of batch_core.job
    +-- PayloadError            a payload in S3 or in a claim cannot be trusted
    |   +-- PayloadMissingError     it is not there
    |   +-- PayloadAlteredError     it is not what was written
    |   +-- PayloadForeignError     it belongs to another run
    |   +-- PayloadTooLargeError    it passes the limit for its kind
    +-- StreamError             records could not be put on the stream
    +-- DatabaseError           the database refused or could not be reached
    |   +-- TransientDatabaseError  try again: lost connection, deadlock, read-only, full
    |   |   +-- UnreachableDatabaseError  no connection could be opened: try in a new environment
    |   +-- DataError               this row cannot be stored, others can
    |   +-- GoneError               the user this row belongs to no longer exists
    |   +-- SchemaError             the tables, or the query, are not what the other expects
    |   +-- AccessError             the database refused the credentials, or a right
    |   +-- UnknownDatabaseError    an error of which nobody said whose fault it is
    +-- MigrationError          a numbered SQL file cannot be applied

The workflow never branches on these classes: what becomes of a user is an
:class:`~batch_core.outcomes.Outcome`; an exception that leaves a handler is an infrastructure
failure and ends in the Catch of its state.
"""

from __future__ import annotations

from typing import ClassVar


class BatchError(Exception):
    """Anything this project raises on purpose.

    Attributes
    ----------
    ends_environment
        Whether the execution environment is of no more use, so that the next invocation is better
        served by a new one.
    """

    ends_environment: ClassVar[bool] = False


class ConfigurationError(BatchError):
    """A setting, a parameter or the execution's input is wrong; the text names it."""


class JobError(BatchError):
    """The job does not keep the interface of :mod:`batch_core.job`."""


class PayloadError(BatchError):
    """A payload in S3 or in a claim cannot be trusted."""


class PayloadMissingError(PayloadError):
    """The object a claim or a chunk points to is not there."""


class PayloadAlteredError(PayloadError):
    """The payload is not the one that was written."""


class PayloadForeignError(PayloadError):
    """The payload belongs to another run."""


class PayloadTooLargeError(PayloadError):
    """The payload passes the limit for its kind."""


class StreamError(BatchError):
    """Some records could not be put on the stream, all retries included."""


class DatabaseError(BatchError):
    """The database refused a statement or could not be reached.

    Parameters
    ----------
    text
        What may be logged: it holds no values of users.
    told
        The database's own words, with the values, if they are not `text`.
    """

    def __init__(self, text: str, *, told: str = "") -> None:
        super().__init__(text)
        self.told = told or text


class TransientDatabaseError(DatabaseError):
    """The same statement may work later: lost connection, deadlock, read-only, full."""


class UnreachableDatabaseError(TransientDatabaseError):
    """No connection could be opened; perhaps from another environment, with other credentials."""

    ends_environment = True


class DataError(DatabaseError):
    """One of the rows of the statement cannot be stored; others can."""


class GoneError(DatabaseError):
    """A row of the statement belongs to a user that no longer exists."""


class SchemaError(DatabaseError):
    """The tables, or the query, are not what the other expects; no row is at fault."""


class AccessError(DatabaseError):
    """The database refused the credentials, or lacks a right that they need."""


class UnknownDatabaseError(DatabaseError):
    """An error of which nobody said whose fault it is; it may be a row's."""


class MigrationError(BatchError):
    """A numbered SQL file cannot be applied."""
