"""Sums per unit that monitors take: the kernels, and PyTorch's own operations, against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.library import opcheck

import slopewise as sw
from slopewise.ops import _loading, units

OPERATORS = torch.ops.slopewise
SPECIAL = [0.0, -0.0, 1e-42, -1e-42, 1e-20, 3e38, -3e38, torch.inf, -torch.inf, torch.nan]
STRIDES = ["contiguous", "channels last", "gaps", "transposed", "expanded"]
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@pytest.fixture(params=["kernels", "reference"])
def implementation(request):
    """Runs the test with the kernels and without them."""
    if request.param == "kernels" and not _loading.state.loaded:
        pytest.skip(_loading.state.reason)
    with sw.ops.use_kernels(enabled=request.param == "kernels"):
        yield request.param


def laid_out(x, strides):
    """The same values in another place."""
    if strides == "channels last" and x.ndim in (4, 5):
        return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
    if strides == "gaps":
        return torch.stack([x, x.sign()], dim=-1)[..., 0]
    if strides == "transposed" and x.ndim > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if strides == "expanded" and x.ndim and x.shape[0]:
        return x[:1].expand(x.shape)
    return x


def by_unit(x, axis):
    """A row of float64 values for each unit."""
    return np.moveaxis(x.double().numpy(), axis, 0).reshape(x.shape[axis], x.numel() // max(1, x.shape[axis]))


def close(actual, expected):
    """Up to what float32 loses in a sum of squares, all of one sign; those below its range count as 0."""
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-4, atol=1e-36)


def check_all(z, dz, dy, slopes, axis):
    """All four, for finite gradients whose squares are within the range of float32."""
    values, behind, before = by_unit(z, axis), by_unit(dz, axis), by_unit(dy, axis)
    positive = (values > 0).sum(1)
    broken = ~np.isfinite(values).all(1)
    for actual, expected in (
        (units.signs(z, axis), [positive, np.isnan(values).sum(1), broken]),
        (units.reached(dz, axis), (behind != 0).any(1)),
        (units.reached(z, axis), (values != 0).any(1)),
    ):
        assert actual.dtype == torch.float64
        np.testing.assert_array_equal(actual.numpy(), expected)
    close(units.squares(dz, dy, axis), [(behind**2).sum(1), (before**2).sum(1)])
    rectified = np.where(values > 0, 1.0, slopes.double().numpy().reshape(-1, 1)) * before
    actual = units.behind(z, dy, slopes, axis)
    np.testing.assert_array_equal(actual[0].numpy(), (rectified != 0).any(1))
    close(actual[1:], [(rectified**2).sum(1), (before**2).sum(1)])


@st.composite
def cases(draw):
    """A shape, an axis, strides, a dtype, how many special values, a seed."""
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    if draw(st.integers(0, 9)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = 0
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    strides = [draw(st.sampled_from(STRIDES)) for _ in range(3)]
    return tuple(shape), axis, strides, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 6)), draw(st.integers(0, 99))


@settings(max_examples=150)
@examples(case=cases())
def check(case):
    shape, axis, strides, dtype, specials, seed = case
    generator = torch.Generator().manual_seed(seed)
    z, dz, dy = torch.randn((3, *shape), generator=generator)
    some = torch.rand((3, *shape), generator=generator)
    dz[some[1] < 0.5], dy[some[2] < 0.5] = 0.0, 0.0  # as a ReLU leaves it
    dz[some[1] < 0.05] = 1e-30  # of which the square is nothing
    for place in torch.randint(max(1, z.numel()), (specials if z.numel() else 0,), generator=generator).tolist():
        z.view(-1)[place] = SPECIAL[(place + seed) % len(SPECIAL)]
    units = shape[axis] if seed % 2 else 1
    slopes = torch.randn(units, generator=generator) * (torch.rand(units, generator=generator) < 0.7)
    placed = [laid_out(t.to(dtype), s) for t, s in zip((z, dz, dy), strides, strict=True)]
    check_all(*placed, slopes, axis)


def test_any_shape_axis_strides_and_values(implementation):
    check()


@settings(max_examples=150)
@examples(case=cases())
def check_kept(case):
    shape, axis, (strides, other, _), dtype, specials, seed = case
    generator = torch.Generator().manual_seed(seed)
    z, dy = torch.randn((2, *shape), generator=generator)
    dy[torch.rand(shape, generator=generator) < 0.5] = 0.0
    dy.mul_(1e-30 if seed % 3 == 0 else 1)  # of which the squares are nothing
    for place in torch.randint(max(1, z.numel()), (specials // 4 if z.numel() else 0,), generator=generator).tolist():
        z.view(-1)[place] = SPECIAL[(place + seed) % len(SPECIAL)]
    count = shape[axis] if seed % 2 else 1
    slopes = torch.randn(count, generator=generator) * (torch.rand(count, generator=generator) < 0.7)
    check_signs_kept(laid_out(z.to(dtype), strides), laid_out(dy.to(dtype), other), slopes, axis)


def check_signs_kept(z, dy, slopes, axis):
    """Bits in place of z give the same bits as z itself."""
    counts, kept = units.kept_signs(z, axis)
    assert torch.equal(counts, units.signs(z, axis))
    if kept is None:
        return
    assert z.isfinite().all()
    assert torch.equal(units.kept_behind(kept, dy, slopes, axis), units.behind(z, dy, slopes, axis))
    if kept.fit(dy):
        dz = torch.ops.aten.threshold_backward(dy, z, 0)
        assert torch.equal(units.kept_squares(kept, dy, axis), units.squares(dz, dy, axis))


def test_signs_are_kept_for_any_shape_axis_strides_and_values(implementation):
    check_kept()


@pytest.mark.parametrize("dtype", DTYPES)
def test_signs_are_kept_over_more_than_one_piece(large, dtype, threads):
    z, dy = large(dtype, 0), large(dtype, 1)
    dy.select(1, 1).zero_()
    for count in (1, 2):
        threads(count)
        check_signs_kept(z, dy, torch.linspace(-0.5, 1.5, z.shape[1]), 1)
    kept = units.kept_signs(z, 1)[1]
    if kept is not None:
        assert kept.fit(dy)
        assert 2 * kept.bits.nbytes <= z.nbytes
        with pytest.raises(RuntimeError, match="signs are those of another tensor"):
            units.kept_squares(kept, dy[:0], 1)
    z[(-1,) * z.ndim] = torch.nan
    assert units.kept_signs(z, 1)[1] is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_than_one_piece_and_any_number_of_threads(large, dtype, threads, implementation):
    z, dz, dy = (large(dtype, seed) for seed in range(3))
    dz, dy = dz * (z > 0), dy * (z.roll(1) > 0)
    dead = 1  # a unit that never fires and gets no gradient until the last value
    z.select(1, dead).abs_().neg_()
    dz.select(1, dead).zero_()
    z[-1, 0].fill_(torch.nan)
    slopes = torch.linspace(0.0, 1.5, z.shape[1])
    runs = []
    for count in (1, 2, 3):
        threads(count)
        check_all(z, dz, dy, slopes, 1)
        runs.append([f(z, 1) for f in (units.signs, units.reached)])
        runs[-1] += [units.squares(dz, dy, 1), units.behind(z, dy, slopes, 1)]
    if implementation == "kernels":  # PyTorch's sums may depend on threads
        for run in runs[1:]:
            assert all(map(torch.equal, run, runs[0]))
    assert units.reached(dz, 1)[dead] == 0
    dz[(-1, dead, *(-1,) * (dz.ndim - 2))] = 1e-30
    assert units.reached(dz, 1)[dead] == 1


def test_counts_are_exact_where_float32_ends(implementation):
    many = (1 << 24) + 3
    counted = units.signs(torch.ones(1).expand(many).reshape(many, 1).bfloat16(), 1)
    assert counted.tolist() == [[many], [0], [0]]


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, 3e38])
def test_not_finite_means_a_value_never_the_sum(value, implementation):
    z = torch.ones(50, 3, 40)
    z[:, 1] = 3e38 * (1 if value > 0 else -1)  # which add up to infinity, and stay finite each
    z[17, 2, 5] = value
    assert units.signs(z, 1)[1:].tolist() == [[0, 0, value != value], [0, 0, value != 3e38]]  # NaN is not itself


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_gradients_that_are_not_finite_reach_a_unit_and_show_in_its_sums(value, implementation):
    gradient, z = torch.zeros(70, 2, 50), torch.ones(70, 2, 50)
    gradient[3, 1, 2] = value
    assert units.reached(gradient, 1).tolist() == [0, 1]
    assert units.squares(gradient, gradient, 1).isfinite().tolist() == [[True, False]] * 2
    sums = units.behind(z, gradient, torch.ones(1), 1)
    assert sums[0].tolist() == [0, 1]
    assert sums.isfinite().tolist() == [[True, True], [True, False], [True, False]]


def test_one_value_without_dimensions(implementation):
    z = torch.tensor(-2.0)
    assert units.signs(z, 0).tolist() == [[0], [0], [0]]
    assert units.behind(z, torch.tensor(3.0), torch.tensor(0.5), 0).tolist() == [[1], [2.25], [9]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_other_types_take_pytorchs_operations(dtype, operators):
    z = torch.tensor([[1.0, -2.0], [3.0, 0.0]]).to(dtype)
    with operators() as used:
        assert units.signs(z, 1).tolist() == [[2, 0], [0, 0], [0, 0]]
        assert units.reached(z, 1).tolist() == [1, 1]
        assert units.squares(z, z, 1).tolist() == [[10, 4]] * 2
    assert used == []


def test_plain_float_tensors_take_the_kernels(operators):
    if not _loading.state.loaded:
        pytest.skip(_loading.state.reason)
    z = torch.randn(4, 3, requires_grad=True)
    with operators() as used:
        counts = [units.signs(z, 1), units.reached(z, 1), units.squares(z, z.detach().bfloat16(), 1)]
        counts.append(units.behind(z, z, torch.ones(3), 1))
    assert used == ["unit_signs", "unit_reached", "unit_squares", "unit_behind"]
    assert not any(t.requires_grad for t in counts)


def arguments(x):
    """Of each operator, for an input of three units."""
    slopes = torch.rand(3)
    return {
        "unit_signs": (x, 1),
        "unit_signs_kept": (x, 1),
        "unit_reached": (x, 1),
        "unit_squares": (x, x.flip(0), 1),
        "unit_behind": (x, x.flip(0), slopes, 1),
    }


@pytest.mark.parametrize("name", arguments(torch.zeros(1, 3)))
def test_what_pytorch_asks_of_an_operator(name):
    operator = getattr(OPERATORS, name)
    key = torch._C._dispatch_has_kernel_for_dispatch_key(f"slopewise::{name}", "CPU")
    assert key == _loading.state.loaded
    x = torch.randn(4, 3, 5, 2)
    for strides in STRIDES:
        quick = ("test_schema", "test_autograd_registration", "test_faketensor")
        opcheck(operator.default, arguments(laid_out(x, strides))[name], test_utils=quick)
    opcheck(operator.default, arguments(x)[name])
    given = arguments(x)[name]
    real = operator(*given)
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        fake = operator(*(mode.from_tensor(t) if isinstance(t, torch.Tensor) else t for t in given))
    if name == "unit_signs_kept":  # the number of bytes depends on the values
        real, fake = real[0], fake[0]
    assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


def test_vmap_is_a_loop():
    samples = torch.randn(5, 4, 3)
    together = torch.vmap(OPERATORS.unit_signs, (0, None))(samples, 1)
    assert torch.equal(together, torch.stack([OPERATORS.unit_signs(sample, 1) for sample in samples]))


@pytest.mark.parametrize("axis", [2, -3])
def test_no_such_axis(axis, implementation):
    with pytest.raises((IndexError, RuntimeError)):
        units.signs(torch.ones(2, 3), axis)
