"""``python -m sampleapi``: serve until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from sampleapi.server import serve


def main() -> int:
    """Serve on the host and port given; exit with 1 when the port is taken."""
    parser = argparse.ArgumentParser(prog="sampleapi", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    try:
        asyncio.run(_serve(options.host, options.port))
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        sys.stderr.write(
            f"The sample API cannot listen on {options.host}:{options.port}: {why}. "
            "Stop what uses the port, or choose another with --port.\n"
        )
        return 1
    return 0


async def _serve(host: str, port: int) -> None:
    stopped = asyncio.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(stop, stopped.set)
    runner = await serve(host, port)
    sys.stdout.write(f"listening on http://{host}:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
