"""Summaries against NumPy, alarms against slopes made for each, and what rounding must not change."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.slopes import ALARM_KINDS, MEANINGS, alarms, summarise

FLOATS = st.floats(-3, 3, width=32)


def kinds_of(slopes: list[float] | torch.Tensor, **options: float) -> list[str]:
    return [str(alarm) for alarm in alarms(summarise(torch.as_tensor(slopes), **options))]


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_the_summary_agrees_with_numpy(values: list[float]) -> None:
    summary = summarise(torch.tensor(values))
    numbers = np.array(values, dtype=np.float64)
    five = (summary.minimum, summary.lower_quartile, summary.median, summary.upper_quartile, summary.maximum)
    np.testing.assert_allclose(five, np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1]), rtol=1e-12, atol=1e-12)
    assert summary.mean == pytest.approx(numbers.mean(), abs=1e-12)
    edges = [-np.inf, -0.01, np.nextafter(0.01, 1), 0.95, np.nextafter(1.05, 2), np.inf]
    negative, near_0, between, near_1, above_1 = np.histogram(numbers, edges)[0].tolist()
    assert (summary.negative, summary.near_0, summary.near_1, summary.above_1) == (negative, near_0, near_1, above_1)
    assert between == summary.count - negative - near_0 - near_1 - above_1


@given(st.lists(FLOATS, min_size=1, max_size=20), st.randoms())
def test_order_and_shape_do_not_matter(values: list[float], random) -> None:
    shuffled = random.sample(values, len(values))
    before, after = summarise(torch.tensor(values)), summarise(torch.tensor(shuffled).reshape(1, -1, 1, 1))
    assert before.mean == pytest.approx(after.mean)
    assert alarms(before) == alarms(after)


MADE = {
    "a healthy layer": ([0.1, 0.25, 0.4, 0.0], []),
    "one NaN": ([0.1, math.nan, 0.4], ["not finite"]),
    "all infinite": ([math.inf, -math.inf], ["not finite"]),
    "one of three negative": ([-0.02, 0.2, 0.4], []),
    "half negative": ([-0.02, -0.5, 0.2, 0.4], ["negative"]),
    "hardly negative": ([-0.005, 0.2, 0.4], []),
    "one of three above 1": ([1.06, 0.2, 0.4], []),
    "half above 1": ([1.06, 7.0, 0.2, 0.4], ["above 1"]),
    "half near 0": ([0.004, -0.009, 0.2, 0.3], ["near 0"]),
    "a third near 0": ([0.004, 0.3, 0.2], []),
    "half near 1": ([0.96, 1.04, 0.2, 0.3], ["near 1"]),
    "a shared slope near 0": ([0.004], ["near 0"]),
    "a shared slope near 1": ([1.02], ["stuck at 1.02"]),
    "a trained shared slope near 1": ([1.0213], ["near 1"]),
    "a shared slope as made": ([0.25], ["stuck at 0.25"]),
    "a trained shared slope": ([0.25001], []),
    "one slope for each, as made": ([0.25] * 3, ["stuck at 0.25"]),
    "equal, of no round number": ([0.123456] * 3, ["stuck at 0.123456"]),
    "as a ReLU": ([0.0] * 3, ["stuck at 0"]),
    "of either zero": ([0.0, -0.0], ["stuck at 0"]),
    "all but one as made": ([0.25, 0.25, 0.26], []),
    "stuck and negative": ([-0.5] * 3, ["negative", "stuck at -0.5"]),
    "two halves": ([-1.0, -2.0, 0.0, 0.001], ["negative", "near 0"]),
    "several": ([math.nan, -1.0, -2.0, 0.0], ["not finite", "negative"]),
}


@pytest.mark.parametrize("case", MADE)
def test_alarms(case: str) -> None:
    slopes, expected = MADE[case]
    assert kinds_of(slopes) == expected


def test_an_alarm_counts_its_slopes() -> None:
    (alarm,) = alarms(summarise(torch.tensor([-0.5, -0.1, 0.3])))
    assert (alarm.kind, alarm.slopes, alarm.value) == ("negative", 2, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_known_initial_value_is_compared_as_the_dtype_rounds_it(dtype: torch.dtype) -> None:
    slopes = torch.full((4,), 0.1, dtype=dtype)
    assert kinds_of(slopes, init=0.1) == ["stuck at 0.1"]
    assert kinds_of(slopes, init=0.25) == []
    assert kinds_of(torch.tensor([0.123456]), init=0.123456) == ["stuck at 0.123456"]
    assert kinds_of(torch.tensor([0.25]), init=0.1) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_raises_no_alarm(dtype: torch.dtype) -> None:
    moved = 0.25 + torch.linspace(-1e-4, 1e-4, 64)
    assert kinds_of(moved) == []
    rounded = summarise(moved.to(torch.bfloat16))
    assert rounded.same == 0.25
    assert rounded.rounded
    assert alarms(rounded) == ()
    assert kinds_of(torch.tensor([0.3101]).to(dtype)) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@given(values=st.lists(st.floats(0.011, 0.945), min_size=1, max_size=20))
def test_a_healthy_layer_stays_so_in_half_precision(dtype: torch.dtype, values: list[float]) -> None:
    assert kinds_of(torch.tensor(values).to(dtype)) == []


def test_eight_bits_are_read() -> None:
    summary = summarise(torch.tensor([0.25, 0.5]).to(torch.float8_e4m3fn))
    assert (summary.minimum, summary.maximum, summary.rounded) == (0.25, 0.5, True)


def test_no_slopes_is_an_error() -> None:
    with pytest.raises(ValueError, match="slopes is empty"):
        summarise(torch.empty(0))


def test_every_alarm_has_a_meaning() -> None:
    assert tuple(MEANINGS) == ALARM_KINDS
