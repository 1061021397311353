"""Chromium over its debugging pipe: what a page asked for, what it complained of, how it looks."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage
--hide-scrollbars --remote-debugging-pipe
"""


@dataclass
class Visit:
    """What happened while a page was open."""

    requests: list[str] = field(default_factory=list)  # other than the page and data URIs
    complaints: list[str] = field(default_factory=list)
    width: int = 0  # of the whole document; more than the window's means a sideways scroll


class Browser:
    """One headless Chromium."""

    def __enter__(self) -> Browser:
        assert CHROMIUM is not None
        self.home = tempfile.mkdtemp()
        hear, self.mouth = os.pipe()
        self.ear, say = os.pipe()
        script = f'exec "$0" "$@" 3<&{hear} 4>&{say}'
        flags = [*FLAGS.split(), f"--user-data-dir={self.home}"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, CHROMIUM, *flags],
            pass_fds=(hear, say),
            stderr=subprocess.DEVNULL,
        )
        os.close(hear)
        os.close(say)
        self.buffer, self.number, self.events = b"", 0, list[dict[str, Any]]()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self.mouth)
        os.close(self.ear)
        shutil.rmtree(self.home, ignore_errors=True)

    def visit(self, page: Path, width: int, *, dark: bool = False) -> Visit:
        """Open a file in a window `width` pixels wide."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        url = page.resolve().as_uri()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()
        visit = Visit()
        visit.width = self.evaluate("document.documentElement.scrollWidth")
        for event in self.events:
            self._note(visit, event, url)
        return visit

    def picture(self) -> bytes:
        """The whole of the open page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the open page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _note(self, visit: Visit, event: dict[str, Any], url: str) -> None:
        method, told = event["method"], event["params"]
        if method == "Network.requestWillBeSent":
            asked = told["request"]["url"]
            if asked.split("#")[0] != url and not asked.startswith("data:"):
                visit.requests.append(asked)
        elif method == "Log.entryAdded":
            visit.complaints.append(told["entry"]["text"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            visit.complaints.append(json.dumps(told))
        elif method == "Page.javascriptDialogOpening":
            visit.complaints.append(f"dialog: {told['message']}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.mouth, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.ear, 1 << 20)
            assert part, "Chromium ended"
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\0", 1)
        told: dict[str, Any] = json.loads(line)
        if "method" in told:
            self.events.append(told)
        return told
