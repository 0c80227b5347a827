"""Headless Chromium, driven over its DevTools protocol through two pipes: no package, no port, no network.

https://chromedevtools.github.io/devtools-protocol/; `--remote-debugging-pipe` reads commands from file descriptor 3
and writes answers and events to 4, each JSON followed by a zero byte.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_TIMEOUT_S = 120  # on a machine whose cores train models
READ_BYTES = 1 << 16


class Browser:
    """One page of a running browser, and everything that its console and its network said."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.events: list[dict[str, Any]] = []
        self._buffer, self._last_id, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that arrive before are kept."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression; of a promise, what it resolves to."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Return once an expression is true."""
        end = time.monotonic() + ANSWER_TIMEOUT_S
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never true: {expression}; {self.complaints()}"
            time.sleep(0.1)

    def open(self, page: Path) -> None:
        """Load a file and wait for its scripts."""
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def press(self, key: str, code: int) -> None:
        """A key, down and up, where the focus is."""
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def hover(self, element: str) -> None:
        """The pointer onto the middle of what a JavaScript expression names."""
        middle = f"""(() => {{
          const element = {element};
          element.scrollIntoView({{ behavior: "instant", block: "center" }});
          const box = element.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.evaluate(middle)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def prefer(self, scheme: str) -> None:
        """`prefers-color-scheme`: light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def resize(self, width: int) -> None:
        """Width of the window in pixels; a phone's below 600."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )

    def complaints(self) -> list[str]:
        """Uncaught exceptions, and what the console or the browser logged as warning or error."""
        found = []
        for event in self.events:
            what = event["params"]
            match event["method"]:
                case "Runtime.exceptionThrown":
                    found.append(what["exceptionDetails"].get("exception", {}).get("description", "exception"))
                case "Runtime.consoleAPICalled" if what["type"] in ("warning", "error", "assert"):
                    found.append(" ".join(str(part.get("value")) for part in what["args"]))
                case "Log.entryAdded" if what["entry"]["level"] in ("warning", "error"):
                    found.append(what["entry"]["text"])
        return found

    def requested(self) -> list[str]:
        """Addresses that were asked for, but for data: addresses."""
        addresses = [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in addresses if not address.startswith("data:")]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self.answers], [], [], ANSWER_TIMEOUT_S)
            part = os.read(self.answers, READ_BYTES) if ready else b""
            assert part, "the browser does not answer"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile; skips the test where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on the PATH (Debian: apt-get install chromium)")
    command_out, command_in = os.pipe()
    answer_out, answer_in = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
    arguments = [program, *options, f"--user-data-dir={profile}", "about:blank"]
    pipes = [(os.POSIX_SPAWN_DUP2, command_out, 3), (os.POSIX_SPAWN_DUP2, answer_in, 4)]
    silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    process = os.posix_spawn(program, arguments, os.environ, file_actions=[*pipes, *silence])
    os.close(command_out)
    os.close(answer_in)
    try:
        yield Browser(command_in, answer_out)
    finally:
        os.close(command_in)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(answer_out)
