"""Stages of a study: tuning, looks, cells; decided by the records alone, so that an interruption changes nothing."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slopewise.analysis import tuning
from slopewise.errors import SpecError, StoreError
from slopewise.events import Event, Look, TrialKey, Tuned
from slopewise.records import CellRecord, ScoreRecord, StudyRecord, TrialRecord
from slopewise.study import Study, StudySpec, load_study, read_counts
from slopewise.study._plan import chosen_rates, next_trials, plan, quasirandom_rates, remaining, tuning_cells
from slopewise.testing import InProcessEngine, synthetic_study

SMALL: dict[str, Any] = {
    "arms": "relu,prelu_channel",
    "seeds": 3,
    "data": {"train_size": 100},
    "model": {"options": {"width": 4}},
    "train": {"epochs": 1},
    "monitor": {"every": 0},
}


def test_quasirandom_rates_are_the_van_der_corput_sequence_on_a_log_scale() -> None:
    tune = StudySpec(tune={"lr": [0.001, 10], "points": 7}).tune
    assert tune is not None
    halves = [1 / 2, 3 / 4, 1 / 4, 3 / 8, 7 / 8, 5 / 8, 1 / 8]
    for rate, place in zip(quasirandom_rates(tune), halves, strict=True):
        assert math.isclose(rate, 10 ** (-3 + 4 * place), rel_tol=5e-3)


def scored(spec: StudySpec, best: float, arm_best: dict[str, float] | None = None) -> StudyRecord:
    """Return a record whose tuning trials score best at a rate, for as many rounds as the plan asks for."""
    record = dataclasses.replace(
        synthetic_study(tuple(arm.name for arm in spec.arms), seeds=0), trials=(), seeds=spec.seeds
    )
    for _ in range(20):
        cells = tuple(
            dataclasses.replace(cell, trials=tuple(trials(cell, best, arm_best or {})))
            for cell in tuning_cells(spec, record)
        )
        if len(cells) == len(record.cells):
            return record
        record = dataclasses.replace(record, cells=cells)
    raise AssertionError


def trials(cell: CellRecord, best: float, arm_best: dict[str, float]) -> Iterator[TrialRecord]:
    for seed in cell.seeds:
        for arm in cell.arms:
            distance = abs(math.log(cell.settings["train.lr"] / arm_best.get(arm, best)))
            score = ScoreRecord(None, "validation", "accuracy", 1 / (1 + distance))
            yield TrialRecord(arm, seed, "finished", scores=(score,), cell=cell.key)


def test_each_arm_gets_its_best_rate_out_of_the_same_ones() -> None:
    spec = StudySpec(arms="relu,elu", seeds=2, tune={"lr": [0.01, 1], "points": 4, "seeds": 2, "widen": 0})
    record = scored(spec, 0.1, {"elu": 0.06})
    assert chosen_rates(spec, record) == (("relu", 0.1), ("elu", 0.0562))
    assert {cell.arms for cell in record.cells} == {("relu", "elu")}
    assert {cell.seeds for cell in record.cells} == {(1_000_000, 1_000_001)}
    own = next_trials(spec, record, {(t.arm, t.seed, t.cell) for t in record.every_trial})
    assert [(t.arm, t.seed, t.cell) for t in own] == [("relu", 0, ""), ("elu", 0, ""), ("relu", 1, ""), ("elu", 1, "")]
    assert {t.rates for t in own} == {(("relu", 0.1), ("elu", 0.0562))}


def test_a_best_rate_at_the_edge_widens_the_range_for_every_arm_or_is_refused() -> None:
    fields = {"arms": "relu,elu", "seeds": 2}
    spec = StudySpec(**fields, tune={"lr": [0.01, 1], "points": 4, "seeds": 1, "widen": 3})
    record = scored(spec, 0.1, {"elu": 1.2})
    rates = [cell.settings["train.lr"] for cell in record.cells]
    assert len(rates) > 4
    assert max(rates) > 1.2
    assert {cell.arms for cell in record.cells} == {("relu", "elu")}
    assert min(rates) < dict(chosen_rates(spec, record))["elu"] < max(rates)
    narrow = StudySpec(**fields, tune={"lr": [0.01, 1], "points": 4, "seeds": 1, "widen": 0})
    with pytest.raises(SpecError, match=r"'elu' is best at 0\.316, the highest learning rate that was tried"):
        chosen_rates(narrow, scored(narrow, 0.1, {"elu": 1.2}))


def test_an_adaptive_study_gives_decided_arms_no_further_seeds() -> None:
    spec = StudySpec(arms="relu,elu,gelu", seeds=24, until_decided={"looks": [10, 16, 24]})
    assert len(next_trials(spec, None, ())) == 30
    record = synthetic_study(("relu", "elu", "gelu"), looks=(10, 16, 24), effects={"elu": 5.0}, seeds=24)
    early = dataclasses.replace(record, trials=tuple(t for t in record.trials if t.seed < 10))
    settled = {(t.arm, t.seed, t.cell) for t in early.trials}
    following = next_trials(spec, early, settled)
    assert {t.arm for t in following} == {"relu", "gelu"}
    assert sorted({t.seed for t in following}) == list(range(10, 16))
    assert len(remaining(spec, early, settled)) == 2 * 14
    assert len(plan(spec)) == 3 * 24


def test_the_continuation_of_the_control_goes_on_as_long_as_an_arm_needs_it() -> None:
    start = {"arm": "relu", "take": "weights"}
    arms = ["relu", "gelu", *({"name": f"{name}_on", "activation": name, "start": start} for name in ("relu", "elu"))]
    looks = (10, 16, 24)
    spec = StudySpec(arms=arms, seeds=24, until_decided={"looks": looks})
    for effects, open_arms in (
        ({"gelu": 5.0}, {"relu", "relu_on", "elu_on"}),
        ({"elu_on": 5.0}, {"relu", "gelu"}),
        ({"gelu": 5.0, "elu_on": 5.0}, set[str]()),
    ):
        record = synthetic_study(arms, looks=looks, effects=effects)
        early = dataclasses.replace(record, trials=tuple(t for t in record.trials if t.seed < 10))
        settled = {(t.arm, t.seed, t.cell) for t in early.trials}
        assert {t.arm for t in next_trials(spec, early, settled)} == open_arms


@pytest.fixture(scope="module")
def designed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study, list[Event]]:
    study = Study(
        **SMALL,
        until_decided={"looks": [2, 3]},
        tune={"lr": [0.003, 0.3], "points": 3, "seeds": 1, "widen": 9},
        map={"lr": [0.02], "init": [0.5], "seeds": 1},
        factors=[{"setting": "model.options.batch_norm", "values": [True], "seeds": 1}],
    )
    events: list[Event] = []
    folder = tmp_path_factory.mktemp("designed")
    study.run(folder, engine=InProcessEngine(), on_event=events.append)
    return folder, study, events


def test_a_study_with_every_design_runs_in_stages(designed: tuple[Path, Study, list[Event]]) -> None:
    folder, study, events = designed
    record = load_study(folder).record
    (tuned,) = [event for event in events if isinstance(event, Tuned)]
    looks = [event for event in events if isinstance(event, Look)]
    assert [(look.seeds, look.next) for look in looks] == [(2, 3), (3, None)]
    assert {t.arm: t.tuned_lr for t in record.trials} == dict(tuned.rates)
    assert len(record.trials) == 6
    assert {role for cell in record.cells for role in cell.roles} == {"tune", "map", "factors"}
    assert all(len(cell.trials) == len(cell.arms) * len(cell.seeds) for cell in record.cells)
    counts = read_counts(folder)
    assert counts.ended == counts.planned == counts.most == len(record.every_trial)
    assert study.missing(folder) == ()
    (batch_norm,) = record.cells_of("factors")
    assert all(t.parameters > record.trials[0].parameters for t in batch_norm.trials)


def test_an_interrupted_study_ends_as_if_it_had_not_been(
    designed: tuple[Path, Study, list[Event]], tmp_path: Path
) -> None:
    folder, study, _ = designed
    ended = 0

    def interrupt(event: Event) -> None:
        nonlocal ended
        ended += type(event).__name__ == "Ended"
        if ended == 5:
            ended = 0
            raise KeyboardInterrupt

    for _ in range(30):
        try:
            again = study.run(tmp_path, engine=InProcessEngine(), on_event=interrupt).record
            break
        except KeyboardInterrupt:
            pass
    whole = load_study(folder).record
    assert [bits(t) for t in again.every_trial] == [bits(t) for t in whole.every_trial]
    assert [cell.key for cell in again.cells] == [cell.key for cell in whole.cells]


def bits(trial: TrialRecord) -> Any:
    return trial.arm, trial.seed, trial.cell, trial.tuned_lr, trial.init_digest, trial.scores


def test_a_study_cannot_change_its_kind_afterwards(designed: tuple[Path, Study, list[Event]], tmp_path: Path) -> None:
    fixed = Study(**SMALL)
    fixed.run(tmp_path, engine=InProcessEngine())
    with pytest.raises(StoreError, match=r"has a fixed number of seeds, and cannot become adaptive"):
        Study(**SMALL, until_decided=True).missing(tmp_path)
    more = [{"setting": "train.momentum", "values": [0.5], "seeds": 1}]
    assert len(Study(**SMALL, factors=more).missing(tmp_path)) == 2
    Study(**SMALL, factors=more).run(tmp_path, engine=InProcessEngine())
    more = [{"setting": "train.momentum", "values": [0.5, 0.6], "seeds": 2}]
    assert len(Study(**SMALL, factors=more).missing(tmp_path)) == 2 + 4
    folder, study, _ = designed
    fields = study.spec.model_dump(mode="json")
    for change, words in (
        ({"until_decided": None}, "cannot get a fixed number of seeds"),
        (
            {"seeds": [0, 1, 2, 3], "until_decided": {"looks": [2, 4]}},
            "but the looks and their error rate were planned",
        ),
        ({"arms": "relu,prelu_channel,elu"}, "arm elu is new, but the looks"),
        ({"factors": []}, "trials of the factors with model.options.batch_norm = true are gone"),
        ({"map": {**fields["map"], "lr": [0.03]}}, r"trials of the map with train.lr = 0.02.* are gone"),
        ({"tune": {**fields["tune"], "points": 5}}, "tune.points was 3, now 5"),
    ):
        with pytest.raises(StoreError, match=words):
            Study(**{**fields, **change}).missing(folder)


def test_a_failed_trial_on_which_a_look_rests_is_not_retried() -> None:
    from slopewise.study._stages import settled_trials

    record = synthetic_study(("relu", "elu"), looks=(4, 6), seeds=6)
    failed = dataclasses.replace(record.trials[1], status="failed")
    early = dataclasses.replace(record, trials=(record.trials[0], failed, *record.trials[2:]))
    assert (failed.arm, failed.seed, "") in settled_trials(early, retry_failed=True)
    fixed = dataclasses.replace(early, looks=())
    assert (failed.arm, failed.seed, "") not in settled_trials(fixed, retry_failed=True)
    assert TrialKey("relu", 0) in {TrialKey(*key) for key in settled_trials(fixed, retry_failed=True)}


@pytest.mark.parametrize(
    ("broken", "stable", "expected"),
    [
        ((), True, 0.1),
        ((0.1,), True, 0.0316),  # its lower neighbour, 0.0562, lies next to it
        ((0.178,), True, 0.0562),
        ((0.178,), False, 0.1),
        ((0.1, 0.562), True, 0.0316),
        ((0.0562,), False, 0.1),
    ],
)
def test_a_rate_next_to_divergence_is_passed_over(broken: tuple[float, ...], stable: bool, expected: float) -> None:
    """Of five trials at a rate, one diverges, and costs less than the rate gains."""
    spec = StudySpec(
        arms="relu,elu", seeds=2, tune={"lr": [0.01, 1], "points": 7, "seeds": 5, "widen": 0, "stable": stable}
    )
    record = scored(spec, 0.1)
    cells = []
    for cell in record.cells:
        first, *others = cell.trials
        breaks = cell.settings["train.lr"] in broken and first.arm == "relu"
        lost = dataclasses.replace(first, diverged_step=3, scores=()) if breaks else first
        cells.append(dataclasses.replace(cell, trials=(lost, *others)))
    record = dataclasses.replace(record, cells=tuple(cells), spec=spec.plain())
    assert dict(chosen_rates(spec, record))["relu"] == expected
    of_relu, of_elu = tuning(record)
    best = max(zip(of_relu.scores, of_relu.rates, strict=True))[1]
    assert (of_relu.rate, of_relu.passed_over) == (expected, None if best == expected else best)
    assert (of_elu.rate, of_elu.passed_over) == (0.1, None)


def test_without_a_rate_away_from_divergence_the_range_is_widened_downwards() -> None:
    tune = {"lr": [0.01, 1], "points": 7, "seeds": 5}
    spec = StudySpec(arms="relu", seeds=2, tune={**tune, "widen": 0})
    record = scored(spec, 0.1)
    cells = tuple(
        dataclasses.replace(cell, trials=tuple(dataclasses.replace(t, diverged_step=3, scores=()) for t in cell.trials))
        if cell.settings["train.lr"] == 0.0562
        else cell
        for cell in record.cells
    )
    record = dataclasses.replace(record, cells=cells, spec=spec.plain())
    assert (tuning(record)[0].rate, tuning(record)[0].edge) == (0.0178, "lowest")
    with pytest.raises(SpecError, match=r"is left with 0.0178, the lowest .* a lower tune.lr, .* tune.stable = false"):
        chosen_rates(spec, record)
    wider = tuning_cells(StudySpec(arms="relu", seeds=2, tune={**tune, "widen": 1}), record)
    assert sorted(cell.settings["train.lr"] for cell in wider)[:2] == [0.00563, 0.01]


def test_of_equal_scores_the_lowest_rate_is_taken_whatever_the_rounding() -> None:
    spec = StudySpec(arms="relu", seeds=2, tune={"lr": [0.01, 1], "points": 5, "seeds": 3, "widen": 0})
    scores = {
        0.1: (0.1, 0.2, 0.3),
        0.316: (0.3, 0.2, 0.1),
        0.0562: (0.3, 0.1, 0.2),
        0.0316: (0, 0, 0),
        0.562: (0, 0, 0),
    }
    record = scored(spec, 0.1)
    cells = []
    for cell in record.cells:
        values = scores.get(cell.settings["train.lr"], (0.0, 0.0, 0.0))
        rows = [(ScoreRecord(None, "validation", "accuracy", value),) for value in values]
        trials_ = (dataclasses.replace(t, scores=row) for t, row in zip(cell.trials, rows, strict=True))
        cells.append(dataclasses.replace(cell, trials=tuple(trials_)))
    assert chosen_rates(spec, dataclasses.replace(record, cells=tuple(cells))) == (("relu", 0.0562),)
