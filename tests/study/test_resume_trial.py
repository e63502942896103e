"""A trial that is interrupted at any step goes on from its checkpoint, and ends bitwise as one that was not."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from slopewise.errors import StoreWarning
from slopewise.records import TrialRecord
from slopewise.study import Checkpoints, StudySpec, parse_spec, run_trial
from slopewise.study.data import ImageData, load_data
from slopewise.study.engines import request_stop, withdraw_stop
from slopewise.testing import untimed

# A shared slope with dropout behind it; it interrupts the step with the number `at`, by an error or by asking to stop.
CODE = """
import random
import numpy, torch
import slopewise as sw
from slopewise.study.engines import request_stop

class Interrupting(sw.PReLU):
    at, how, steps = 0, "raise", 0

    def __init__(self, first):
        super().__init__()
        self.first = first

    def forward(self, x):
        if self.training and self.first:
            Interrupting.steps += 1
            if Interrupting.steps == Interrupting.at:
                if self.how == "raise":
                    raise RuntimeError("interrupted")
                request_stop()
        scale = 1 + 0.01 * random.random() + 0.01 * numpy.random.rand() if self.training else 1
        return torch.nn.functional.dropout(scale * super().forward(x), 0.1, self.training)

made = 0
def interrupting(channels):
    global made
    made += 1
    return Interrupting(made % 6 == 1)
"""
EPOCHS, STEPS = 2, 4  # steps of an epoch
TINY = {
    "data": {"train_size": 200, "augment": {"flip": True, "erase": 0.5}},
    "model": {"options": {"width": 4, "batch_norm": True}},
    "train": {"epochs": EPOCHS, "batch_size": 42, "lr": 0.3},
    "monitor": {"every": 1},
    "seeds": [0, 1],  # operators are compared in the first alone
}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(parse_spec(TINY).data)


@pytest.fixture
def module(user_module: Callable[[str, str], str]) -> ModuleType:
    return importlib.import_module(user_module("interrupting", CODE))


@pytest.fixture(autouse=True)
def _nothing_requested() -> Iterator[None]:
    yield
    withdraw_stop()


def spec_of(**train: object) -> StudySpec:
    # The slopes wander off, and decay on purpose: both raise alarms, one of them after several samples.
    arm = {"name": "arm", "activation": "interrupting:interrupting", "slope_lr_scale": 30.0, "slope_weight_decay": 0.01}
    return parse_spec({**TINY, "arms": [arm], "train": {**TINY["train"], **train}})


def interrupted(module: ModuleType, spec: StudySpec, data: ImageData, folder: Path, *steps: int) -> TrialRecord:
    """The record of a trial that is interrupted at these steps, each counted from the beginning of its attempt."""
    checkpoints, raises = Checkpoints(folder, identity="trial"), module.Interrupting.how == "raise"
    for step in steps:
        module.Interrupting.at, module.Interrupting.steps, module.made = step, 0, 0
        with pytest.raises(BaseException, match="interrupted" if raises else "^$"):
            run_trial(spec, "arm", 1, data, checkpoints=checkpoints, checkpoint_every=0.0 if raises else 1e9)
        withdraw_stop()
    module.Interrupting.at, module.made = 0, 0
    return run_trial(spec, "arm", 1, data, checkpoints=checkpoints, checkpoint_every=1e9)


def whole(module: ModuleType, spec: StudySpec, data: ImageData) -> TrialRecord:
    module.Interrupting.at, module.made = 0, 0
    return run_trial(spec, "arm", 1, data)


@pytest.mark.parametrize(
    ("optimizer", "lr", "steps"), [("sgd", 0.3, range(2, EPOCHS * STEPS + 1)), ("adamw", 0.02, (3, 7))]
)
def test_from_any_step_the_record_is_bitwise_the_same(
    module: ModuleType, data: ImageData, tmp_path: Path, optimizer: str, lr: float, steps: Sequence[int]
) -> None:
    spec = spec_of(optimizer=optimizer, lr=lr)
    expected = whole(module, spec, data)
    assert expected.steps == EPOCHS * STEPS
    assert {alarm.step for alarm in expected.alarms} - {1}
    for step in steps:
        assert untimed(interrupted(module, spec, data, tmp_path / str(step), step)) == untimed(expected)


def test_it_may_be_interrupted_again_and_again(module: ModuleType, data: ImageData, tmp_path: Path) -> None:
    spec = spec_of()
    record = interrupted(module, spec, data, tmp_path / "c", 2, 2, 3, 2)
    assert untimed(record) == untimed(whole(module, spec, data))
    assert record.seconds > 0
    assert record.epochs[2].seconds_per_step > 0


def test_a_trial_that_is_asked_to_stop_saves_the_step_that_it_is_at(
    module: ModuleType, data: ImageData, tmp_path: Path
) -> None:
    spec = spec_of()
    module.Interrupting.how = "ask"
    assert untimed(interrupted(module, spec, data, tmp_path / "c", 1, 5)) == untimed(whole(module, spec, data))
    names = sorted(path.name.partition("-")[0] for path in (tmp_path / "c").iterdir())
    assert [int(name) for name in names] == [1, 6]  # steps of the trial, not of the attempts


def test_damage_costs_a_checkpoint_and_not_the_result(module: ModuleType, data: ImageData, tmp_path: Path) -> None:
    spec, expected = spec_of(), whole(module, spec_of(), data)
    for step in (6, 3):
        checkpoints = Checkpoints(tmp_path / str(step), identity="trial")
        module.Interrupting.at, module.Interrupting.steps, module.made = step, 0, 0
        with pytest.raises(RuntimeError, match="interrupted"):
            run_trial(spec, "arm", 1, data, checkpoints=checkpoints, checkpoint_every=0.0)
        latest = max(checkpoints.folder.iterdir())
        latest.write_bytes(latest.read_bytes()[:-1])
        module.Interrupting.at, module.made = 0, 0
        with pytest.warns(StoreWarning, match="is damaged"):
            record = run_trial(spec, "arm", 1, data, checkpoints=checkpoints, checkpoint_every=1e9)
        assert untimed(record) == untimed(expected)


def test_an_arm_that_starts_from_another_keeps_what_it_took(
    module: ModuleType, data: ImageData, tmp_path: Path
) -> None:
    arms = [
        {"name": "donor", "activation": "prelu_shared", "epochs": 1},
        {"name": "arm", "activation": "interrupting:interrupting", "start": {"arm": "donor", "take": "weights"}},
    ]
    spec = parse_spec({**TINY, "arms": arms})
    assert untimed(interrupted(module, spec, data, tmp_path / "c", 5)) == untimed(whole(module, spec, data))


def test_a_divergence_after_a_checkpoint_is_the_same_result(
    module: ModuleType, data: ImageData, tmp_path: Path
) -> None:
    spec = spec_of(lr=1e4)
    expected = whole(module, spec, data)
    assert 2 < expected.diverged_step < EPOCHS * STEPS
    assert untimed(interrupted(module, spec, data, tmp_path / "c", expected.diverged_step)) == untimed(expected)


def test_epochs_are_told_on_from_the_latest(module: ModuleType, data: ImageData, tmp_path: Path) -> None:
    spec, epochs = spec_of(), []
    interrupted_ = Checkpoints(tmp_path / "c", identity="trial")
    module.Interrupting.at, module.Interrupting.steps = STEPS + 2, 0
    with pytest.raises(RuntimeError, match="interrupted"):
        run_trial(spec, "arm", 1, data, checkpoints=interrupted_, checkpoint_every=0.0)
    module.Interrupting.at, module.made = 0, 0
    told = lambda epoch, scores: epochs.append((epoch.epoch, len(scores) > 0))  # noqa: E731
    run_trial(spec, "arm", 1, data, told, checkpoints=interrupted_)
    assert epochs == [(1, True), (2, True)]


def test_without_checkpoints_a_trial_that_is_asked_ends_at_once(module: ModuleType, data: ImageData) -> None:
    request_stop()
    module.Interrupting.steps = 0
    with pytest.raises(BaseException, match=r"^$") as raised:
        run_trial(spec_of(), "arm", 1, data)
    assert type(raised.value).__name__ == "TrialStopped"
    assert module.Interrupting.steps == 1
