"""Errors meant for the person at the terminal."""

from __future__ import annotations


class BatchctlError(Exception):
    """One paragraph that names what is wrong and the remedy; printed without a traceback."""

    exit_code = 1


class UsageError(BatchctlError):
    """The command was asked for something that cannot be: a wrong option, a contradictory one."""

    exit_code = 2
