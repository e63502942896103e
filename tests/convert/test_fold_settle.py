"""Settled slopes: the modules that they become, and the report."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import slopewise as sw
from slopewise.convert import fold


def relative(one, other):
    """Recomputed here: the largest difference in units of the largest value."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).abs().max() / one.abs().max())


class Net(nn.Module):
    """Three sites in a row, the last with a shared slope."""

    def __init__(self, *slopes):
        super().__init__()
        torch.manual_seed(0)
        self.linears = nn.ModuleList(nn.Linear(4, 4) for _ in slopes)
        self.acts = nn.ModuleList(sw.PReLU(len(s), s) for s in slopes)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        for linear, act in zip(self.linears, self.acts, strict=True):
            x = act(linear(x))
        return self.head(x)


def example(*shape):
    return torch.randn(shape or (8, 4), generator=torch.Generator().manual_seed(1))


def became(*slopes, **settings):
    """Return the module that a PReLU with these slopes becomes, and the reason if it stays."""
    net = nn.Sequential(sw.PReLU(len(slopes), slopes), nn.Flatten())
    folding = fold(net, example(8, len(slopes)), **settings)
    return folding.model[0], (folding.skipped[0].reason if folding.skipped else None)


@pytest.mark.parametrize("kind", [nn.PReLU, sw.PReLU])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        (0.0, "ReLU()"),
        (1.0, "Identity()"),
        (0.25, "LeakyReLU(negative_slope=0.25)"),
        (0.1, "LeakyReLU(negative_slope=0.1)"),
    ],
)
def test_a_slope_that_is_a_number_says_so_exactly(kind, count, learned, slope, expected):
    net = nn.Sequential(nn.Linear(4, 4), kind(count, slope), nn.Linear(4, 4)).eval()
    net[1].weight.requires_grad_(learned)
    folding = fold(net, example(), tolerance=0)
    assert str(folding.model[1]) == expected
    assert torch.equal(folding.model(example(100, 4)), net(example(100, 4)))
    assert folding.changes["settle"].largest == 0.0
    (step,) = folding.steps
    assert (step.kind, step.name, step.removed) == ("settle", "1", count)
    assert folding.removed == count


def test_what_is_near_is_asked_of_the_outputs():
    assert isinstance(became(1e-6, -1e-6, 0.0)[0], nn.ReLU)
    assert isinstance(became(1 - 1e-6, 1.0, 1 + 1e-6)[0], nn.Identity)
    constant, _ = became(0.3, 0.30001, 0.29999)
    assert constant.negative_slope == pytest.approx(0.3, abs=1e-6)
    for slopes in ((0.005, -0.005), (0.97, 1.01), (0.305, 0.295)):
        stays, reason = became(*slopes)
        assert isinstance(stays, sw.PReLU)
        assert "outputs would in all change by" in reason
        assert "0.0001 is allowed" in reason
        assert not isinstance(became(*slopes, tolerance=0.1)[0], sw.PReLU)
    assert isinstance(became(1e-6)[0], nn.ReLU)  # a shared slope is alike with itself, but a ReLU is plainer
    assert isinstance(became(1e-3)[0], nn.LeakyReLU)


@pytest.mark.parametrize(
    ("slopes", "reason"),
    [
        ((-0.25, -0.25), "slope -0.25 is not between 0 and 1"),
        ((1.5,), "slope 1.5 is not between 0 and 1"),
        ((0.1, 0.9), "between 0.1 and 0.9"),
        ((-0.1, 0.1), "between -0.1 and 0.1"),
        ((0.25, float("nan")), "not all finite"),
        ((float("inf"), float("inf")), "not all finite"),
    ],
)
def test_others_stay_even_where_the_example_does_not_mind(slopes, reason):
    net = nn.Sequential(sw.PReLU(len(slopes), slopes), nn.Flatten())
    folding = fold(net, example(8, len(slopes)).abs(), tolerance=1.0)
    assert isinstance(folding.model[0], sw.PReLU)
    assert folding.steps == ()
    assert reason in folding.skipped[0].reason


def test_bounds_say_which_slopes_count():
    act = sw.PReLU(2, 0.25, bounds=(0.0, 0.5))
    with torch.no_grad():
        act.weight.copy_(torch.tensor([-3.0, 0.0]))  # as an optimizer's last step may leave it
    assert isinstance(fold(nn.Sequential(act), example(4, 2)).model[0], nn.ReLU)
    with torch.no_grad():
        act.weight.copy_(torch.tensor([0.5, 7.0]))
    assert fold(nn.Sequential(act), example(4, 2)).model[0].negative_slope == 0.5


@settings(max_examples=60)
@given(
    slopes=st.lists(
        st.lists(
            st.floats(-0.0625, 1.0625, width=32) | st.sampled_from([0.0, 1.0, 0.25, 0.001, 0.999]),
            min_size=4,
            max_size=4,
        )
        | st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=1)
        | st.floats(0.0, 1.0, width=32).map(lambda a: [a, a + 1e-4, a, a - 1e-4]),
        min_size=1,
        max_size=4,
    ),
    tolerance=st.sampled_from([0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.3]),
)
def test_the_total_keeps_to_the_tolerance_and_is_what_is_measured_anew(slopes, tolerance):
    net, x = Net(*slopes).eval(), example()
    folding = fold(net, x, tolerance=tolerance)
    total = relative(net(x), folding.model(x))
    assert total <= tolerance
    assert folding.changes["settle"].relative == pytest.approx(total, rel=1e-6)
    assert folding.change == folding.changes["settle"]
    assert len(folding.steps) + len(folding.skipped) == len(slopes)
    left = sum(isinstance(m, nn.PReLU) for m in folding.model.modules())
    assert left == len(folding.skipped)
    assert sum(s.removed for s in folding.steps) == folding.removed
    assert all(step.change.relative >= 0 for step in folding.steps)


def test_the_smallest_changes_come_first_and_add_up():
    # Their means are not positive: a ReLU is all that they can become.
    slopes = [[0.004, -0.005, 0.003, -0.004], [1e-5, 0.0, -2e-5, 0.0], [-1e-4, 1e-4, 0.0, 0.0]]
    net, x = Net(*slopes).double().eval(), example().double()

    def effect(*places):
        other = copy.deepcopy(net)
        for place in places:
            other.acts[place] = nn.ReLU()
        return relative(net(x), other(x))

    alone = [effect(place) for place in range(3)]
    assert sorted(range(3), key=alone.__getitem__) == [1, 2, 0]
    limit = (effect(1, 2) + effect(0, 1, 2)) / 2
    folding = fold(net, x, tolerance=limit)
    assert [step.name for step in folding.steps] == ["acts.1", "acts.2"]
    assert folding.steps[0].change.relative == pytest.approx(alone[1], rel=1e-4)
    assert folding.changes["settle"].relative == pytest.approx(effect(1, 2), rel=1e-4)
    assert folding.skipped[0].name == "acts.0"


def test_each_output_counts_by_itself():
    """A tolerance relative to the largest of all outputs would not limit the small one."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = sw.PReLU(4, [0.004, 0.0, 0.0, 0.0])

        def forward(self, x):
            return {"loss": 1e6 * x.abs(), "small": self.act(x)}

    folding = fold(Two(), -torch.ones(2, 4))
    assert folding.steps == ()
    assert "of the largest value" in folding.skipped[0].reason


@pytest.mark.parametrize(("slope", "expected"), [(0.0, nn.ReLU), (0.25, nn.LeakyReLU), (1.0, nn.Identity)])
def test_an_in_place_activation_stays_in_place(slope, expected):
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU(inplace=True)

        def forward(self, x):
            y = x + 1
            z = self.act(y)
            return y * 2 + z

    x = example()
    net = sw.convert(InPlace().eval(), x, init=slope).model
    folding = fold(net, x, tolerance=0)
    assert type(folding.model.act) is expected
    assert getattr(folding.model.act, "inplace", True)
    assert folding.steps[0].name == "act"
    assert torch.equal(folding.model(x), net(x))
    stays = sw.convert(InPlace().eval(), x, init=-0.5).model
    assert type(fold(stays, x).model.act) is type(stays.act) is type(net.act)


class AddsTo(nn.Module):
    """A network that adds in place to the output of an activation, which must not reach the activation's input."""

    def __init__(self, slope, first):
        super().__init__()
        self.linear, self.act, self.first = nn.Linear(4, 4), sw.PReLU(4, slope), first

    def forward(self, x):
        before = x if self.first else self.linear(x)
        after = self.act(before)
        after += 1
        return after * 3 if self.first else after * 3 + before


@pytest.mark.parametrize("first", [True, False])
def test_a_tensor_that_is_changed_in_place_is_not_passed_through(first):
    net, x = AddsTo(1.0, first).eval(), example()
    folding = fold(net, x, tolerance=0)
    assert str(folding.model.act) == "LeakyReLU(negative_slope=1.0)"
    before = x.clone()
    assert torch.equal(folding.model(x), net(x))
    assert torch.equal(x, before)


def test_a_prelu_at_several_places_is_one():
    act = sw.PReLU(4, 0.0)
    net = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act).eval()
    folding = fold(net, example())
    assert folding.model[1] is folding.model[3]
    assert isinstance(folding.model[1], nn.ReLU)
    assert len(folding.steps) == 1
    assert torch.equal(folding.model(example()), net(example()))


def test_hooks_stay():
    seen = []
    net = nn.Sequential(nn.Linear(4, 4), sw.PReLU(4, 0.0))
    net[1].register_forward_hook(lambda m, args, output: seen.append(type(m).__name__))
    folding = fold(net, example())
    seen.clear()
    folding.model(example())
    assert seen == ["ReLU"]


def test_layers_that_may_compute_something_else_or_are_not_reached_stay():
    class Other(nn.PReLU):
        def forward(self, x):
            return super().forward(x) + 1

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope, self.other, self.unused = nn.Parameter(torch.zeros(4)), Other(1, 0.0), nn.PReLU(1, 0.0)
            self.parametrised = nn.PReLU(1, 0.0)
            nn.utils.parametrize.register_parametrization(self.parametrised, "weight", nn.Identity())

        def forward(self, x):
            return self.parametrised(self.other(F.prelu(x, self.slope)))

    folding = fold(Functional(), example())
    assert folding.steps == ()
    reasons = {refusal.name: refusal.reason for refusal in folding.skipped}
    assert "a function applies the slopes, at test_fold_settle.py:" in reasons[""]
    assert "Other may compute" in reasons["other"]
    assert "does not reach it" in reasons["unused"]
    assert "parametrised" in reasons["parametrised"]


def test_negative_infinity_is_no_reason_to_settle():
    """PReLU(0) makes NaN of it, and ReLU 0: the example shows it."""
    x = torch.tensor([[float("-inf"), 1.0]])
    folding = fold(nn.Sequential(sw.PReLU(1, 0.0), nn.Flatten()), x)
    assert isinstance(folding.model[0], sw.PReLU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype):
    net = nn.Sequential(nn.Linear(4, 4), sw.PReLU(4, 0.1), nn.Linear(4, 4)).to(dtype).eval()
    folding = fold(net, example().to(dtype), tolerance=0)
    assert isinstance(folding.model[1], nn.LeakyReLU)
    assert torch.equal(folding.model(example().to(dtype)), net(example().to(dtype)))
