"""A headless Chromium, driven by the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, Final, Self

import aiohttp
import pytest

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_S: Final = 60
_KEYS: Final = {
    "Tab": 9, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39, "Escape": 27,
}  # fmt: skip


class Tab:
    """One page, and what the browser told of it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        return self._browser.call(method, session=self._session, **parameters)

    def open(self, page: Path) -> None:
        """Load a file, watching its console and its requests from the start."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        self._browser.wait_for("Page.loadEventFired", session=self._session)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, as JSON carries it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def every(self, selector: str, attribute: str) -> list[Any]:
        """An attribute of each element that the selector finds."""
        return list(
            self.evaluate(
                f"[...document.querySelectorAll({json.dumps(selector)})]"
                f".map((each) => each.getAttribute({json.dumps(attribute)}))"
            )
        )

    def text(self, selector: str) -> str:
        """The visible text of the first element that the selector finds."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def look(self, *, width: int = 1100, height: int = 900, scheme: str = "light") -> None:
        """Set the size of the window and what the person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[preference])

    def point_at(self, selector: str) -> None:
        """Move the pointer onto the middle of an element."""
        box = self.evaluate(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            " node.scrollIntoView({ block: 'center', behavior: 'instant' });"
            " return node.getBoundingClientRect().toJSON(); })()"
        )
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Press and let go of the mouse on an element."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=_KEYS[key]
            )

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self.call("Input.insertText", text=text)

    def pdf(self) -> bytes:
        """The page as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    @property
    def requests(self) -> list[str]:
        """Every address that was asked for."""
        self.evaluate("0")  # what came before its answer has been heard
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    @property
    def complaints(self) -> list[str]:
        """What the browser's console shows as an error or a warning."""
        self.evaluate("0")
        found = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded":
                found.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(f"{parameters['type']}: {parameters['args']}")
        return found


class Browser:
    """A running Chromium; the commands are sent one after another."""

    def __init__(self, runner: asyncio.Runner, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._runner = runner
        self._socket = socket
        self._sent = 0
        self._tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        """Open an empty tab."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, answer["sessionId"])
        self._tabs[answer["sessionId"]] = tab
        return tab

    def call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer, keeping what is told meanwhile."""
        self._sent += 1
        command: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        self._runner.run(self._socket.send_json(command))
        while True:
            message = self._receive()
            if message.get("id") == self._sent:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])

    def wait_for(self, event: str, *, session: str) -> None:
        """Wait until an event of a tab was told of."""
        events = self._tabs[session].events
        while not any(each["method"] == event for each in events):
            self._receive()

    def _receive(self) -> dict[str, Any]:
        received = self._runner.run(self._socket.receive_json(timeout=_PATIENCE_S))
        message: dict[str, Any] = received
        if "method" in message and message.get("sessionId") in self._tabs:
            self._tabs[message["sessionId"]].events.append(message)
        return message

    @classmethod
    @contextmanager
    def started(cls, profile: Path) -> Iterator[Self]:
        """Start a Chromium with an empty profile, and stop it at the end."""
        with _process(profile) as address, asyncio.Runner() as runner:
            session = runner.run(_session())
            try:
                socket = runner.run(session.ws_connect(address, max_msg_size=0))
                yield cls(runner, socket)
            finally:
                runner.run(session.close())


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession()


@contextmanager
def _process(profile: Path) -> Iterator[str]:
    """Run the program; yields the address of its DevTools."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program is not None, "the tests of pages need Chromium; make test installs it"
    options = [
        "--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-dev-shm-usage", "--remote-debugging-port=0", f"--user-data-dir={profile}",
    ]  # fmt: skip
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to sandbox root
    process = subprocess.Popen(
        [program, *options, "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: Queue[str] = Queue()
    # Somebody must go on reading: a full pipe would hold the browser up.
    reader = Thread(target=_pass_on, args=[process.stderr, lines])
    reader.start()
    try:
        yield _address(lines)
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_S)
        reader.join(timeout=_PATIENCE_S)
        process.stderr.close()


def _pass_on(stream: Iterable[str], lines: Queue[str]) -> None:
    for line in stream:
        lines.put(line)


def _address(lines: Queue[str]) -> str:
    while True:
        told = re.search(r"DevTools listening on (ws://\S+)", lines.get(timeout=_PATIENCE_S))
        if told is not None:
            return told[1]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for the whole suite; each test opens its own tab."""
    with Browser.started(tmp_path_factory.mktemp("chromium")) as running:
        yield running
