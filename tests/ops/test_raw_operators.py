"""The operators themselves, as graphs and extensions call them: torch.ops.slopewise."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import grad, gradcheck, gradgradcheck

import slopewise as sw

pytestmark = pytest.mark.usefixtures("kernels")
OPERATORS = torch.ops.slopewise
NAMES = ["prelu", "prelu_backward", "batch_norm_prelu", "batch_norm_prelu_backward"]


def rand(*shape):
    return torch.rand(shape, dtype=torch.float64) + 0.5


def arguments(name, x):
    """Arguments of an operator for inputs of three channels, all optional ones present."""
    slope, moments, affine = rand(3), rand(2, 3), rand(2, 3)
    return {
        "prelu": (x, slope, 1),
        "prelu_backward": (x.flip(0), x, slope, 1, False),
        "batch_norm_prelu": (x, x.flip(0), slope, *moments, *affine, 1e-5),
        "batch_norm_prelu_backward": (x.flip(0), x, x.cos(), slope, *moments, *affine, True, 1e-5, False),
    }[name]


def with_input(name, given, x):
    """The same arguments, for another input."""
    place = int(name.endswith("backward"))
    return (*given[:place], x, *given[place + 1 :])


def listed(result):
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", NAMES)
def test_meta_and_fake_tensors_foretell_the_kernels(name):
    layouts = rand(4, 3), rand(4, 3, 5), rand(4, 3, 5, 2).to(memory_format=torch.channels_last), rand(4, 5, 3).mT
    for x in layouts:
        operator, given = getattr(OPERATORS, name), arguments(name, x)
        meta = operator(*(t.to("meta") if isinstance(t, torch.Tensor) else t for t in given))
        with FakeTensorMode() as mode:
            fake = operator(*(mode.from_tensor(t) if isinstance(t, torch.Tensor) else t for t in given))
        for real, *foretold in zip(*map(listed, (operator(*given), meta, fake)), strict=True):
            for other in foretold:
                assert (other.shape, other.stride(), other.dtype) == (real.shape, real.stride(), real.dtype)


@pytest.mark.parametrize("name", NAMES)
def test_vmap_is_a_loop(name):
    operator, samples = getattr(OPERATORS, name), rand(2, 4, 6, 3, 5)
    given = arguments(name, samples[0, 0])

    def call(x):
        return operator(*with_input(name, given, x))

    for together, loop in [
        (torch.vmap(call)(samples[0]), [call(sample) for sample in samples[0]]),
        (torch.vmap(call, in_dims=2)(samples[0].movedim(0, 2)), [call(sample) for sample in samples[0]]),
        (torch.vmap(torch.vmap(call))(samples), [torch.vmap(call)(half) for half in samples]),
    ]:
        for whole, *parts in zip(listed(together), *map(listed, loop), strict=True):
            torch.testing.assert_close(whole, torch.stack(parts), rtol=1e-9, atol=1e-9)


def test_vmap_over_slopes():
    x, slopes = rand(6, 3, 5), rand(4, 3)
    together = torch.vmap(OPERATORS.prelu, (None, 0, None))(x, slopes, 1)
    assert torch.equal(together, torch.stack([sw.functional.prelu(x, slope) for slope in slopes]))


@pytest.mark.parametrize("name", ["prelu", "batch_norm_prelu"])
def test_autograd(name, operators):
    x, rest = rand(5, 3, 2) - 1, arguments(name, rand(5, 3, 2))[1:]
    inputs = [t.requires_grad_() for t in (x, *rest) if isinstance(t, torch.Tensor)]
    if name == "batch_norm_prelu":
        del inputs[3:5]  # running statistics have no gradient

    def call(*tensors):
        given = list(tensors)
        if name == "prelu":
            return OPERATORS.prelu(*given, 1)
        return OPERATORS.batch_norm_prelu(*given[:3], None, None, *given[3:], 1e-5)[0]

    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)
    with operators() as used:
        grad(call(*inputs).sum(), inputs)
    assert used == [name, f"{name}_backward"]


def test_gradients_that_do_not_exist_are_none():
    x = rand(5, 3, 2).requires_grad_()
    y, mean, var, invertible = OPERATORS.batch_norm_prelu(x, None, rand(1), None, None, None, None, 1e-5)
    assert y.requires_grad
    assert not any(t.requires_grad for t in (mean, var, invertible))
    assert invertible.dtype == torch.bool
    torch.testing.assert_close(mean, x.mean((0, 2)).detach())
    torch.testing.assert_close(var, x.var((0, 2), correction=0).detach())


def test_autocast_of_prelu():
    x, slope = torch.randn(4, 3), torch.rand(3)
    with torch.autocast("cpu", torch.bfloat16):
        y = OPERATORS.prelu(x, slope, 1)
    assert torch.equal(y, OPERATORS.prelu(x.bfloat16(), slope.bfloat16(), 1))


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 5), (2, 3, 0), (2, 3, 0, 4)])
def test_no_elements(shape):
    x, slope, moments = torch.empty(shape), torch.ones(3), torch.ones(2, 3)
    assert OPERATORS.prelu(x, slope, 1).shape == shape
    grad_x, grad_slope = OPERATORS.prelu_backward(x, x, slope, 1, inverted=False)
    assert grad_x.shape == shape
    assert torch.equal(grad_slope, torch.zeros(3))
    assert OPERATORS.batch_norm_prelu(x, x, slope, *moments, None, None, 1e-5)[0].shape == shape
    options = {"training": False, "eps": 1e-5, "inverted": False}
    gradients = OPERATORS.batch_norm_prelu_backward(x, x, x, slope, *moments, slope, slope, **options)
    assert [t.shape for t in gradients[:2]] == [shape, shape]
    assert torch.equal(torch.stack(gradients[2:]), torch.zeros(3, 3))


def test_no_channels():
    x, none = torch.empty(4, 0, 2), torch.empty(0)
    assert OPERATORS.prelu(x, none, 1).shape == x.shape
    assert [t.shape for t in OPERATORS.prelu_backward(x, x, none, 1, inverted=False)] == [x.shape, none.shape]
    assert OPERATORS.batch_norm_prelu(x, None, none, none, none, None, None, 1e-5)[0].shape == x.shape
