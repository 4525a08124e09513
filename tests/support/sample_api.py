"""The sample API in a thread of the test's own process, on a free port."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sampleapi.server import serve


@contextmanager
def sample_api() -> Iterator[str]:
    """Serve while the context lasts; yields the base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sample-api")
    thread.start()
    try:
        runner = asyncio.run_coroutine_threadsafe(serve("127.0.0.1", 0), loop).result()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
