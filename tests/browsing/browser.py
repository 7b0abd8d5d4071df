"""Chromium without a window, driven over a pipe by its own protocol (https://chromedevtools.github.io/devtools-protocol)."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.browsing.chromium import find

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it is root in containers, and reads our own pages only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves this machine
    "--font-render-hinting=none",
)


@dataclass
class Browser:
    """A running browser."""

    _out: int
    _in: int
    _events: list[dict[str, Any]] = field(default_factory=list)
    _rest: bytes = b""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def page(self, width: int = 1280, height: int = 900, *, dark: bool = False, headers: Any = None) -> Page:
        """An empty page of that size, in that colour scheme, that sends those headers with every request."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        if headers:
            page.ask("Network.setExtraHTTPHeaders", headers=headers)
        return page

    def ask(self, method: str, session: str | None = None, **params: Any) -> Any:
        """The result of a method.

        Raises:
            RuntimeError: with the browser's words.
        """
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            got = self._read(deadline, method)
            if got.get("id") != number:
                self._events.append(got)
            elif "error" in got:
                raise RuntimeError(f"{method}: {got['error']}")
            else:
                return got["result"]

    def next(self, waiting: str) -> None:
        """Wait for one more event."""
        self._events.append(self._read(time.monotonic() + 60, waiting))

    def events(self, session: str) -> list[dict[str, Any]]:
        """What a page told so far."""
        return [event for event in self._events if event.get("sessionId") == session]

    def _read(self, deadline: float, waiting: str) -> Any:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0))
            data = os.read(self._in, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError(f"the browser {'ended' if ready else 'is silent'}; {waiting} was waited for")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@dataclass
class Page:
    """One page of it."""

    browser: Browser
    session: str

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a method."""
        return self.browser.ask(method, self.session, **params)

    def goto(self, url: str) -> int:
        """Load it, with all that it needs; its HTTP status (0: none, as of a file)."""
        before = len(self.browser.events(self.session))
        failed = self.ask("Page.navigate", url=url).get("errorText")
        if failed:
            raise RuntimeError(f"{url}: {failed}")
        while not self._since("Page.loadEventFired", before):
            self.browser.next(f"{url} to be loaded")
        answers = [e["params"] for e in self._since("Network.responseReceived", before)]
        return next((int(a["response"]["status"]) for a in answers if a["type"] == "Document"), 0)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        done = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def problems(self) -> list[str]:
        """Errors and warnings of the console: of scripts, of what was refused or could not be loaded."""
        told = []
        for event in self.browser.events(self.session):
            params, method = event["params"], event["method"]
            if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                told.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif method == "Runtime.exceptionThrown":
                told.append(str(params["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                told.append(str(params["args"]))
        return told

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        return [event["params"]["request"]["url"] for event in self._since("Network.requestWillBeSent", 0)]

    def text(self) -> str:
        """What can be read on it."""
        found: str = self.evaluate("document.body.innerText")
        return found

    def screenshot(self, path: Path) -> None:
        """All of it, as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _since(self, method: str, before: int) -> list[dict[str, Any]]:
        return [e for e in self.browser.events(self.session)[before:] if e["method"] == method]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, while the block runs; nothing of it stays."""
    program = find()
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-browser-", ignore_cleanup_errors=True))
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [str(program.path), *FLAGS, f"--user-data-dir={home}"]
        process = subprocess.Popen(
            # it reads from 3 and writes to 4
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
            env={**os.environ, **program.environ, "HOME": home},
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        stack.callback(os.close, ours_in)
        stack.callback(process.wait)
        stack.callback(process.kill)
        stack.callback(os.close, ours_out)
        yield Browser(ours_out, ours_in)
