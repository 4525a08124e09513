"""Faults of AWS, put between botocore and the AWS that moto plays.

A hook of one's own on botocore's `before-send` does not do: botocore calls every hook and takes the
first answer, so that moto would carry out the very request that was refused. Faults therefore stand
in front of moto's hook, and decide whether a request reaches it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError
from moto.core.models import botocore_stubber

type Answer = tuple[int, Mapping[str, Any], str | bytes]
"""Status, headers and body."""
type Deliver = Callable[[], Answer]
"""Has moto carry out the request."""
type Fault = Callable[[AWSPreparedRequest, Deliver], Answer]

THROTTLED: Final = "ProvisionedThroughputExceededException"


class AwsFaults:
    """Scripts of faults by operation; each request that botocore sends uses up one of them.

    Once a script has ended, and where there is none, requests are answered as always.
    """

    def __init__(self) -> None:
        self.injected: Counter[str] = Counter()
        self.pauses: list[float] = []
        self._scripts: dict[str, deque[Fault]] = {}

    def script(self, operation: str, *faults: Fault) -> None:
        """Have the next requests for `operation`, such as ``PutRecords``, end like this."""
        self._scripts.setdefault(operation, deque()).extend(faults)

    @contextmanager
    def installed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Stand in front of moto; botocore's own pauses are noted down instead of made."""
        process = botocore_stubber.process_request

        def answer(request: AWSPreparedRequest) -> Answer:
            def deliver() -> Answer:
                answer = process(request)
                assert answer is not None, f"moto does not know {request.url}"
                return answer

            operation = _operation(request)
            if not self._scripts.get(operation):
                return deliver()
            self.injected[operation] += 1
            return self._scripts[operation].popleft()(request, deliver)

        with monkeypatch.context() as patch:
            patch.setattr(botocore_stubber, "process_request", answer)
            patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=self.pauses.append))
            yield
        assert not any(self._scripts.values()), "faults were prepared that nobody met"


def _operation(request: AWSPreparedRequest) -> str:
    target = request.headers.get("X-Amz-Target")
    if target:
        return _text(target).rpartition(".")[2]
    return {"GET": "GetObject", "PUT": "PutObject"}.get(request.method, request.method)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


# --- any service ------------------------------------------------------------------------------


def as_always(_request: AWSPreparedRequest, deliver: Deliver) -> Answer:
    """No fault, in the middle of a script."""
    return deliver()


def unreached(request: AWSPreparedRequest, _deliver: Deliver) -> Answer:
    """The connection fails before anything is sent."""
    raise EndpointConnectionError(endpoint_url=request.url)


def unanswered(request: AWSPreparedRequest, deliver: Deliver) -> Answer:
    """The request is carried out, and the answer is lost."""
    deliver()
    raise ConnectionClosedError(endpoint_url=request.url)


# --- Kinesis ----------------------------------------------------------------------------------


def taking_only(taken: Sequence[bool]) -> Fault:
    """PutRecords takes the records that are marked, one mark for each, and throttles the others."""

    def fault(request: AWSPreparedRequest, deliver: Deliver) -> Answer:
        asked = _body(request)
        marks = taken[: len(asked["Records"])]
        kept = [record for record, mark in zip(asked["Records"], marks, strict=True) if mark]
        results: list[dict[str, Any]] = []
        if kept:
            request.body = json.dumps(asked | {"Records": kept}).encode()
            _, _, answer = deliver()
            results = json.loads(answer)["Records"]
        delivered = iter(results)
        refused = {"ErrorCode": THROTTLED, "ErrorMessage": "Rate exceeded for shard"}
        records = [next(delivered) if mark else refused for mark in marks]
        return _json(200, {"FailedRecordCount": len(marks) - len(kept), "Records": records})

    return fault


def _body(request: AWSPreparedRequest) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    body: dict[str, Any] = json.loads(request.body)
    return body


def throttled(_request: AWSPreparedRequest, _deliver: Deliver) -> Answer:
    """The whole call is refused."""
    return _json(400, {"__type": THROTTLED, "message": "Rate exceeded"})


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body)


# --- S3 ---------------------------------------------------------------------------------------


def s3_error(status: int, code: str) -> Fault:
    """S3 refuses, such as 503 SlowDown, and does nothing."""

    def fault(_request: AWSPreparedRequest, _deliver: Deliver) -> Answer:
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        return status, {"Content-Type": "application/xml"}, text

    return fault


def truncated(_request: AWSPreparedRequest, deliver: Deliver) -> Answer:
    """The body breaks off in its middle."""
    status, headers, body = deliver()
    return status, {**headers, "Content-Length": str(len(body))}, body[: len(body) // 2]


def altered(_request: AWSPreparedRequest, deliver: Deliver) -> Answer:
    """A bit of the body flips on the way; the checksum is the stored object's."""
    status, headers, body = deliver()
    damaged = bytearray(body.encode() if isinstance(body, str) else body)
    damaged[len(damaged) // 2] ^= 1
    return status, headers, bytes(damaged)
