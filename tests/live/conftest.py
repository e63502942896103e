"""Recordings that grow, servers that come and go, and a Chromium that looks on."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvicorn

from slopewise.live import make_app
from slopewise.recording import to_line
from slopewise.testing import synthetic_recording


class Growing:
    """Writes a synthetic recording into a file, item by item."""

    def __init__(self, path: Path, **options) -> None:
        recording = synthetic_recording(**options)
        header = dataclasses.replace(recording.header, started=time.time(), name=path.stem)
        items = [header, *sorted((*recording.samples, *recording.alarms), key=lambda item: item.step)]
        self.path = path
        self.left = [to_line(item) for item in (*items, *([recording.end] if recording.end else []))]

    def write(self, lines: int = -1) -> None:
        """The next lines; all that are left by default."""
        take = len(self.left) if lines < 0 else lines
        with self.path.open("a") as file:
            file.writelines(f"{line}\n" for line in self.left[:take])
        del self.left[:take]


class Process:
    """`slopewise watch`, with the address that it has printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-W", "error", "-m", "slopewise", "watch", str(folder), *options]
        self.process = subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Its exit status and what it said on stderr."""
        self.process.send_signal(how)
        _, words = self.process.communicate(timeout=60)
        return self.process.returncode, words


@pytest.fixture
def growing() -> type[Growing]:
    """A recording in the making."""
    return Growing


@pytest.fixture
def watching() -> Iterator[Callable[..., Process]]:
    """Start the command; nothing of it outlives the test."""
    started: list[Process] = []

    def start(folder: Path, *options: str) -> Process:
        started.append(Process(folder, *options))
        return started[-1]

    yield start
    for command in started:
        if command.process.poll() is None:
            command.stop(signal.SIGKILL)


class Serving:
    """The pages of a folder, served by a thread; started again, at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        heard = socket.create_server(("127.0.0.1", self.port))
        self.port = heard.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        config = uvicorn.Config(make_app(self.folder), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [heard]})
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """The pages of the test's folder."""
    server = Serving(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Callable]:
    """Call a function with a Chromium, in a thread of its own: a thread can have only one Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    with ThreadPoolExecutor(1) as thread:
        playwright = thread.submit(sync_api.sync_playwright().start).result()
        try:
            launch = playwright.chromium.launch
            browser = thread.submit(launch, executable_path=executable, args=["--no-sandbox"]).result()
        except sync_api.Error as error:
            thread.submit(playwright.stop).result()
            if os.environ.get("CI"):
                pytest.fail(f"no Chromium on a CI machine: {error}")
            pytest.skip("no Chromium: install the `chromium` package or run `playwright install chromium`")
        yield lambda look: thread.submit(look, browser).result()
        thread.submit(browser.close).result()
        thread.submit(playwright.stop).result()


@pytest.fixture
def looking(chromium: Callable, serving: Serving) -> Callable:
    """Call a function with a page at an address below the server; it may ask nobody else, nor complain."""

    def look(function: Callable, path: str = "", allowed: str = "", **options: object) -> None:
        trouble: list[str] = []

        def inside(browser) -> None:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
            page = context.new_page()
            page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
            page.on("pageerror", lambda error: trouble.append(f"page error: {error}"))
            page.on(
                "request",
                lambda asked: asked.url.startswith((serving.url, "data:", "blob:")) or trouble.append(asked.url),
            )
            try:
                page.goto(serving.url + path)
                function(page)
            finally:
                context.close()

        chromium(inside)
        assert [line for line in trouble if not allowed or allowed not in line] == []

    return look
