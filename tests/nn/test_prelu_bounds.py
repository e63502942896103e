"""Bounds: every slope that is used or saved is inside, whatever the optimizer, and gradients stay right."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import slopewise as sw

LOW, HIGH = 0.0, 0.5


def strayed(*values, train=True):
    """A layer whose slopes an optimizer has just moved to `values`."""
    layer = sw.PReLU(len(values), bounds=(LOW, HIGH)).train(train)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values))
    return layer


@pytest.fixture
def x():
    return torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("train", [True, False])
def test_outputs_use_the_nearest_bound(x, train):
    layer = strayed(-2.0, 0.3, 2.0, train=train)
    assert torch.equal(layer(x), F.prelu(x, torch.tensor([LOW, 0.3, HIGH])))


def test_only_training_moves_the_parameter(x):
    layer = strayed(-2.0, 0.3, 2.0, train=False)
    layer(x)
    assert torch.equal(layer.weight, torch.tensor([-2.0, 0.3, 2.0]))
    layer.train()(x)
    assert torch.equal(layer.weight, torch.tensor([LOW, 0.3, HIGH]))


def test_project_and_state_dict_move_it_too():
    layer = strayed(-2.0, 0.3, 2.0, train=False)
    saved = layer.state_dict()["weight"]
    assert torch.equal(saved, torch.tensor([LOW, 0.3, HIGH]))
    assert saved.data_ptr() == layer.weight.data_ptr()
    layer = strayed(-2.0, 0.3, 2.0)
    layer.project_()
    assert torch.equal(layer.weight, saved)
    assert torch.equal(torch.nn.Sequential(strayed(-2.0, 0.3, 2.0)).state_dict()["0.weight"], saved)


def test_without_bounds_nothing_moves(x):
    layer = sw.PReLU(3, init=[-2.0, 0.3, 2.0])
    layer(x)
    layer.project_()
    assert torch.equal(layer.state_dict()["weight"], torch.tensor([-2.0, 0.3, 2.0]))


def test_one_end_may_be_infinite(x):
    layer = sw.PReLU(bounds=(0.0, float("inf")))
    with torch.no_grad():
        layer.weight.fill_(100.0)
    layer(x)
    assert layer.weight.item() == 100.0
    with torch.no_grad():
        layer.weight.fill_(-1.0)
    layer(x)
    assert layer.weight.item() == 0.0


@pytest.mark.parametrize("train", [True, False])
def test_gradients_are_those_of_the_slopes_used(x, train):
    layer = strayed(-2.0, 0.3, 2.0, train=train)
    inner = x.clone().requires_grad_()
    layer(inner).square().sum().backward()
    reference, weight = x.clone().requires_grad_(), torch.tensor([LOW, 0.3, HIGH], requires_grad=True)
    F.prelu(reference, weight).square().sum().backward()
    assert torch.equal(inner.grad, reference.grad)
    assert torch.equal(layer.weight.grad, weight.grad)
    assert layer.weight.grad.count_nonzero() == 2  # 0 at slope 0 by this loss; not 0 at the upper bound


def test_two_passes_before_one_backward(x):
    layer = strayed(-2.0, 0.3, 2.0)
    weight = torch.tensor([LOW, 0.3, HIGH], requires_grad=True)
    layer(layer(x)).square().sum().backward()
    F.prelu(F.prelu(x, weight), weight).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_saving_between_forward_and_backward(x):
    layer = strayed(-2.0, 0.3, 2.0)
    loss = layer(x).square().sum()
    layer.state_dict()
    layer.project_()
    loss.backward()
    assert layer.weight.grad.isfinite().all()


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=12),
    st.sampled_from([0.01, 1.0, 30.0]),
    st.sampled_from(["SGD", "Adam"]),
)
@settings(deadline=None, max_examples=40)
def test_any_training_run_stays_inside(pulls, lr, name):
    layer = sw.PReLU(bounds=(LOW, HIGH))
    optimizer = getattr(torch.optim, name)(layer.parameters(), lr=lr)
    for pull in pulls:
        optimizer.zero_grad()
        y = layer(torch.tensor([-1.0]))
        assert LOW <= -y.item() <= HIGH
        (pull * y).sum().backward()
        optimizer.step()
    assert LOW <= layer.state_dict()["weight"].item() <= HIGH


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12), st.floats(0.01, 2.0))
@settings(deadline=None, max_examples=40)
def test_sgd_is_projected_gradient_descent(pulls, lr):
    layer = sw.PReLU(bounds=(LOW, HIGH), dtype=torch.float64)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    slope = 0.25
    for pull in pulls:
        optimizer.zero_grad()
        (pull * layer(torch.tensor([-1.0], dtype=torch.float64))).sum().backward()
        optimizer.step()
        slope = min(max(slope + lr * pull, LOW), HIGH)  # the gradient of pull·(−a) by a is −pull
    layer.project_()
    assert layer.weight.item() == pytest.approx(slope, abs=1e-12)


def test_a_slope_trained_in_evaluation_mode_comes_back():
    layer = strayed(0.7, train=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        layer(torch.tensor([-1.0])).sum().neg().backward()  # smaller slopes are rewarded
        optimizer.step()
    assert layer.weight.item() == pytest.approx(0.2)


def test_a_copy_taken_after_a_step_is_projected_at_its_use(x):
    layer = strayed(-2.0, 0.3, 2.0)
    other = copy.deepcopy(layer)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(other.state_dict()["weight"], torch.tensor([LOW, 0.3, HIGH]))


def test_a_checkpoint_from_outside_loads_and_is_projected_at_its_use(x):
    layer = sw.PReLU(3, bounds=(LOW, HIGH))
    layer.load_state_dict(torch.nn.PReLU(3, init=0.9).state_dict(), strict=True)
    assert torch.equal(layer(x), F.prelu(x, torch.full((3,), HIGH)))


def test_frozen_and_inference_tensors_are_only_read(x):
    expected = F.prelu(x, torch.tensor([LOW, 0.3, HIGH]))
    assert torch.equal(strayed(-2.0, 0.3, 2.0).requires_grad_(requires_grad=False)(x), expected)
    with torch.inference_mode():
        assert torch.equal(strayed(-2.0, 0.3, 2.0)(x), expected)
        layer = strayed(-2.0, 0.3, 2.0, train=False)
    assert torch.equal(layer(x), expected)


def test_gradient_checkpointing(x):
    layer, plain = strayed(-2.0, 0.3, 2.0), strayed(-2.0, 0.3, 2.0)
    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).square().sum().backward()
    plain(x).square().sum().backward()
    assert torch.equal(layer.weight.grad, plain.weight.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_bounds_are_rounded_to_the_dtype(dtype):
    layer = sw.PReLU(bounds=(0.1, 0.3), init=0.2, dtype=dtype)
    with torch.no_grad():
        layer.weight.fill_(9.0)
    y = layer(torch.tensor([-1.0], dtype=dtype))
    assert y.item() == -torch.tensor(0.3, dtype=dtype).item()
