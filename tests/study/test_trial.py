"""Trials: pairing, bitwise repetition, divergence as a result, precision and devices."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch

from slopewise import ops
from slopewise.study import StudySpec, parse_spec, run_trial
from slopewise.study._trial import make_fabric
from slopewise.study._trial._run import Trial
from slopewise.study._trial._setup import still
from slopewise.study.data import ImageData, load_data
from slopewise.testing import untimed

KERNELS = ops.backend().name == "kernels"
TINY = {"data": {"train_size": 200}, "model": {"options": {"width": 4}}}


def tiny(**fields: object) -> StudySpec:
    return parse_spec({**TINY, "train": {"epochs": 2}, "seeds": 2, **fields})


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(tiny().data)


def test_a_trial_records_every_epoch_and_scores_the_test_set_once(data: ImageData) -> None:
    trial = run_trial(tiny(train={"epochs": 3}), "prelu_channel", 0, data)
    assert trial.status == "finished"
    assert not trial.diverged
    assert [(epoch.epoch, epoch.step) for epoch in trial.epochs] == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert trial.score("train", "loss", 0) is None
    assert trial.epochs[0].seconds_per_step is None
    assert trial.epochs[1].seconds_per_step is None
    assert trial.epochs[3].seconds_per_step > 0
    assert {site.layer for site in trial.sites} == {f"act{k}" for k in range(1, 7)}
    assert len(trial.sites) == 4 * 6
    start = [site for site in trial.sites if site.epoch == 0]
    assert {(site.slope_min, site.slope_median, site.slope_max) for site in start} == {(0.25, 0.25, 0.25)}
    assert [site.slopes for site in start] == [4, 4, 8, 8, 16, 16]
    assert trial.slope_parameters == 56
    assert {g.layer for g in trial.gradients} == {*(f"conv{k}" for k in range(1, 7)), "classifier"}
    assert trial.score("validation", "accuracy") == trial.score("validation", "accuracy", epoch=3)
    assert trial.score("train", "accuracy") != trial.score("train", "accuracy", epoch=3)  # augmented, before its step
    assert 0 < trial.score("test", "accuracy") < 1


@pytest.mark.parametrize("arm", ["relu", "rrelu"])
def test_validation_loss_at_the_start_is_that_of_the_model_in_evaluation(data: ImageData, arm: str) -> None:
    from slopewise.study._network import build_arm
    from slopewise.study._streams import stream
    from slopewise.study.data import stratified_split

    spec = tiny(arms=arm, model={"options": {"width": 4, "batch_norm": True}})
    trial = run_trial(spec, arm, 1, data)
    model = build_arm(spec, spec.arm(arm), 1, data).model.double().eval()
    _, held_out = stratified_split(data.train_targets, 0.15, stream(1, "split"))
    loss = torch.nn.functional.cross_entropy(model(data.train_images[held_out].double()), data.train_targets[held_out])
    assert trial.score("validation", "loss", 0) == pytest.approx(loss.item(), rel=1e-5)


def test_the_same_trial_twice_is_bitwise_the_same(data: ImageData) -> None:
    spec = tiny(arms="rrelu,prelu_shared", data={"train_size": 200, "augment": {"flip": True, "erase": 0.5}})
    for arm in ("rrelu", "prelu_shared"):
        assert untimed(run_trial(spec, arm, 0, data)) == untimed(run_trial(spec, arm, 0, data))
    assert untimed(run_trial(spec, "rrelu", 0, data)) != untimed(run_trial(spec, "rrelu", 1, data))


def test_all_arms_of_a_seed_get_the_same_start_and_data(data: ImageData) -> None:
    spec = tiny(arms="relu,rrelu,prelu_channel,gelu", train={"epochs": 1})
    trials = [run_trial(spec, arm.name, 0, data) for arm in spec.arms]
    assert len({trial.init_digest for trial in trials}) == 1
    assert len({trial.data_digest for trial in trials}) == 1
    other = run_trial(spec, "relu", 1, data)
    assert other.init_digest != trials[0].init_digest
    assert other.data_digest != trials[0].data_digest


def test_draws_of_one_arm_do_not_change_the_order_of_another(data: ImageData) -> None:
    """A frozen RReLU is a LeakyReLU that draws random numbers in every forward pass: training must agree."""
    fixed = {"activation": "leaky_relu", "options": {"negative_slope": 0.25}}
    drawing = {"activation": "rrelu", "options": {"lower": 0.25, "upper": 0.25}}
    spec = tiny(arms=[{"name": "fixed", **fixed}, {"name": "drawing", **drawing}])
    one, other = (run_trial(spec, arm, 0, data) for arm in ("fixed", "drawing"))
    assert one.curve("validation", "loss") == pytest.approx(other.curve("validation", "loss"), rel=1e-4)


def test_a_diverging_trial_is_a_result_with_its_step_and_cause(data: ImageData) -> None:
    trial = run_trial(tiny(train={"epochs": 3, "lr": 1e6}), "prelu_shared", 0, data)
    assert trial.status == "finished"
    assert trial.diverged
    assert 1 < trial.diverged_step == trial.steps + 1 <= 6
    assert f"at step {trial.diverged_step}" in trial.diverged_cause
    assert "the largest slope is" in trial.diverged_cause
    assert trial.score("test", "accuracy") is None
    assert len(trial.epochs) >= 1
    numbers = [value for epoch in trial.epochs for value in dataclasses.astuple(epoch) if isinstance(value, float)]
    assert all(map(math.isfinite, numbers))


def test_a_last_step_into_infinity_is_a_divergence_too(data: ImageData) -> None:
    one_step = {"epochs": 1, "batch_size": 170, "lr": 1e30, "schedule": "constant"}
    trial = run_trial(tiny(train=one_step), "prelu_channel", 0, data)
    assert trial.diverged_step == trial.steps == 1
    assert trial.diverged_cause.startswith("the validation loss is")
    assert [epoch.epoch for epoch in trial.epochs] == [0]


def test_the_monitor_watches_a_trial_changes_no_bit_and_its_alarms_are_kept(data: ImageData) -> None:
    wild = {"epochs": 6, "lr": 3.0}
    watched, alone = (
        run_trial(tiny(train=wild, monitor={"every": every}), "prelu_shared", 0, data) for every in (1, 0)
    )
    assert watched.diverged_step == alone.diverged_step is not None
    assert watched.scores == alone.scores
    assert (alone.alarms, alone.monitor_seconds) == ((), 0)
    alarms = {alarm.id: alarm for alarm in watched.alarms}
    assert "not-finite" in alarms or "slope-runaway" in alarms
    assert all(alarm.step <= watched.diverged_step for alarm in watched.alarms)
    assert watched.monitor_seconds > 0


def test_call_sites_are_recorded_as_the_monitor_defines_them(data: ImageData) -> None:
    trial = run_trial(tiny(train={"epochs": 1}), "relu", 0, data)
    start = [site for site in trial.sites if site.epoch == 0]
    assert len(start) == len({site.layer for site in start}) == 6
    for site in start:
        assert 0 < site.positive < 1
        assert 0 <= site.always_positive + site.never_positive <= 1
        assert 0 < site.pass_through < 1  # a ReLU passes a part of the gradient on, and scales none of it


@pytest.mark.parametrize("arm", ["prelu_channel", "rrelu"])
def test_the_comparison_of_operators_changes_no_trial(data: ImageData, arm: str) -> None:
    first, second = (tiny(arms="prelu_channel,rrelu", seeds=seeds) for seeds in ([0, 1], [1, 0]))
    compared, other = run_trial(first, arm, 0, data), run_trial(second, arm, 0, data)
    assert untimed(compared) == untimed(other)
    assert len(compared.operator_costs) == (arm == "prelu_channel")  # the others have no layer of ours
    assert other.operator_costs == ()
    assert untimed(run_trial(first, arm, 1, data)) == untimed(run_trial(second, arm, 1, data))


@pytest.mark.skipif(not KERNELS, reason="no kernels to compare with")
@pytest.mark.parametrize("settings", [{}, {"hardware": {"precision": "bf16-mixed"}}, {"train": {"lr": 1e6}}])
def test_the_first_seed_of_an_arm_is_timed_with_stock_pytorch_too(data: ImageData, settings: dict[str, object]) -> None:
    trial = run_trial(tiny(**{"train": {"epochs": 1}, **settings}), "prelu_channel", 0, data)
    (cost,) = trial.operator_costs
    assert trial.diverged == ("train" in settings)  # a trial that diverges has its costs, too
    assert cost.reason is None
    assert cost.rounds >= 3
    assert 0 < cost.stock_ratio_q1 <= cost.stock_ratio <= cost.stock_ratio_q3
    assert min(cost.kernels_seconds, cost.stock_seconds) > 0


def test_the_steps_that_are_timed_move_no_weight(data: ImageData) -> None:
    spec = tiny(train={"weight_decay": 0.5})
    trial = Trial(make_fabric(spec.hardware), spec, still(spec.arm("prelu_shared")), 0, data)
    before = [parameter.clone() for parameter in trial.setup.model.parameters()]
    for _ in zip(range(5), trial.loop.steps(), strict=False):  # further than one epoch of 2 steps
        pass
    assert trial.loop.step >= 5
    assert all(parameter.grad.count_nonzero() for parameter in trial.setup.model.parameters())
    assert all(map(torch.equal, before, trial.setup.model.parameters()))


def test_a_comparison_that_raises_costs_no_trial(data: ImageData, user_module: Callable[[str, str], str]) -> None:
    name = user_module(
        "tired",
        "import slopewise as sw\n"
        "class Tired(sw.PReLU):\n"
        "    calls = 0\n"
        "    def forward(self, x):\n"
        "        Tired.calls += self.training\n"
        "        if Tired.calls > 6 * 2: raise ValueError('enough')\n"  # six layers, two steps
        "        return super().forward(x)\n"
        "def tired(channels): return Tired()\n",
    )
    spec = tiny(arms=[{"name": "tired", "activation": f"{name}:tired"}], train={"epochs": 1})
    trial = run_trial(spec, "tired", 0, data)
    assert (trial.status, trial.steps) == ("finished", 2)
    assert trial.operator_costs[0].rounds == 0
    if KERNELS:
        assert trial.operator_costs[0].reason == "the comparison raised ValueError: enough"


def test_slopes_take_no_decay_and_their_own_rate(data: ImageData) -> None:
    spec = tiny(
        arms=[
            {"name": "still", "activation": "prelu_shared", "slope_lr_scale": 0.0},
            {"name": "moving", "activation": "prelu_shared"},
        ],
        train={"epochs": 2, "weight_decay": 0.5},
    )
    still, moving = (run_trial(spec, arm, 0, data) for arm in ("still", "moving"))
    assert {site.slope_median for site in still.sites} == {0.25}
    assert len({site.slope_median for site in moving.sites}) > 6


def test_slopes_take_the_weight_decay_that_is_theirs(data: ImageData) -> None:
    """After one step of plain SGD, decay has taken lr * decay * 0.25 from each slope, whatever its gradient."""
    spec = tiny(
        arms=[
            {"name": "train", "activation": "prelu_channel"},
            {"name": "arm", "activation": "prelu_channel", "slope_weight_decay": 3.0},
            {"name": "none", "activation": "prelu_channel", "slope_weight_decay": 0.0},
        ],
        train={
            "epochs": 1, "batch_size": 170, "momentum": 0.0, "schedule": "constant", "lr": 0.01,
            "slope_weight_decay": 1.0,
        },
    )  # fmt: skip
    slopes = {}
    for arm in spec.arms:
        trial = run_trial(spec, arm.name, 0, data)
        slopes[arm.name] = [value for site in trial.sites[-6:] for value in (site.slope_min, site.slope_max)]
    for arm, decay in (("train", 1.0), ("arm", 3.0)):
        expected = [slope - 0.01 * decay * 0.25 for slope in slopes["none"]]
        assert slopes[arm] == pytest.approx(expected, abs=1e-7)


def test_slopes_outside_0_and_1_are_counted(data: ImageData) -> None:
    arms = ["relu", {"name": "below", "activation": "prelu_channel", "options": {"init": -1e-4}, "slope_lr_scale": 0.0}]
    arms += [{"name": "wild", "activation": "prelu_channel", "options": {"init": 0.999}}]
    spec = tiny(arms=arms, train={"epochs": 2, "lr": 0.01})
    sites = {arm.name: run_trial(spec, arm.name, 0, data).sites for arm in spec.arms}
    assert {(site.slopes_below_0, site.slopes_above_1) for site in sites["relu"]} == {(None, None)}
    assert {(site.slopes_below_0, site.slopes_above_1) for site in sites["below"]} == {(1.0, 0.0)}
    assert {(site.slopes_below_0, site.slopes_above_1) for site in sites["wild"][:6]} == {(0.0, 0.0)}
    final = sites["wild"][-6:]
    assert any(0 < site.slopes_above_1 < 1 for site in final)
    for site in final:
        assert (site.slopes_above_1 > 0) == (site.slope_max > 1)
        assert (site.slopes_above_1 >= 0.5) <= (site.slope_median > 1)
        assert site.slopes_above_1 * site.slopes == round(site.slopes_above_1 * site.slopes)


@pytest.mark.parametrize("train", [{"optimizer": "adamw", "lr": 1e-3}, {"schedule": "constant"}, {"momentum": 0.0}])
def test_other_optimizers_and_schedules_train(data: ImageData, train: dict[str, object]) -> None:
    trial = run_trial(tiny(train={"epochs": 2, **train}), "prelu_channel", 0, data)
    rates = [epoch.learning_rate for epoch in trial.epochs[1:]]
    assert trial.score("train", "loss", trial.epochs[-1].epoch) < trial.score("train", "loss", 1)
    assert (rates[0] == rates[1]) == (train.get("schedule") == "constant")


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_precisions(data: ImageData, precision: str) -> None:
    trial = run_trial(tiny(hardware={"precision": precision}), "prelu_channel", 0, data)
    full = run_trial(tiny(), "prelu_channel", 0, data)
    assert trial.score("validation", "loss", 0) == pytest.approx(full.score("validation", "loss", 0), rel=0.05)
    assert trial.scores != full.scores
    assert not trial.diverged


@pytest.mark.slow
def test_each_of_two_devices_gets_half_of_the_batch(user_module: Callable[[str, str], str]) -> None:
    name = user_module(
        "halves",
        "import torch\n"
        "class Half(torch.nn.ReLU):\n"
        "    def forward(self, x):\n"
        "        if self.training and len(x) != 32: raise ValueError(f'a batch of {len(x)}')\n"
        "        return super().forward(x)\n"
        "def half(channels): return Half()\n",
    )
    hardware = {"devices": 2, "strategy": "ddp"}
    spec = tiny(arms=[{"name": "half", "activation": f"{name}:half"}], hardware=hardware, train={"epochs": 1})
    assert run_trial(spec, "half", 0).steps == 2
