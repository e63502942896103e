"""Live pages of studies and loops whose every text is hostile, in a real Chromium; requests that no browser makes."""

import re
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from slopewise.live import make_app
from slopewise.study import Store, StudySpec

from ..hostile import BREAK, IMAGE, INERT, SCRIPT, hostile_study


def test_no_text_of_a_study_runs_or_becomes_an_element(looking, tmp_path: Path) -> None:
    study = hostile_study()
    folder = tmp_path / f"{IMAGE} study"
    folder.mkdir()
    spec = StudySpec(arms=[{"name": arm, "activation": "relu"} for arm in study.arms], seeds=4, name=study.spec["name"])
    with closing(Store.create(folder, spec, study.data)) as store:
        for trial in study.trials:
            store.add(replace(trial, environment="e"), study.environments["synthetic"])
    listing = TestClient(make_app(tmp_path), base_url="http://127.0.0.1").get("/").text
    (path,) = re.findall(r'href="/(runs/\w+)"', listing)

    def look(page) -> None:
        page.wait_for_timeout(1500)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.evaluate("window.hit") is None
        assert page.evaluate(f"{INERT}.length") == 0
        text = page.locator("body").inner_text()
        for shown in (SCRIPT, BREAK, f"{IMAGE} study"):
            assert shown in text

    looking(look, path)
    looking(_listing)


def _listing(page) -> None:
    assert page.evaluate("window.hit") is None
    assert page.evaluate(f"{INERT}.length") == 0
    assert SCRIPT in page.locator("body").inner_text()


REQUESTS = {
    "no host": b"GET / HTTP/1.0\r\n\r\n",
    "another host": b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    "a host in the target": b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "another origin": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://evil.example\r\n\r\n",
    "another port": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:1\r\n\r\n",
    "a script elsewhere": b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nSec-Fetch-Site: cross-site\r\n"
    b"Sec-Fetch-Mode: no-cors\r\n\r\n",
    "no path": b"GET ../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_raw_requests_of_others_are_refused(name: str, serving, growing, tmp_path: Path) -> None:
    growing(tmp_path / "secret.jsonl").write()
    request = REQUESTS[name]
    with socket.create_connection(("127.0.0.1", serving.port), timeout=20) as connection:
        connection.sendall(request % serving.port if b"%d" in request else request)
        connection.settimeout(20)
        answer = connection.recv(65_536)
    assert re.match(rb"HTTP/1\.[01] (400|403|404) ", answer), answer[:80]
    assert b"secret" not in answer
