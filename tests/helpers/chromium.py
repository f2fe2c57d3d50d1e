"""A Chromium without a window, driven over its own protocol (DevTools): what a page shows, logs and asks for."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe", "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
_PATIENCE = 60.0
"""Seconds until an answer of the browser counts as lost."""


def chromium_path() -> str | None:
    """Where Chromium is, if it is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One tab. Everything that it logged, threw and asked for is kept."""

    def __init__(self, pipe: _Pipe, session: str) -> None:
        self._pipe, self._session = pipe, session
        self.errors: list[str] = []
        self.requests: list[str] = []
        pipe.listeners[session] = self._note
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        return self._pipe.ask(method, params, self._session)

    def open(self, url: str) -> None:
        """Load `url`, and wait until it has been painted."""
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        self.settle()

    def settle(self) -> None:
        """Wait until the page has drawn twice: what was begun is to be seen."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def run(self, expression: str) -> Any:
        """Return the value of `expression` in the page, awaited."""
        found = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until `expression` is true in the page."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(AssertionError):  # the page is on its way to another
                if self.run(expression):
                    return
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression}")

    def text(self, selector: str) -> str:
        """The text that the first element of `selector` shows."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, key: str, code: str | None = None) -> None:
        """Press a key as a user does: a character, or ``Enter``, ``Escape``, ``ArrowDown``."""
        codes = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "End": 35, "Home": 36, "Tab": 9}
        named = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper())), "code": code or key}
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **named)
        self.settle()

    def type(self, text: str) -> None:
        """Type `text` where the focus is."""
        self.ask("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click in the middle of the first element of `selector`."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def drag(self, selector: str, from_share: float, to_share: float) -> None:
        """Drag across the first element of `selector`, between two shares of its width."""
        left, top, width, height = self.box(selector)
        places = (left + width * from_share, left + width * to_share)
        for kind, x in (("mousePressed", places[0]), ("mouseMoved", places[1]), ("mouseReleased", places[1])):
            buttons = 0 if kind == "mouseReleased" else 1
            self.ask(
                "Input.dispatchMouseEvent", type=kind, x=x, y=top + height / 2, button="left", clickCount=1,
                buttons=buttons,
            )  # fmt: skip
        self.settle()

    def middle(self, selector: str) -> tuple[float, float]:
        """The middle of the first element of `selector`, brought into sight."""
        left, top, width, height = self.box(selector)
        return left + width / 2, top + height / 2

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of the first element of `selector`, brought into sight."""
        left, top, width, height = self.run(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            "found.scrollIntoView({block: 'nearest'}); const box = found.getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height] })()"
        )
        return left, top, width, height

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """Give the window another size."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def prefer(self, **features: str) -> None:
        """Say what the user prefers: ``prefer(color_scheme="dark")``."""
        named = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.ask("Emulation.setEmulatedMedia", features=named)

    def screenshot(self, path: Path) -> None:
        """Write what is in sight as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(params["args"]))


class Browser:
    """A running Chromium, with a profile of its own."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def page(self, width: int = 1280, height: int = 900) -> Page:
        """Open a tab that nothing else shares anything with."""
        context = self._pipe.ask("Target.createBrowserContext", {})["browserContextId"]
        target = self._pipe.ask("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        session = self._pipe.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self._pipe, session)
        page.resize(width, height)
        return page


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Run Chromium with an empty `profile`, and end it with all its processes."""
    path = chromium_path()
    assert path is not None, "Chromium is not installed: make test-browser installs it"
    to_read, browser_writes = os.pipe()
    browser_reads, to_write = os.pipe()
    # The browser reads commands from descriptor 3 and answers on 4.
    shell = f'exec "$0" "$@" 3<&{browser_reads} 4>&{browser_writes}'
    with (profile / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", shell, path, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(browser_reads, browser_writes), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    os.close(browser_reads)
    os.close(browser_writes)
    pipe = _Pipe(to_read, to_write)
    try:
        yield Browser(pipe)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        os.close(to_read)
        os.close(to_write)


class _Pipe:
    """Messages to and from the browser, each ended by a zero byte."""

    def __init__(self, to_read: int, to_write: int) -> None:
        self._to_read, self._to_write = to_read, to_write
        self._numbers, self._buffer = count(1), bytearray()
        self.listeners: dict[str, Any] = {}

    def ask(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to_write, data) :]
        deadline = time.monotonic() + _PATIENCE
        while True:
            found = self._read(deadline)
            if found.get("id") == number:
                assert "error" not in found, f"{method}: {found['error']}"
                return dict(found["result"])
            listener = self.listeners.get(found.get("sessionId", ""))
            if listener is not None and "method" in found:
                listener(found["method"], found["params"])

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._to_read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._to_read, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        line, _, rest = bytes(self._buffer).partition(b"\0")
        self._buffer = bytearray(rest)
        return dict(json.loads(line))
