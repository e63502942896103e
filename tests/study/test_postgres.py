"""Studies in a real PostgreSQL: commands, faults of the server, and several drivers at once."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import slopewise as sw
from slopewise.errors import StoreError, StoreWarning
from slopewise.events import Ended, TrialKey
from slopewise.records import StudyRecord
from slopewise.study import Store, Study, StudySpec, Terminated, read_counts, read_study
from slopewise.study._store import _patience
from slopewise.testing import InProcessEngine, synthetic_study, untimed

from .postgres import Server

TINY = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 1}}
ARMS = ("relu", "prelu_shared")
SYNTHETIC = synthetic_study(ARMS, 2, epochs=2)
SPEC = StudySpec(arms=",".join(ARMS), seeds=2)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    """The study of all tests here, run at once by one driver into a file."""
    study = Study(arms="relu,prelu_shared,elu", seeds=3, **TINY)
    return study.run(tmp_path_factory.mktemp("file"), engine=InProcessEngine()).record


def same(record: StudyRecord, expected: StudyRecord) -> bool:
    """Return True if a study has the trials of another one, whose arms it may lack, bit by bit."""
    trials = {(trial.arm, trial.seed): trial for trial in expected.trials if trial.arm in record.arms}
    return len(record.trials) == len(trials) and all(
        untimed(trial) == untimed(trials[trial.arm, trial.seed]) for trial in record.trials
    )


def test_a_folder_with_a_pointer_is_used_like_any_other(
    server: Server,
    uninterrupted: StudyRecord,
    tmp_path: Path,
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    folder, url = tmp_path / "first", server.url()
    study = Study(arms="relu,elu", seeds=2, **TINY)
    results = study.run(folder, store=url, engine=InProcessEngine())
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "store.url"]
    assert (folder / "store.url").read_text() == f"{url}\n"
    assert same(replace(results.record, seeds=(0, 1, 2)), replace(uninterrupted, trials=tuple(
        trial for trial in uninterrupted.trials if trial.seed < 2
    )))  # fmt: skip
    study = Study(arms="relu,elu", seeds=3, **TINY)
    assert len(study.missing(folder)) == 2
    assert same(study.run(folder, engine=InProcessEngine()).record, uninterrupted)
    assert sw.load_study(url).record == sw.load_study(folder).record
    for place in (folder, url):
        assert cli("status", place).stdout.startswith("ended: 6 of 6 trials\n")
    assert json.loads(cli("status", url, "--json").stdout)["finished"] == 6
    assert "relu" in cli("paragraph", folder).stdout
    assert cli("claims", url).returncode == 0
    assert cli("report", folder).returncode == 0
    assert (folder / "report.html").exists()
    assert cli("report", url).stderr.endswith("no folder: give the file with --to\n")
    assert cli("export", url, "--to", tmp_path / "e.json").returncode == 0
    assert len(json.loads((tmp_path / "e.json").read_text())["trials"]) == 6
    with pytest.raises(StoreError, match=r"is stored in .*leave the store out"):
        study.run(folder, store=server.url(), engine=InProcessEngine())
    with pytest.raises(StoreError, match=r"holds another study: train\.epochs was 1, now 2"):
        Study(arms="relu,elu", seeds=3, **{**TINY, "train": {"epochs": 2}}).missing(folder)


def test_a_live_page_follows_a_study_in_a_database(server: Server, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from slopewise.live import Study as Followed
    from slopewise.live import make_app

    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "store.url").write_text(server.url("followed"))
    with closing(Store.create(tmp_path / "s", SPEC, SYNTHETIC.data)) as store:
        followed = Followed(tmp_path / "s")
        followed.update()
        assert followed.ended == 0
        store.add(SYNTHETIC.trials[0], SYNTHETIC.environments["synthetic"])
        followed.update()
        page = TestClient(make_app(tmp_path), base_url="http://localhost").get("/").text
    assert followed.ended == 1
    assert "1 of 4 trials" in page
    assert followed.changed == pytest.approx(time.time(), abs=600)


REFUSALS = {
    "guarded@127.0.0.1:{port}/postgres": "cannot reach the store.* password",
    "slopewise@127.0.0.1:{port}/nowhere": 'cannot reach the store.* database "nowhere" does not exist',
    "slopewise@127.0.0.1:1/postgres": "cannot reach the store.*start the server, or correct the URL",
    "limited@127.0.0.1:{port}/postgres": "this user may not do that: its owner has to GRANT it .CREATE",
}


@pytest.mark.parametrize("address", REFUSALS)
def test_what_does_not_pass_is_an_error_at_once(server: Server, tmp_path: Path, address: str) -> None:
    role = address.partition("@")[0]
    if role != "slopewise":
        server.execute(f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    url = f"postgresql://{address.format(port=server.port)}"
    study = Study(arms="relu,elu", seeds=2, **TINY)
    with pytest.raises(StoreError, match=REFUSALS[address]):
        study.run(tmp_path / "s", store=url, engine=InProcessEngine())
    if role == "limited":
        assert server.url().partition("://")[0] == "postgresql"
        server.execute("CREATE SCHEMA granted AUTHORIZATION limited")
        Store.create(f"{url}?study=granted", SPEC, SYNTHETIC.data).close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://a/b", "unknown store 'mysql://a/b'"),
        ("postgresql://me:secret@db/lab", r"contains a password.* write 'postgresql://me@db/lab'"),
        ("postgresql://me@db/lab?study=a&password=secret", r"contains a password.*postgresql://me@db/lab\?study=a'"),
        ("postgresql://me@db/lab?study=pg_one", "a use of its own"),
        ("postgresql://me@db/lab?study=" + "é" * 32, "more than 63 bytes"),
        ("postgresql://me@db/lab?study=a%00b", "cannot be printed"),
        ("postgresql://me@db:port/lab", "is no URL"),
        ("postgresql://me@db/lab?study", "is no URL"),
    ],
)
def test_urls_that_cannot_be_used_are_refused(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=words) as error:
        Study(arms="relu,elu", seeds=2, **TINY).missing(tmp_path, store=url)
    assert "secret" not in str(error.value)


def test_a_study_of_any_name_is_a_schema_of_its_own(server: Server) -> None:
    for name in ("my%20first", "a%22b%27c", "%25s%3Aname%3B--", "ünïcode", "UPPER", "table"):
        with closing(Store.create(server.url(name), SPEC, SYNTHETIC.data)) as store:
            store.add(SYNTHETIC.trials[0], SYNTHETIC.environments["synthetic"])
        assert read_counts(server.url(name)).ended == 1
    server.execute("CREATE SCHEMA taken", "CREATE TABLE taken.t (x int)")
    with pytest.raises(StoreError, match="has other tables in the schema 'taken'"):
        Store.create(server.url("taken"), SPEC, SYNTHETIC.data)


@pytest.mark.parametrize("ended", [0, 1])
def test_a_study_that_a_fault_has_stopped_is_out_of_the_way(server: Server, ended: int) -> None:
    url = server.url()
    with closing(Store.create(url, SPEC, SYNTHETIC.data)) as store:
        for trial in SYNTHETIC.trials[:ended]:
            store.add(trial, SYNTHETIC.environments["synthetic"])
        store.claim(TrialKey("relu", 1))
        assert Store.discard(url) == url  # a driver is at work in it
    kept = Store.discard(url)
    assert read_counts(kept).ended == 1 if kept else ended == 0
    Store.create(url, StudySpec(arms="relu,elu", seeds=3), SYNTHETIC.data).close()


def test_a_damaged_row_is_missing_and_trained_anew(server: Server) -> None:
    name = "damaged"
    url = server.url(name)
    with closing(Store.create(url, SPEC, SYNTHETIC.data)) as store:
        for trial in SYNTHETIC.trials:
            store.add(trial, SYNTHETIC.environments["synthetic"])
    change = "UPDATE damaged.records SET scores = replace(scores, '0', '1') WHERE arm = 'relu' AND seed = 1"
    server.execute(change, "DELETE FROM damaged.environments")
    assert read_study(url).damaged == ("relu seed 1", "environment synthetic")
    with pytest.warns(StoreWarning, match="was damaged: the study goes on without relu seed 1"):
        store = Store.create(url, SPEC, SYNTHETIC.data)
    with closing(store):
        assert len(store.read().trials) == 3
        assert store.read().damaged == ()
        store.add(SYNTHETIC.trials[1], SYNTHETIC.environments["synthetic"])
        server.execute(change)  # in the middle of the run
        store.add(SYNTHETIC.trials[1], SYNTHETIC.environments["synthetic"])
    record = read_study(url)
    assert (len(record.trials), record.damaged, record.repeats) == (4, (), ())
    assert record.environments == SYNTHETIC.environments


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warn soon."""
    monkeypatch.setattr(_patience, "_QUIET", 0.1)


def test_a_study_outlives_restarts_of_its_server(
    server: Server, uninterrupted: StudyRecord, tmp_path: Path, impatient: None
) -> None:
    ends = 0

    def restart(event: object) -> None:
        nonlocal ends
        if isinstance(event, Ended):
            ends += 1
            if ends == 2:
                server.stop()
                threading.Timer(0.5, server.start).start()
            if ends == 4:  # so quickly that only the connection is gone
                server.stop("immediate")
                server.start()

    study = Study(arms="relu,prelu_shared,elu", seeds=3, **TINY)
    with pytest.warns(StoreWarning, match="cannot be reached: waiting") as warned:
        record = study.run(tmp_path, store=server.url(), engine=InProcessEngine(), on_event=restart).record
    assert same(record, uninterrupted)
    assert record.repeats == ()
    assert len(warned) == 1


def test_sigterm_ends_the_waiting_for_a_server_with_the_status_to_go_on(
    server: Server, uninterrupted: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_patience, "_LAST", 0.1)
    ended: list[object] = []

    def stop(event: object) -> None:
        ended.extend([event] * isinstance(event, Ended))
        if len(ended) == 2:
            server.stop()
            os.kill(os.getpid(), signal.SIGTERM)

    study = Study(arms="relu,prelu_shared,elu", seeds=3, **TINY)
    try:
        with pytest.raises(Terminated) as terminated:
            study.run(tmp_path, store=server.url(), engine=InProcessEngine(), on_event=stop)
    finally:
        server.start()
    assert terminated.value.code == 75
    assert same(study.run(tmp_path, engine=InProcessEngine()).record, uninterrupted)


def test_ctrl_c_ends_the_waiting_for_a_server(server: Server, impatient: None) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with closing(Store.create(server.url(), SPEC, SYNTHETIC.data)) as store:
            store.claim(TrialKey("relu", 1))
            server.stop()
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.warns(StoreWarning), pytest.raises(KeyboardInterrupt):
                store.add(SYNTHETIC.trials[0], None)
    finally:
        signal.signal(signal.SIGALRM, before)
        server.start()


DRIVER = """
import sys, warnings
from slopewise.study import Store, Study
from slopewise.testing import InProcessEngine
warnings.simplefilter("error")
Store.create.__kwdefaults__["lease"] = 2.0
arms, url, folder = sys.argv[1:]
study = Study(arms=arms, seeds=3, data={"train_size": 100}, model={"options": {"width": 4}}, train={"epochs": 1})
study.run(folder, store=url, engine=InProcessEngine())
"""


@pytest.fixture
def driver(
    tmp_path: Path, start_script: Callable[..., subprocess.Popen[str]]
) -> Iterator[Callable[[str, str], subprocess.Popen[str]]]:
    """Start a driver with a process and a folder of its own; its claims hold for two seconds."""
    processes = []
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)

    def start(arms: str, url: str) -> subprocess.Popen[str]:
        folder = tmp_path / f"driver{len(processes)}"
        processes.append(start_script(script, arms, url, folder, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for_claim(store: Store, process: subprocess.Popen[str]) -> None:
    """Wait until a driver has claimed a trial."""
    while not any(int(claim.owner.split()[1]) == process.pid for claim in store.claims()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@pytest.mark.slow
def test_drivers_add_arms_to_one_study_at_once(
    server: Server, uninterrupted: StudyRecord, driver: Callable[[str, str], subprocess.Popen[str]]
) -> None:
    url = server.url()
    drivers = [driver(arms, url) for arms in ("relu,elu", "relu,prelu_shared")]
    for process in drivers:
        assert process.wait() == 0, process.communicate()[1]
    record = read_study(url)
    assert set(record.arms) == {"relu", "elu", "prelu_shared"}
    assert same(record, uninterrupted)
    assert record.repeats == ()


@pytest.mark.slow
def test_the_trials_of_drivers_that_are_gone_are_taken_over(
    server: Server, uninterrupted: StudyRecord, tmp_path: Path, driver: Callable[[str, str], subprocess.Popen[str]]
) -> None:
    url, arms = server.url(), "relu,prelu_shared,elu"
    study = Study(arms=arms, seeds=3, **TINY)
    with closing(Store.create(url, study.spec, uninterrupted.data)) as store:
        frozen, killed = driver(arms, url), driver(arms, url)
        for process, fault in ((frozen, signal.SIGSTOP), (killed, signal.SIGKILL)):
            wait_for_claim(store, process)
            os.kill(process.pid, fault)
    record = study.run(tmp_path / "third", store=url, engine=InProcessEngine()).record
    assert same(record, uninterrupted)
    assert record.repeats == ()
    os.kill(frozen.pid, signal.SIGCONT)
    assert frozen.wait() == 0, frozen.communicate()[1]
    after = read_study(url)
    assert after.trials == record.trials
    assert all(repeat.equal and repeat.same_identity for repeat in after.repeats)
    assert len(after.repeats) <= 1  # it may have been stopped between two trials


def test_an_alarm_is_raised_where_a_repeat_differs(server: Server) -> None:
    from slopewise.report import render_html, summary_text

    url = server.url()
    first = replace(SYNTHETIC.trials[0], identity="i")
    with closing(Store.create(url, SPEC, SYNTHETIC.data)) as store:
        for trial in (first, replace(first, seconds=1.0), replace(first, steps=1)):
            store.add(trial, SYNTHETIC.environments["synthetic"])
    text = " ".join(summary_text(read_study(url)).split())
    page = render_html(read_study(url)).replace("\u00a0", " ")
    assert "1 trial was trained twice and agrees bit by bit." in text
    assert "Caution: relu seed 0 has two results: trained twice from the same spec" in text
    assert all(part in page for part in ("twice and agrees bit by bit", "relu seed 0 has two results"))
