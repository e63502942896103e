"""Sums per unit that monitors take: the kernels, and PyTorch's own operations, against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
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


def added(rows, add, *arguments):
    """Return the rows that a function adds to in a matrix of zeros; it must add nothing to the others."""
    like, axis = arguments[-3] if add is units.add_behind else arguments[0], arguments[-1]
    sums = units.new_sums(like.shape[axis] if like.ndim else 1, like)
    assert sums.dtype == torch.float64
    add(sums, *arguments)
    assert not torch.cat([sums[: rows.start], sums[rows.stop :]]).any()
    return sums[rows]


def signs(z, axis):
    return added(slice(0, 3), units.add_signs, z, axis)


def reached(gradient, axis):
    return added(slice(3, 4), units.add_reached, gradient, axis)[0]


def squares(dz, dy, axis):
    return added(slice(4, 6), units.add_squares, dz, dy, axis)


def behind(source, dy, slopes, axis):
    return added(slice(3, 6), units.add_behind, source, dy, slopes, axis)


def kept_signs(z, axis):
    sums = units.new_sums(z.shape[axis], z)
    kept = units.add_signs(sums, z, axis, keep=True)
    return sums[:3], kept


def kept_squares(kept, dy, axis):
    sums = units.new_sums(kept.shape[axis], dy)
    units.add_squares_kept(sums, kept, dy, axis)
    return sums[4:]


def check_all(z, dz, dy, slopes, axis):
    """All four, for finite gradients whose squares are within the range of float32."""
    values, passed, before = by_unit(z, axis), by_unit(dz, axis), by_unit(dy, axis)
    positive = (values > 0).sum(1)
    broken = ~np.isfinite(values).all(1)
    for actual, expected in (
        (signs(z, axis), [positive, np.isnan(values).sum(1), broken]),
        (reached(dz, axis), (passed != 0).any(1)),
        (reached(z, axis), (values != 0).any(1)),
    ):
        np.testing.assert_array_equal(actual.numpy(), expected)
    close(squares(dz, dy, axis), [(passed**2).sum(1), (before**2).sum(1)])
    rectified = np.where(values > 0, 1.0, slopes.double().numpy().reshape(-1, 1)) * before
    actual = behind(z, dy, slopes, axis)
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
    counts, kept = kept_signs(z, axis)
    assert torch.equal(counts, signs(z, axis))
    if kept is None:
        return
    assert z.isfinite().all()
    assert torch.equal(behind(kept, dy, slopes, axis), behind(z, dy, slopes, axis))
    if kept.fit(dy):
        dz = torch.ops.aten.threshold_backward(dy, z, 0)
        assert torch.equal(kept_squares(kept, dy, axis), squares(dz, dy, axis))


def test_signs_are_kept_for_any_shape_axis_strides_and_values(implementation):
    check_kept()


@pytest.mark.parametrize("dtype", DTYPES)
def test_signs_are_kept_over_more_than_one_piece(large, dtype, threads):
    z, dy = large(dtype, 0), large(dtype, 1)
    dy.select(1, 1).zero_()
    for count in (1, 2):
        threads(count)
        check_signs_kept(z, dy, torch.linspace(-0.5, 1.5, z.shape[1]), 1)
    kept = kept_signs(z, 1)[1]
    if kept is not None:
        assert kept.fit(dy)
        assert 2 * kept.bits.nbytes <= z.nbytes
        with pytest.raises(RuntimeError, match="signs are those of another tensor"):
            kept_squares(kept, dy[:0], 1)
    z[(-1,) * z.ndim] = torch.nan
    assert kept_signs(z, 1)[1] is None


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
        runs.append([f(z, 1) for f in (signs, reached)])
        runs[-1] += [squares(dz, dy, 1), behind(z, dy, slopes, 1)]
    if implementation == "kernels":  # PyTorch's sums may depend on threads
        for run in runs[1:]:
            assert all(map(torch.equal, run, runs[0]))
    assert reached(dz, 1)[dead] == 0
    dz[(-1, dead, *(-1,) * (dz.ndim - 2))] = 1e-30
    assert reached(dz, 1)[dead] == 1


def test_counts_are_exact_where_float32_ends(implementation):
    many = (1 << 24) + 3
    counted = signs(torch.ones(1).expand(many).reshape(many, 1).bfloat16(), 1)
    assert counted.tolist() == [[many], [0], [0]]


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan, 3e38])
def test_not_finite_means_a_value_never_the_sum(value, implementation):
    z = torch.ones(50, 3, 40)
    z[:, 1] = 3e38 * (1 if value > 0 else -1)  # which add up to infinity, and stay finite each
    z[17, 2, 5] = value
    assert signs(z, 1)[1:].tolist() == [[0, 0, value != value], [0, 0, value != 3e38]]  # NaN is not itself


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_gradients_that_are_not_finite_reach_a_unit_and_show_in_its_sums(value, implementation):
    gradient, z = torch.zeros(70, 2, 50), torch.ones(70, 2, 50)
    gradient[3, 1, 2] = value
    assert reached(gradient, 1).tolist() == [0, 1]
    assert squares(gradient, gradient, 1).isfinite().tolist() == [[True, False]] * 2
    sums = behind(z, gradient, torch.ones(1), 1)
    assert sums[0].tolist() == [0, 1]
    assert sums.isfinite().tolist() == [[True, True], [True, False], [True, False]]


def test_one_value_without_dimensions(implementation):
    z = torch.tensor(-2.0)
    assert signs(z, 0).tolist() == [[0], [0], [0]]
    assert behind(z, torch.tensor(3.0), torch.tensor(0.5), 0).tolist() == [[1], [2.25], [9]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_other_types_take_pytorchs_operations(dtype, operators):
    z = torch.tensor([[1.0, -2.0], [3.0, 0.0]]).to(dtype)
    with operators() as used:
        assert signs(z, 1).tolist() == [[2, 0], [0, 0], [0, 0]]
        assert reached(z, 1).tolist() == [1, 1]
        assert squares(z, z, 1).tolist() == [[10, 4]] * 2
    assert used == []


def test_plain_float_tensors_take_the_kernels(operators):
    if not _loading.state.loaded:
        pytest.skip(_loading.state.reason)
    z = torch.randn(4, 3, requires_grad=True)
    sums = units.new_sums(3, z)
    with operators() as used:
        units.add_signs(sums, z, 1)
        units.add_reached(sums, z, 1)
        units.add_squares(sums, z, z.detach().bfloat16(), 1)
        units.add_behind(sums, z, z, torch.ones(3), 1)
    assert used == ["add_unit_signs", "add_unit_reached", "add_unit_squares", "add_unit_behind"]
    assert not sums.requires_grad


def test_sums_are_added_to_those_of_earlier_calls(implementation):
    z, dy, slopes = torch.randn(4, 3), torch.randn(4, 3), torch.rand(3)
    calls = (
        (units.add_signs, z),
        (units.add_reached, dy),
        (units.add_squares, dy, None),
        (units.add_squares, None, z),
        (units.add_squares, dy, z),
        (units.add_behind, z, dy, slopes),
        (units.add_behind, units.add_signs(units.new_sums(3, z), z, 1, keep=True) or z, dy, slopes),
    )
    for add, *arguments in calls:
        once, twice = units.new_sums(3, z), units.new_sums(3, z)
        for sums in (once, twice, twice):
            add(sums, *arguments, 1)
        assert once.any()
        assert torch.equal(twice, 2 * once)


def arguments(x):
    """Of each operator, for an input of three units."""
    sums, slopes = units.new_sums(3, x), torch.rand(3)
    return {
        "add_unit_signs": (sums, x, 1, False),
        "add_unit_reached": (sums, x, 1),
        "add_unit_squares": (sums, x, x.flip(0), 1),
        "add_unit_behind": (sums, x, x.flip(0), slopes, 1),
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


def test_signs_that_are_kept_have_a_size_that_depends_on_values():
    sums, x = units.new_sums(3, torch.zeros(1)), torch.randn(4, 3, 5, 2)
    opcheck(OPERATORS.add_unit_signs.default, (sums, x, 1, True), test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("axis", [2, -3])
def test_no_such_axis(axis, implementation):
    z = torch.ones(2, 3)
    with pytest.raises((IndexError, RuntimeError)):
        units.add_signs(units.new_sums(3, z), z, axis)


def test_sums_of_another_shape_are_refused(implementation):
    with pytest.raises(RuntimeError):
        units.add_signs(torch.zeros(units.ROWS, 2, dtype=torch.float64), torch.ones(2, 3), 1)
