"""A browser without a window, spoken to through pipes: no port, no driver, no package."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

__all__ = ["Page", "find_browser", "open_browser"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"),
    *("--no-first-run", "--disable-extensions", "--disable-background-networking"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"),
)
_PATIENCE: Final = 60.0


def find_browser() -> str | None:
    """Return where a browser is, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """A tab of the browser, and everything that it told.

    Attributes:
        events: What happened, as the browser tells it: pairs of a name and its details.
    """

    def __init__(self, source: int, sink: int) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._source, self._sink = source, sink
        self._buffer, self._id = b"", 0
        self._session: str | None = None

    def attach(self) -> Self:
        """Open a tab, which tells of what is loaded, logged and thrown."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers to *method*."""
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._sink, json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._id:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])

    def _read(self) -> dict[str, Any]:
        """Return the next message; events are kept."""
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._source], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            chunk = os.read(self._source, 1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        if "method" in told:
            self.events.append((told["method"], told["params"]))
        return told

    def go(self, path: Path, fragment: str = "") -> None:
        """Load the file at *path* to its end, also where it is there already."""
        self._load("about:blank")
        self._load(path.as_uri() + fragment)

    def _load(self, url: str) -> None:
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(name == "Page.loadEventFired" for name, _ in self.events):
            self._read()

    def run(self, expression: str) -> Any:
        """Return the value of *expression* in the page."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, as in ``"Enter"``."""
        text = "\r" if key == "Enter" else ""
        codes = {"Enter": 13, "Tab": 9}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=codes[key],
            )

    def prefer(self, scheme: str) -> None:
        """Prefer the colours of *scheme*, ``"dark"`` or ``"light"``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def resize(self, width: int, height: int) -> None:
        """Make the window as large as so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def screenshot(self) -> str:
        """Return what is seen as a PNG in base64."""
        return str(self.call("Page.captureScreenshot")["data"])

    def told(self, *names: str) -> list[dict[str, Any]]:
        """Return the details of the events called *names*."""
        self.run("0")  # what was told before is read by then
        return [details for name, details in self.events if name in names]


@contextmanager
def open_browser(browser: str, folder: Path) -> Iterator[Page]:
    """Start *browser* with its files in *folder*, for the length of this context."""
    to_browser, sink = os.pipe()
    source, from_browser = os.pipe()
    # It reads from 3 and writes to 4, which only a shell can be told.
    redirected = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", redirected, "bash", browser, *_OPTIONS, f"--user-data-dir={folder}"],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(source, sink).attach()
    finally:
        os.close(sink)  # which ends it
        os.close(source)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
