"""What every test of a fault says at its end: the row it fills in the table of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fault_table import PROPERTY, TITLES, Injection


class Lab:
    """Takes down what a test injected and what became of the users."""

    def __init__(self, fault: int) -> None:
        self.fault = fault
        self.injections: list[Injection] = []

    def report(
        self, injected: str, *, times: int, users: int, accounted: int, lost: int = 0
    ) -> None:
        """Enter what happened, and fail the test if anybody was lost.

        Parameters
        ----------
        injected
            The fault as it was made, in a few words.
        times
            How often.
        users
            Users, or rows where the fault is about rows, that went in.
        accounted
            Of these, those of whom it is known what became of them.
        lost
            Rows that the database should hold and does not, or holds with other content.
        """
        self.injections.append(Injection(self.fault, injected, times, users, accounted, lost))
        assert times > 0, "nothing was injected"
        assert accounted == users, f"{users - accounted} of {users} are unaccounted for"
        assert lost == 0, f"{lost} rows are lost"


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Report to the row of the fault that the test is marked with."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "mark the test with @pytest.mark.fault(NUMBER)"
    (fault,) = marker.args
    assert fault in TITLES, f"there is no fault {fault}"
    lab = Lab(fault)
    yield lab
    request.node.user_properties += [(PROPERTY, injection) for injection in lab.injections]
    assert lab.injections, "the test never reported what it injected"
