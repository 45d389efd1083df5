"""A headless Chromium, driven through chromedriver with nothing but the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


class Browser:
    """One window."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        options = {"binary": CHROMIUM, "args": list(FLAGS)}
        wanted = {
            "capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        }
        self.session = self._send("POST", "/session", wanted)["sessionId"]

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        self.connection.request(method, path, None if body is None else json.dumps(body))
        answer = json.loads(self.connection.getresponse().read())["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{answer['error']}: {answer['message'][:500]}")
        return answer

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One WebDriver command of this session."""
        return self._send(method, f"/session/{self.session}{path}", body)

    def cdp(self, command: str, **params: Any) -> Any:
        """One command of the DevTools protocol."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def look(self, *, width: int, dark: bool = False, height: int = 900) -> None:
        """A window of this width, light or dark."""
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme, still])

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns; a promise is waited for."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script: str, *arguments: Any, seconds: float = 15) -> Any:
        """Wait in the page until the function body gives something true."""
        body = (
            "const [given, limit] = [[...arguments].slice(0, -1), arguments[arguments.length - 1] * 1000];"
            f"const look = function() {{ {script} }}; const began = performance.now();"
            "return new Promise((done, fail) => { const again = () => { const found = look(...given);"
            "if (found) done(found); else if (performance.now() - began > limit) fail(new Error('waited in vain'));"
            "else setTimeout(again, 50); }; again(); });"
        )
        return self.run(body, *arguments, seconds)

    def shoot(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def said(self) -> list[str]:
        """What the console said since the last time, warnings and errors."""
        entries = self.ask("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, ended at the end."""
    assert DRIVER is not None
    process = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        port = next(
            int(found[1]) for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line))
        )
        browser = Browser(port)
        try:
            yield browser
        finally:
            browser.ask("DELETE", "")
            browser.connection.close()
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()
