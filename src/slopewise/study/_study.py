"""A study: its plan, the run of its trials, and its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slopewise.errors import EngineError, SpecError, StoreError, listed
from slopewise.events import Ended, Event, Prepared, TrialKey
from slopewise.records import StudyRecord, TrialRecord
from slopewise.results import Results
from slopewise.study._bounds import check_bounds
from slopewise.study._cells import check_designs
from slopewise.study._plan import plan, remaining
from slopewise.study._references import describe
from slopewise.study._resume import check_same, united
from slopewise.study._running import StateFile, clear
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import parse_spec, read_spec, stored_spec
from slopewise.study._stages import Stages, settled_trials
from slopewise.study._stopping import stop_requested
from slopewise.study._store import Place, StoredPlan, place_of, point, read_study, stored_study
from slopewise.study._terminable import Termination, terminable
from slopewise.study._workplace import EVERY, Workplace, set_aside
from slopewise.study.engines import GRACE, Engine

OnEvent = Callable[[Event], None]


class Study:
    """A controlled comparison of activations: arms x seeds of one model on one data set.

    Args:
        spec: Validated spec. Alternatively, its fields are given as keywords (see `StudySpec` and docs/spec.md).
            Wherever the spec takes `module:callable`, a callable that worker processes can import is accepted, too.

    Raises:
        SpecError: The spec is wrong; the message says where.

    Example:
        >>> study = Study(arms="relu,prelu_channel", seeds=3, train={"epochs": 5})
        >>> [(trial.arm, trial.seed) for trial in study.plan()][:3]
        [('relu', 0), ('prelu_channel', 0), ('relu', 1)]
    """

    def __init__(self, spec: StudySpec | None = None, **fields: Any) -> None:
        if spec is not None and fields:
            raise SpecError(f"give Study a spec or fields, not both ({listed(list(fields))})")
        if spec is not None and not isinstance(spec, StudySpec):
            hint = ": it is a study already, call its run()" if isinstance(spec, Study) else ""
            raise SpecError(f"spec must be a StudySpec, not {type(spec).__name__}{hint}")
        self.spec = check_designs(parse_spec(fields) if spec is None else check_bounds(spec))

    def plan(self, out: str | Path | None = None, *, store: str | None = None) -> tuple[TrialKey, ...]:
        """Return all trials that the study may run, grouped by seed.

        The actual number depends on results: an adaptive study skips the trials of decided arms, and tuning may add
        learning rates.

        Args:
            out: Folder of the study, whose trials may have added learning rates; None for a study before its start.
            store: URL of the database that the study is stored in, as in `run`.
        """
        return plan(self.spec, None if out is None else stored_study(place_of(out, store)))

    def missing(self, out: str | Path, *, store: str | None = None, retry_failed: bool = False) -> tuple[TrialKey, ...]:
        """Return the trials of the plan that are not stored yet, and that may still run.

        Args:
            out: Folder of the study.
            store: URL of the database that the study is stored in, as in `run`.
            retry_failed: True to count failed trials as missing.

        Raises:
            StoreError: The store holds another study, or cannot be read.
        """
        return self._missing(place_of(out, store), retry_failed=retry_failed)

    def _missing(self, place: Place, *, retry_failed: bool) -> tuple[TrialKey, ...]:
        record = stored_study(place)
        if record is None:
            return self.plan()
        old = stored_spec(record.spec)
        check_same(old, self._spec_in(place, old), str(place), record.primary)
        return remaining(self.spec, record, settled_trials(record, retry_failed=retry_failed))

    def _spec_in(self, place: Place, old: StudySpec) -> StudySpec:
        """Return the spec that a store holds once this study is added to it; drivers that share one add to its arms."""
        return united(old, self.spec) if place.url else self.spec

    def prepare(
        self,
        trials: Sequence[TrialKey],
        *,
        engine: str | Engine = "local",
        workers: int | None = None,
        engine_options: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Read the data, rehearse every arm on a few images and time a step, without running or writing anything.

        Args:
            trials: Trials that are to run, from `plan` or `missing`.
            engine: Engine that is to run them, as in `run`.
            workers: Number of processes side by side, as in `run`.
            engine_options: Options of the engine, as in `run`.

        Raises:
            SlopewiseError: A fault was found that would stop the study before its first trial.
        """
        from slopewise.study._outlook import prepare
        from slopewise.study.engines import make_engine

        count = make_engine(engine, _options(workers, engine_options)).side_by_side(self.spec, len(trials))
        return prepare(self.spec, trials=trials, side_by_side=count)[1]

    def run(
        self,
        out: str | Path,
        *,
        store: str | None = None,
        engine: str | Engine = "local",
        workers: int | None = None,
        engine_options: Mapping[str, Any] | None = None,
        retry_failed: bool = False,
        time_limit: float | None = None,
        checkpoint_every: float = EVERY,
        grace: float = GRACE,
        keep_weights: bool = False,
        keep_memory: bool = True,
        on_event: OnEvent | None = None,
    ) -> Results:
        """Run the trials that `out` lacks, store each as soon as it ends, and return the results of all trials.

        Ctrl-C, SIGTERM and SIGUSR1 end the workers and keep the stored trials; the same call resumes the study. The two
        latter ask trials that run to save a checkpoint, from which they go on.

        If no trial is missing, none is trained and the data are not read: changes in them since are not noticed.

        Args:
            out: Folder of the study; created if missing. Only new arms and seeds can be added to an existing study.
            store: URL of a PostgreSQL database to store the study in, `postgresql://user@host:port/database?study=name`,
                which several drivers can share; see docs/stores.md. None stands for the store of the folder's study,
                which for a new study is a file in the folder.
            engine: Engine that runs the trials: "local", a registered name, `module:Class`, or an `Engine`.
            workers: Number of processes side by side, for "local"; None is the number of cores divided by those that a
                trial takes.
            engine_options: Options of the engine by name, unless `engine` is an `Engine`.
            retry_failed: True to run failed trials again.
            time_limit: Number of seconds that an attempt at a trial may take; None sets no limit. A trial that exceeds
                it, because its data loader hangs for instance, is ended, tried once more, and fails the second time.
            checkpoint_every: Number of seconds from the start of a trial, or from one checkpoint to the next; 0 saves
                none. A trial that is interrupted goes on from its latest checkpoint, and ends as if it had not been.
            grace: Number of seconds that running trials have after SIGTERM or SIGUSR1, to save a checkpoint or to end.
            keep_weights: True to keep the final weights of each trial that runs now and does not diverge, in
                `out/weights/ARM/seed-N.pt`. `load_model` returns the network that has them.
            keep_memory: False to let processes that run trials return freed memory to the system after each step, which
                costs time; see `slopewise.machine.keep_memory`. Results are the same bits.
            on_event: Called with the progress of reading images, and then with every event of the engine.

        Raises:
            SlopewiseError: A fault was found before the first trial.
            SystemExit: SIGTERM or SIGUSR1 was received; the status is 75. Programs that handle these signals themselves
                call `slopewise.study.engines.request_stop` to get the same.
        """
        from slopewise.study._store import Store
        from slopewise.study.engines import make_engine

        runner = make_engine(engine, _options(workers, engine_options))
        if time_limit is not None and not time_limit > 0:
            raise EngineError(f"time_limit: a number of seconds greater than 0, or None for no limit, not {time_limit}")
        for name, seconds in (("grace", grace), ("checkpoint_every", checkpoint_every)):
            if not 0 <= seconds < math.inf:
                raise EngineError(f"{name}: a number of seconds from 0, not {seconds}")
        folder = Path(out)
        place = place_of(out, store)
        with terminable() as termination, _alone_in(folder):
            clear(folder)
            if self._missing(place, retry_failed=retry_failed) or self._to_be_written(place):
                with StateFile(folder) as state:
                    workplace = Workplace(
                        folder.absolute(),
                        checkpoint_every=checkpoint_every,
                        keep_weights=keep_weights,
                        keep_memory=keep_memory,
                    )
                    run = partial(self._run, runner, place, workplace, state, on_event, retry_failed=retry_failed)
                    record = run(termination, time_limit=time_limit, grace=grace)
                return Results(record)
            with closing(Store.open(place)):  # merges the log of a driver that was killed at its end
                return Results(stored_study(place) or read_study(place))

    def _run(
        self,
        runner: Engine,
        place: Place,
        workplace: Workplace,
        state: StateFile,
        on_event: OnEvent | None,
        termination: Termination,
        *,
        retry_failed: bool,
        **limits: Any,
    ) -> StudyRecord:
        from slopewise.study._outlook import described, prepare
        from slopewise.study._store import Store

        record, fault = stored_study(place), None
        new = record is None
        stages = Stages(self.spec, record, retry_failed=retry_failed, on_event=on_event)
        trials = stages.left

        def plan_of(spec: StudySpec) -> StoredPlan:
            own = stages if spec == self.spec else Stages(spec, record, retry_failed=retry_failed)
            return own.plan()

        folder, count = workplace.folder, runner.side_by_side(self.spec, len(trials))
        checked, prepared = prepare(self.spec, trials=trials, side_by_side=count, folder=folder, on_event=on_event)
        if not isinstance(checked.data, Workplace):
            workplace = replace(workplace, images=checked.data)
        for trial in record.trials if record else ():
            _forget(workplace, trial)
        if on_event:
            on_event(prepared)
        if new:
            set_aside(folder)
        point(place)
        facts = checked.facts | described(prepared, record)
        with termination.deferred(), closing(Store.create(place, self.spec, facts, plan_of)) as store:
            any_finished = len(stages.left) < len(self.plan())
            run = runner.run(
                self.spec,
                stages.first(),
                workplace,
                more=partial(stages.next, store),
                claim=partial(store.claim, again=retry_failed) if store.shared else None,
                **limits,
            )
            with closing(run) as events:
                for event in events:
                    if isinstance(event, Ended):
                        any_finished |= event.record.status == "finished"
                        if event.fault and (event.hopeless or not any_finished):  # every trial would have it
                            fault = event.fault
                            break
                        store.add(event.record, event.environment)
                        _forget(workplace, event.record)
                    state.add(event)
                    if on_event:
                        on_event(event)
            if not fault:
                workplace.tidy()
                if not stop_requested():
                    return store.read()
        kept = Store.discard(place) if new else None  # it would keep the user from another function or metric
        raise SpecError(f"{fault} (the trials that had ended are kept in '{kept}')" if kept else fault)

    def _to_be_written(self, place: Place) -> bool:
        """Return True if a store describes another plan, or is damaged outside its trials."""
        record = stored_study(place)
        if record is None or record.damaged:
            return True
        old = stored_spec(record.spec)
        return old.model_dump(mode="json") != self._spec_in(place, old).model_dump(mode="json")


def _forget(workplace: Workplace, record: TrialRecord) -> None:
    """Remove the checkpoints of a stored trial; one that failed may go on from them, once its cause is gone."""
    if record.status == "finished":
        workplace.in_cell(record.cell).forget(record.arm, record.seed)


def _options(workers: int | None, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of an engine, including `workers`, which has an argument of its own."""
    if workers is not None and options and "workers" in options:
        raise EngineError("workers: given twice, as an argument and as an option of the engine")
    return {"workers": workers, **(options or {})}


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Create the folder, and lock it against other drivers inside the block; the lock ends with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout as error:
        raise StoreError(f"another run is at work in '{folder}': wait for it, or choose another folder") from error
    except OSError as error:
        raise StoreError(f"cannot write the output folder '{folder}': {describe(error)}") from error
    with lock:
        yield


def load_study(folder: str | Path) -> Results:
    """Return the results so far of a study, which may still be running; its store is only read.

    Args:
        folder: Folder of the study, or the URL of its database, `postgresql://user@host:port/database?study=name`.

    Damaged trials are left out, and named in ``results.record.damaged``.

    Raises:
        StoreError: There is no such study, or the study's spec is damaged.
    """
    return Results(read_study(folder))


def load_spec(path: str | Path) -> Study:
    """Return the study that a TOML file describes (see docs/spec.md; `slopewise init` writes one).

    Raises:
        SpecError: The file is absent, is not TOML, or has a fault; the message says where.
    """
    return Study(parse_spec(read_spec(path)))
