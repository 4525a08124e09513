"""Call API and Process Users in a process of their own, to see how much memory they take.

    python -m tests.support.memory {call|process} FOLDER URL USERS

``call`` asks the API at URL about each user of one group and leaves its output in FOLDER, which
stands for the bucket; ``process`` makes rows of as many bytes as are allowed from it. Each prints
its tally and by how many bytes its memory grew at most.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch_core.adapters.http import CurlApiClient
from batch_core.breaker import Breakers
from batch_core.call_api import ChunkReader, call_api
from batch_core.chunks import Chunk, pack, serialise
from batch_core.errors import PayloadMissingError
from batch_core.job import Job, Request, Response, Row, Table, User
from batch_core.limits import ROW_BYTES
from batch_core.ports import PayloadStore
from batch_core.process_users import process_users
from batch_core.run import Run
from tests.support.fakes_api import FakeStream

CONCURRENCY = 50  # the most that the template allows


class FolderStore(PayloadStore):
    """Objects as files, so that what was put takes no memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> str:
        (self._folder / key.replace("/", "_")).write_bytes(body)
        return "e"

    def put_new(self, key: str, body: bytes, *, metadata: Mapping[str, str]) -> bool:
        return bool(self.put(key, body, metadata=metadata))

    def get(
        self,
        key: str,
        *,
        etag: str | None = None,
        span: tuple[int, int] | None = None,
    ) -> bytes:
        try:
            body = (self._folder / key.replace("/", "_")).read_bytes()
        except FileNotFoundError as error:
            raise PayloadMissingError(key) from error
        return body[slice(*span)] if span else body


def request(_user: User) -> Request:
    return Request("/")


def process(_user: User, response: Response) -> Row:
    return {"text": response.json()["text"][: ROW_BYTES - 100]}


JOB = Job("SELECT 1", Table("t", columns=("text",)), request, process)


def kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def call(folder: Path, url: str, users: int) -> dict[str, Any]:
    store = FolderStore(folder)
    run = Run("demo-20260131T102000Z", 1, 1, users, 0.0, 9e9)
    listed = [serialise({"user_id": n}) for n in range(users)]
    body, groups, stride = pack(listed, users)
    chunk = Chunk(0, users, groups, stride, store.put(f"{run.prefix}/chunks/0", body, metadata={}))
    event = {"run": run.to_json(), "chunk": chunk.to_json(), "group": 0}
    with CurlApiClient(
        url, concurrency=CONCURRENCY, timeout_seconds=60, allow_private=True, secret=lambda: None
    ) as api:
        output = call_api(
            event,
            tenant="demo",
            job=JOB,
            reader=ChunkReader(store),
            store=store,
            api=api,
            breakers=Breakers(),
            seconds=300,
        )
    (folder / "output.json").write_text(json.dumps(event | output), encoding="utf-8")
    return dict(output["tally"])


def main(step: str, folder: str, url: str, users: str) -> None:
    before = kilobytes("VmRSS")
    if step == "call":
        tally = call(Path(folder), url, int(users))
    else:
        event = json.loads((Path(folder) / "output.json").read_text(encoding="utf-8"))
        store = FolderStore(Path(folder))
        tally = process_users(event, tenant="demo", job=JOB, store=store, stream=FakeStream())
    sys.stdout.write(json.dumps({"tally": tally, "grown": (kilobytes("VmHWM") - before) * 1024}))


if __name__ == "__main__":
    main(*sys.argv[1:])
