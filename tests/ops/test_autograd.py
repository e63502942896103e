"""Eager autograd through the kernels: derivatives of both orders, and what is asked of a graph besides."""

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck

import slopewise as sw

from ..in_order import fused_add

pytestmark = pytest.mark.usefixtures("kernels")
prelu, fused = sw.functional.prelu, fused_add


def rand(*shape):
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


SLOPES = [(0.3,), (0.3, -0.5, 1.5), ()]


def slopes(values):
    return torch.tensor(values or 0.3, dtype=torch.float64, requires_grad=True)


SHAPES = [((2, 3, 4), 1), ((2, 4, 3), -1), ((3, 2, 2, 2), 0), ((2, 3, 2, 2), 1)]


@pytest.mark.parametrize("values", SLOPES)
@pytest.mark.parametrize(("shape", "channel_dim"), SHAPES)
def test_derivatives_of_prelu(shape, channel_dim, values, operators):
    inputs = rand(*shape), slopes(values)

    def function(x, slope):
        return prelu(x, slope, channel_dim=channel_dim)

    with operators() as used:
        assert gradcheck(function, inputs)
    assert set(used) == {"prelu", "prelu_backward"}
    assert gradgradcheck(function, inputs)


def test_derivatives_of_prelu_in_other_layouts():
    for x in (rand(2, 3, 2, 2).detach().to(memory_format=torch.channels_last), rand(4, 3, 4).detach()[::2, :, 1:3]):
        inputs = x.requires_grad_(), slopes((0.3, -0.5, 1.5))
        assert gradcheck(prelu, inputs)
        assert gradgradcheck(prelu, inputs)


@pytest.mark.parametrize("affine", ["weight and bias", "weight", "bias", "neither"])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("values", SLOPES[:2])
def test_derivatives_of_batch_norm_prelu(values, training, with_residual, affine, operators):
    given = {"x": rand(4, 3, 2), "slope": slopes(values)}
    given |= {"residual": rand(4, 3, 2)} if with_residual else {}
    given |= {name: rand(3) for name in ("weight", "bias") if name in affine}
    mean, var = rand(3).detach(), rand(3).detach().exp()

    def function(*tensors):
        named = dict(zip(given, tensors, strict=True))
        return fused(
            named["x"],
            named.get("residual"),
            named["slope"],
            *((None, None) if training else (mean, var)),
            named.get("weight"),
            named.get("bias"),
            training,
        )

    inputs = list(given.values())
    assert function(*inputs).abs().min() > 1e-5  # at the kink no difference quotient is right
    with operators() as used:
        assert gradcheck(function, inputs)
    assert set(used) == {"batch_norm_prelu", "batch_norm_prelu_backward"}
    assert gradgradcheck(function, inputs, fast_mode=True)


def trained(**options):
    def function(x, slope, residual, weight, bias):
        return fused(x, residual, slope, None, None, weight, bias, training=True, **options)

    return function


CASES = {
    "prelu": lambda x, slope, *_: prelu(x, slope),
    "prelu, low memory": lambda x, slope, *_: prelu(x, slope, low_memory=True),
    "fused": trained(),
    "fused, low memory": trained(low_memory=True),
}


@pytest.fixture(params=CASES)
def case(request):
    """A function of five tensors, of which prelu uses two, and the tensors."""
    count = 2 if request.param.startswith("prelu") else 5
    tensors = [rand(6, 3, 5), slopes((0.3, 0.5, 1.5)), rand(6, 3, 5), slopes((1.0, 2.0, 0.5)), slopes((0.0, 0.1, -1.0))]
    return lambda *some: CASES[request.param](*some, *tensors[len(some) :]), tensors[:count]


def test_a_retained_graph_gives_the_same_again(case):
    function, tensors = case
    y = function(*tensors)
    first = grad(y.sum(), tensors, retain_graph=True)
    second = grad(y.sum(), tensors, retain_graph=True)
    doubled = grad(y, tensors, torch.full_like(y, 2.0))
    for one, same, twice in zip(first, second, doubled, strict=True):
        assert torch.equal(one, same)
        torch.testing.assert_close(twice, 2 * one)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        grad(y.sum(), tensors)


def test_gradients_of_some_inputs_only(case):
    function, tensors = case
    everything = grad(function(*tensors).square().sum(), tensors)
    for number, tensor in enumerate(tensors):
        alone = [t.detach() for t in tensors]
        alone[number].requires_grad_()
        y = function(*alone)
        assert y.grad_fn is not None
        (gradient,) = grad(y.square().sum(), alone[number])
        assert torch.equal(gradient, everything[number])
        (gradient,) = grad(function(*tensors).square().sum(), tensor)  # of one among many that require it
        assert torch.equal(gradient, everything[number])


def test_no_graph_where_none_is_wanted(case, operators):
    function, tensors = case
    expected = function(*tensors)
    assert expected.requires_grad
    with operators() as used:
        with torch.no_grad():
            outputs = [function(*tensors)]
        with torch.inference_mode():
            outputs.append(function(*tensors))
        outputs.append(function(*(t.detach() for t in tensors)))
        assert outputs[1].is_inference()
    assert len(used) == 3
    for y in outputs:
        assert not y.requires_grad
        assert torch.equal(y, expected)


def test_an_input_changed_in_place_is_noticed_or_not_needed(case):
    function, tensors = case
    x = tensors[0] * 1.0
    y = function(x, *tensors[1:])
    keeps_the_input = x.data_ptr() in {t.data_ptr() for t in y.grad_fn.saved_tensors}
    x.zero_()
    if keeps_the_input:
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            grad(y.sum(), tensors[0])
    else:
        assert torch.equal(*(grad(output.sum(), tensors[0])[0] for output in (y, function(*tensors))))


def test_the_gradient_of_nothing_is_nothing(case):
    function, tensors = case
    y = function(*tensors)
    y.backward(torch.zeros_like(y))
    for tensor in tensors:
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_hooks_and_accumulation(case):
    function, tensors = case
    seen = []
    tensors[0].register_hook(lambda g: seen.append(g.clone()))
    for _ in range(2):
        function(*tensors).sum().backward()
    assert len(seen) == 2
    torch.testing.assert_close(tensors[0].grad, seen[0] + seen[1])
