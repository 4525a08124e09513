"""Reading CloudWatch Logs loses no line and repeats none."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchctl import log_events
from batchctl.log_events import read_events

PAGE = 10_000


class MiniStackLogs:
    """A group as MiniStack serves it: no event ids, and a full page is the last one."""

    def __init__(self, events: list[tuple[int, str]]) -> None:
        self.events = [
            {"timestamp": at, "message": text, "logStreamName": "s"} for at, text in events
        ]
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, name: str) -> MiniStackLogs:
        assert name == "filter_log_events"
        return self

    def paginate(self, **options: Any) -> list[dict[str, Any]]:
        self.asked.append(options)
        due = [event for event in self.events if event["timestamp"] >= options["startTime"]]
        return [{"events": due[: options["limit"]]}]


class AwsLogs(MiniStackLogs):
    """A group as AWS serves it: events have ids, and come in pages that may be empty."""

    def paginate(self, **options: Any) -> list[dict[str, Any]]:
        self.asked.append(options)
        named = [{**event, "eventId": str(n)} for n, event in enumerate(self.events)]
        return [{"events": named[:2]}, {"events": []}, {"events": named[2:]}]


def test_a_page_that_ministack_cuts_off_is_read_on() -> None:
    sent = [(number // 3, f"line {number}") for number in range(2 * PAGE + 5)]
    read = list(read_events(MiniStackLogs(sent), "g", since_ms=0))
    assert [(event.timestamp_ms, event.text) for event in read] == sent


def test_pages_and_empty_pages_of_aws_are_read_to_the_end() -> None:
    sent = [(number, f"line {number}") for number in range(5)]
    read = list(read_events(AwsLogs(sent), "g", since_ms=0))
    assert [event.text for event in read] == [text for _, text in sent]


def test_a_text_is_looked_for_as_a_phrase() -> None:
    client = MiniStackLogs([])
    list(read_events(client, "g", since_ms=7, containing="run-1"))
    assert client.asked == [
        {"logGroupName": "g", "limit": PAGE, "filterPattern": '"run-1"', "startTime": 7}
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab")), max_size=30))
def test_equal_lines_of_one_moment_are_all_kept_and_keep_their_names(
    sent: list[tuple[int, str]],
) -> None:
    sent = sorted(sent, key=lambda event: event[0])
    once, again = (list(read_events(MiniStackLogs(sent), "g", since_ms=0)) for _ in range(2))
    assert [(event.timestamp_ms, event.text) for event in once] == sent
    assert [event.key for event in once] == [event.key for event in again]
    assert len({event.key for event in once}) == len(sent)


def test_the_page_of_the_reader_is_the_one_tested() -> None:
    assert log_events._PAGE == PAGE
