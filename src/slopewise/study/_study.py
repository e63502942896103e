"""A study: from its spec to trials run, stored, and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slopewise.errors import SpecError, StoreError, listed
from slopewise.events import Ended, Event, Prepared, TrialKey
from slopewise.results import Results
from slopewise.study._bounds import check_bounds
from slopewise.study._references import describe
from slopewise.study._resume import check_same
from slopewise.study._running import Telling, clear
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import parse_spec, read_spec, stored_spec
from slopewise.study._store import holds_study, read_study
from slopewise.study._terminable import terminable
from slopewise.study.engines import Engine

OnEvent = Callable[[Event], None]


class Study:
    """A controlled comparison of activations: arms x seeds of one model on one data set.

    Args:
        spec: a validated spec; or give its fields as keywords (see `StudySpec` and docs/spec.md). A callable is
            taken wherever the spec says `module:callable`, if worker processes can import it.

    Raises:
        SpecError: the spec is wrong; the message says where.

    Example:
        >>> study = Study(arms="relu,prelu_channel", seeds=3, train={"epochs": 5})
        >>> [(trial.arm, trial.seed) for trial in study.plan()][:3]
        [('relu', 0), ('prelu_channel', 0), ('relu', 1)]
    """

    def __init__(self, spec: StudySpec | None = None, **fields: Any) -> None:
        if spec is not None and fields:
            raise SpecError(f"give Study a spec or fields, not both ({listed(list(fields))})")
        self.spec = parse_spec(fields) if spec is None else check_bounds(spec)

    def plan(self) -> tuple[TrialKey, ...]:
        """Every trial. The arms of one seed stand together, so that a drift of the machine meets all arms alike."""
        return tuple(TrialKey(arm.name, seed) for seed in self.spec.seeds for arm in self.spec.arms)

    def missing(self, out: str | Path, *, retry_failed: bool = False) -> tuple[TrialKey, ...]:
        """The trials of the plan that a folder does not hold yet.

        Raises:
            StoreError: the folder holds another study.
        """
        if not holds_study(out):
            return self.plan()
        record = read_study(out)
        check_same(stored_spec(record.spec), self.spec, out)
        done = {(trial.arm, trial.seed): trial.status for trial in record.trials}
        kept = {"finished"} if retry_failed else {"finished", "failed"}
        return tuple(trial for trial in self.plan() if done.get((trial.arm, trial.seed)) not in kept)

    def prepare(self, trials: int, *, engine: str | Engine = "local", workers: int | None = None) -> Prepared:
        """Read the data, rehearse every arm on a few images and time a step, without running or writing anything.

        Args:
            trials: Number of trials that are to run.
            engine: As in `run`.
            workers: As in `run`.

        Raises:
            SlopewiseError: Something is wrong that can be found before the first trial.
        """
        from slopewise.study._outlook import prepare
        from slopewise.study.engines import make_engine

        count = make_engine(engine, workers=workers).side_by_side(self.spec, trials)
        return prepare(self.spec, trials=trials, side_by_side=count)[1]

    def run(
        self,
        out: str | Path,
        *,
        engine: str | Engine = "local",
        workers: int | None = None,
        retry_failed: bool = False,
        on_event: OnEvent | None = None,
    ) -> Results:
        """Run the trials that `out` lacks, each stored as soon as it ends, and return everything.

        Ctrl-C and SIGTERM end the workers and keep what is stored; the same call goes on from there.

        Args:
            out: folder of the study; made if need be. Only new arms and seeds may be added to an old one.
            engine: where trials run: "local", or an `Engine`.
            workers: processes side by side; by default one a core.
            retry_failed: run failed trials again, too.
            on_event: told how far the reading of images is, and then every event of the engine, for a display.

        Raises:
            SlopewiseError: something is wrong that can be found before the first trial.
            SystemExit: SIGTERM has come; the status is 143. Programs with a handler of their own do not get it.
        """
        from slopewise.study.engines import make_engine

        runner = make_engine(engine, workers=workers)
        folder = Path(out)
        with terminable(), _alone_in(folder):
            clear(folder)
            missing = self.missing(folder, retry_failed=retry_failed)
            if missing or self._grown(folder):
                with Telling(folder) as now:
                    self._run(runner, folder, missing, now, on_event)
            return read_results(folder)

    def _run(
        self, runner: Engine, folder: Path, missing: tuple[TrialKey, ...], now: Telling, on_event: OnEvent | None
    ) -> None:
        from slopewise.study._outlook import prepare
        from slopewise.study._store import Store

        count = runner.side_by_side(self.spec, len(missing))
        found, prepared = prepare(self.spec, trials=len(missing), side_by_side=count, folder=folder, tell=on_event)
        if on_event:
            on_event(prepared)
        with (
            closing(Store.create(folder, self.spec, found.facts)) as store,
            closing(runner.run(self.spec, missing, found.data)) as events,
        ):
            for event in events:
                if isinstance(event, Ended):
                    store.add(event.record, event.environment)
                now.tell(event)
                if on_event:
                    on_event(event)

    def _grown(self, folder: Path) -> bool:
        return stored_spec(read_study(folder).spec).model_dump(mode="json") != self.spec.model_dump(mode="json")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other drivers out of it for as long as this process lives."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout as error:
        raise StoreError(f"another run is at work in '{folder}': wait for it, or choose another folder") from error
    except OSError as error:
        raise StoreError(f"cannot write the output folder '{folder}': {describe(error)}") from error
    with lock:
        yield


def read_results(folder: str | Path) -> Results:
    """Return what the study in a folder has found so far, also while it runs; the folder is only read.

    Trials that are damaged are left out, and named in ``results.record.damaged``.

    Raises:
        StoreError: No study is there, or what it was asked is damaged.
    """
    return Results(read_study(folder))


def load_spec(path: str | Path) -> Study:
    """The study that a TOML file describes (see docs/spec.md; `slopewise init` writes one).

    Raises:
        SpecError: the file is absent, is not TOML, or has a fault; the message says where.
    """
    return Study(parse_spec(read_spec(path)))
