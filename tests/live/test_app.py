"""The server's pages: their content, the requests that it answers, and the caching."""

import os
import re
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from slopewise.live import make_app
from slopewise.live._server import own_names
from slopewise.live._watched import Page, Watched
from slopewise.study import Store, StudySpec
from slopewise.testing import synthetic_study


@pytest.fixture
def folder(tmp_path: Path, growing) -> Path:
    """Two recordings, a file that is none, and a hidden one."""
    for name in ("a.jsonl", "below/<b>&amp;.jsonl", ".hidden/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        growing(tmp_path / name, layers=2, samples=2).write()
    (tmp_path / "other.jsonl").write_text('{"loss": 1}\n')
    (tmp_path / "linked.jsonl").symlink_to(tmp_path / "a.jsonl")
    (tmp_path / "circle").symlink_to(tmp_path)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> TestClient:
    return TestClient(make_app(folder), base_url="http://127.0.0.1:8460")


def links(text: str) -> list[str]:
    return [part.split('"')[0] for part in text.split('href="')[1:] if part.startswith("/runs/")]


def test_runs_are_found_by_what_they_hold(folder: Path, client: TestClient) -> None:
    listing = client.get("/").text
    assert "too much below this folder" not in listing
    assert ">a.jsonl<" in listing
    assert len(links(listing)) == 2
    assert all(re.fullmatch(r"/runs/[0-9a-z]{12}", link) for link in links(listing))
    again = TestClient(make_app(folder), base_url="http://localhost").get("/").text
    assert links(again) == links(listing)


def test_a_folder_that_is_too_large_gets_a_note(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slopewise.live._folder._MOST", 3)
    assert "too much to search all of it" in TestClient(make_app(folder), base_url="http://localhost").get("/").text


def test_the_listing_leads_to_every_run(client: TestClient) -> None:
    listing = client.get("/")
    assert "<b>&amp;" not in listing.text
    assert "below/&lt;b&gt;&amp;amp;.jsonl" in listing.text
    pages = [client.get(link) for link in links(listing.text)]
    assert [page.status_code for page in pages] == [200, 200]
    assert all('id="gradients-figure"' in page.text for page in pages)


def test_an_adaptive_study_tells_what_its_looks_decided(tmp_path: Path) -> None:
    looks = (10, 16, 40)
    whole = synthetic_study(("relu", "elu", "gelu"), looks=looks, epochs=1, effects={"elu": -5.0})
    spec = StudySpec(arms="relu,elu,gelu", seeds=40, until_decided={"looks": looks})
    with closing(Store.create(tmp_path, spec, whole.data)) as store:
        for trial in whole.trials:
            if trial.seed < (16 if trial.arm == "elu" else 18):
                store.add(trial, whole.environments["synthetic"])
    client = TestClient(make_app(tmp_path), base_url="http://127.0.0.1:8460")
    (link,) = links(client.get("/").text)
    page = " ".join(re.sub(r"<[^>]+>", " ", client.get(link).text).split())
    assert "the study looks after 10, 16 and 40 seeds" in page
    assert "52 of at most 96 trials ended" in page
    assert re.search(r"\belu ▼ hurts at (10|16) .*?\] 16 of 16 ", page)
    assert re.search(r"gelu \? inconclusive open at 16 .*?\] 18 of 40 ", page)


def test_live_pages_explain_their_words_and_lead_nowhere_else(tmp_path: Path, growing) -> None:
    growing(tmp_path / "a.jsonl", layers=2, samples=2).write()
    (tmp_path / "study").mkdir()
    record = synthetic_study(("relu", "prelu_shared"), seeds=2, epochs=1, diverged={"prelu_shared": 1})
    with closing(Store.create(tmp_path / "study", StudySpec(arms="relu,prelu_shared", seeds=2), record.data)) as store:
        for trial in record.trials:
            store.add(trial, record.environments["synthetic"])
    client = TestClient(make_app(tmp_path), base_url="http://127.0.0.1:8460")
    pages = [client.get(link).text for link in links(client.get("/").text)]
    assert [page.count('<h2 id="glossary">') for page in pages] == [1, 1]
    for page in pages:
        assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r' id="([^"]+)"', page))
    study = next(page for page in pages if "slope-runaway" in page)
    assert '<dt id="word-arm">' in study
    assert "act1 (PReLU)" in study


def test_a_study_leads_to_its_report_which_must_not_reach_the_server(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    with closing(Store.create(tmp_path / "digits", StudySpec(arms="relu,elu", seeds=1), synthetic_study(seeds=1).data)):
        pass
    client = TestClient(make_app(tmp_path), base_url="http://127.0.0.1:8460")
    (page,) = links(client.get("/").text)
    assert f"{page}/report" not in client.get(page).text
    assert client.get(f"{page}/report").status_code == 404
    (tmp_path / "digits" / "report.html").write_text("<p>the report")
    assert f"{page}/report" in client.get(page).text
    answer = client.get(f"{page}/report")
    assert answer.text == "<p>the report"
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy  # none, by default
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_names_are_shown_printable(tmp_path: Path, growing) -> None:
    name = "\x1b]0;t\x07\x9b\u202e" + b"\xff".decode(errors="surrogateescape")  # the last is no UTF-8
    growing(tmp_path / f"{name}.jsonl", layers=2, samples=2, prefix=name).write()
    client = TestClient(make_app(tmp_path), base_url="http://127.0.0.1:8460")
    listing = client.get("/")
    pages = [listing, *(client.get(link) for link in links(listing.text))]
    assert [page.status_code for page in pages] == [200, 200]
    for page in pages:
        assert "\\x1b]0;t\\x07\\x9b\\u202e\\udcff" in page.text
        assert page.text.replace("\n", "").replace("\u00a0", "").isprintable()


@pytest.mark.parametrize(
    "path", ["/", "/runs/{run}", "/static/plotly.js", "/static/live.js", "/static/figures.js", "/static/style.css"]
)
def test_an_unchanged_page_is_not_sent_again(client: TestClient, path: str) -> None:
    path = path.format(run=links(client.get("/").text)[0].rpartition("/")[2])
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == first.content


def test_a_tag_outlives_a_restart_and_not_a_change(folder: Path, client: TestClient) -> None:
    link = links(client.get("/").text)[0]
    tag = client.get(link).headers["ETag"]
    assert (
        TestClient(make_app(folder), base_url="http://localhost").get(link, headers={"If-None-Match": tag}).status_code
        == 304
    )
    for path in (folder / "a.jsonl", folder / "below" / "<b>&amp;.jsonl"):
        path.write_text(path.read_text().replace("SyntheticNet", "OtherNet"))
    fresh = TestClient(make_app(folder), base_url="http://localhost").get(link, headers={"If-None-Match": tag})
    assert fresh.status_code == 200
    assert "OtherNet" in fresh.text


def test_pages_are_made_only_when_something_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, made = Watched(folder), []
    monkeypatch.setattr("slopewise.live._watched.loop_page", lambda *_: made.append(1) or f"page {len(made)}")
    watched.index()
    key = next(iter(watched._entries))
    assert [watched.run(key).text for _ in range(3)] == ["page 1"] * 3  # type: ignore[union-attr]
    with watched._entries[key].path.open("a") as file:
        file.write("damage\n")
    page = watched.run(key)
    assert page
    page._cost = 0.0
    assert watched.run(key).text == "page 2"  # type: ignore[union-attr]


def test_a_page_that_takes_long_is_made_seldom() -> None:
    page = Page()
    assert page.refresh(1, lambda: "one").text == "one"
    page._cost = 1000.0
    assert page.refresh(2, lambda: "two").text == "one"
    page._cost = 0.0
    assert page.refresh(2, lambda: "two").text == "two"


def test_only_so_many_runs_are_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slopewise.live._watched._KEPT", 1)
    watched = Watched(folder)
    watched.index()
    for key in [*watched._entries, *watched._entries]:
        assert watched.run(key)
        assert list(watched._runs) == [key]


@pytest.mark.parametrize(
    "path",
    [
        "/runs/a.jsonl",
        "/runs/..%2fa.jsonl",
        "/runs/%2e%2e/a.jsonl",
        "/static/../live.js",
        "/a.jsonl",
        "/static/live.html.j2",
        "/runs/",
    ],
)
def test_no_path_leads_to_a_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "SyntheticNet" not in answer.text


def test_a_run_that_is_gone_is_not_found(folder: Path, client: TestClient) -> None:
    link = next(link for link in links(client.get("/").text) if "a.jsonl" in client.get(link).text)
    (folder / "a.jsonl").unlink()
    assert client.get(link).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_there_is_only_reading(client: TestClient, method: str) -> None:
    assert client.request(method, "/").status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8460", "localhost.evil.example", "0.0.0.0", "[::2]", ""]
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/static/live.js"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "SyntheticNet" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:8460", "LOCALHOST:1", "[::1]:8460", "localhost"])
def test_own_names_are_not(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},  # a sandboxed frame, or a file
    {"Origin": "http://127.0.0.1:9999"},  # another server of this machine
    {"Origin": "http://127.0.0.1:8460.evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},  # an image, a script
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
]
OWN = [
    {"Origin": "http://127.0.0.1:8460"},
    {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},  # a link
    {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},  # typed into the address bar
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_requests_of_other_origins_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/", "/static/live.js", links(client.get("/").text)[0]):
        answer = client.get(path, headers={"Host": "127.0.0.1:8460", **headers})
        assert answer.status_code == 403
        assert answer.text == "refused: the request comes from a page of another origin"


@pytest.mark.parametrize("headers", OWN)
def test_requests_of_its_own_pages_and_links_are_not(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/", headers={"Host": "127.0.0.1:8460", **headers}).status_code == 200


def test_every_answer_keeps_other_origins_out(client: TestClient) -> None:
    answers = [
        client.get("/"),
        client.get("/absent"),
        client.post("/"),
        client.get("/", headers={"Host": "evil.example"}),
    ]
    for answer in answers:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ["/", *links(client.get("/").text)]:
        text = client.get(path).text
        assert "http://" not in text
        assert "https://" not in text
        assert "onclick" not in text


def test_a_folder_that_is_gone_or_empty_gets_a_note(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    client = TestClient(make_app(folder), base_url="http://localhost")
    assert "The folder does not exist" in client.get("/").text
    folder.mkdir()
    assert "Nothing here yet" in TestClient(make_app(folder), base_url="http://localhost").get("/").text


def test_names_of_a_server_that_all_machines_reach() -> None:
    everywhere = own_names("0.0.0.0", "0.0.0.0")
    assert {os.uname().nodename, "localhost", "127.0.0.1"} <= set(everywhere)
    assert own_names("192.0.2.7", "192.0.2.7") == ("192.0.2.7",)
    assert own_names("box.example", "2001:db8::1") == ("box.example", "2001:db8::1", "[2001:db8::1]")
