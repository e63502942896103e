"""In hand-written networks, each with a trap: every call site gets slopes of its own, and nothing else changes."""

from __future__ import annotations

import copy
import pickle
from functools import cache

import pytest
import torch

import slopewise as sw

from .traps import TRAPS


@pytest.fixture(params=TRAPS, ids=lambda trap: trap.__name__)
def trap(request):
    return given(request.param)


@cache
def given(network):
    shape, channels = TRAPS[network]
    torch.manual_seed(0)
    return network(), torch.randn(shape), channels


@cache
def conversion_of(network, init):
    model, x, _ = given(network)
    return sw.convert(model, x, init=init)


def leaves(output):
    if isinstance(output, torch.Tensor):
        return [output]
    return [leaf for item in (output.values() if isinstance(output, dict) else output) for leaf in leaves(item)]


def run(model, x, *, training):
    torch.manual_seed(1)
    return leaves(copy.deepcopy(model).train(training)(x.clone()))


def gradients(model, x):
    torch.manual_seed(1)
    model = copy.deepcopy(model).eval()
    sum(out.double().square().sum() for out in leaves(model(x.clone()))).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_every_site_is_found_and_has_its_own_channels(trap, oracle):
    model, x, channels = trap
    with oracle(0.0) as watched:
        run(model, x, training=False)
    conversion = conversion_of(type(model), 0.25)
    assert sum(site.calls for site in conversion.sites) == watched.calls
    assert [site.slopes for site in conversion.sites] == channels
    assert not conversion.skipped
    for site in conversion.sites:
        assert conversion.model.get_submodule(site.name).weight.numel() == site.slopes
    assert conversion.added == sum(channels)
    with oracle(0.0) as watched:
        run(conversion.model, x, training=False)
    assert watched.calls == 0


@pytest.mark.parametrize("training", [True, False])
def test_slope_zero_preserves_the_function_bit_for_bit(trap, training):
    model, x, _ = trap
    converted = conversion_of(type(model), 0.0)
    assert converted.proof.output.largest == 0
    assert converted.proof.start.largest == 0
    assert converted.proof.slopes.largest == 0
    for expected, got in zip(run(model, x, training=training), run(converted.model, x, training=training), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
    if not training:
        expected, got = gradients(model, x), gradients(converted.model, x)
        assert expected.keys() <= got.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(got[name], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_another_slope_is_what_a_leaky_relu_at_every_site_would_be(trap, oracle, training):
    model, x, _ = trap
    converted = conversion_of(type(model), 0.25).model
    with oracle(0.25):
        expected = run(model, x, training=training)
    for one, other in zip(expected, run(converted, x, training=training), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-6)


def test_the_model_given_is_left_alone_and_the_new_one_keeps_its_class_and_names(trap):
    model, x, _ = trap
    state, attributes = copy.deepcopy(model.state_dict()), set(vars(model))
    converted = sw.convert(model, x).model
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state.items())
    assert set(vars(model)) == attributes
    assert isinstance(converted, type(model))
    assert type(converted).__name__ == type(model).__name__
    assert state.keys() <= converted.state_dict().keys()
    assert {name for name, _ in model.named_children()} <= {name for name, _ in converted.named_children()}
    assert converted.training == model.training


def test_slopes_learn_and_copies_and_pickles_are_the_same_network(trap):
    model, x, channels = trap
    converted = copy.deepcopy(conversion_of(type(model), 0.25).model)
    optimizer = torch.optim.SGD(sw.param_groups(converted, lr=0.01))
    for _ in range(2):
        optimizer.zero_grad()
        sum(out.square().mean() for out in leaves(converted(x.clone()))).backward()
        optimizer.step()
    slopes = [m.weight for m in converted.modules() if isinstance(m, sw.PReLU)]
    assert sorted(s.numel() for s in slopes) == sorted(channels)
    assert all((s != 0.25).any() for s in slopes)
    for other in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        for expected, got in zip(run(converted, x, training=False), run(other, x, training=False), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=0)
