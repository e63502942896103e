"""The axes of images: found from the sizes, or an error that asks for them."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from slopewise.errors import DataError
from slopewise.study.data import channels_first, find_layout


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((28, 28), "HW"),
        ((64, 200), "HW"),
        ((3, 32, 32), "CHW"),
        ((32, 32, 3), "HWC"),
        ((2, 48, 60), "CHW"),
        ((48, 60, 2), "HWC"),
        ((12, 64, 64), "CHW"),
        ((64, 64, 12), "HWC"),
        ((8, 8, 8, 8), None),
        ((1, 20, 30, 40), "CDHW"),
        ((20, 30, 40, 2), "DHWC"),
        ((6, 20, 20, 20), "CDHW"),
        ((20, 30, 40, 50), None),
        ((4, 20, 20, 4), None),
        ((2, 3, 8, 8, 8), None),
        ((8, 8, 8), None),  # or a volume
        ((3, 3, 16), None),  # three rows of three bands of sixteen, or sixteen bands of 3 x 3
        ((13, 120, 160), None),
        ((3, 100, 4), None),
        ((1, 128, 9), None),
        ((128, 9, 1), None),
        ((12, 5000), None),
        ((5000, 12), None),
        ((100,), None),
        ((), None),
    ],
)
def test_sizes_tell_the_axes_or_are_asked_about(shape: tuple[int, ...], layout: str | None) -> None:
    if layout:
        assert find_layout(shape, "auto", "images") == layout
    else:
        with pytest.raises(DataError, match=r"layout|vectors|videos"):
            find_layout(shape, "auto", "images")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_no_shape_is_read_in_two_ways(channels: int, height: int, width: int) -> None:
    """An image and its copy with moved channels are never both misread."""
    assume(not (channels == height == width))
    layouts = []
    for shape in ((channels, height, width), (height, width, channels)):
        try:
            layout = find_layout(shape, "auto", "images")
        except DataError:
            continue
        image = torch.arange(channels * height * width).reshape(channels, height, width)
        given_as = image if shape == (channels, height, width) else image.permute(1, 2, 0)
        layouts.append(torch.equal(channels_first(given_as, layout), image))
    assert len(set(layouts)) <= 1  # right both times, or wrong both: (32, 3, 32) is another image


@given(st.integers(1, 4), st.integers(5, 99), st.integers(5, 99), st.integers(1, 3))
def test_colours_are_found_at_either_end(channels: int, height: int, width: int, count: int) -> None:
    assume(min(height, width) >= 16 or max(height, width) < 4 * min(height, width))
    images = np.arange(count * channels * height * width).reshape(count, channels, height, width)
    for array in (images, np.moveaxis(images, 1, -1)):
        layout = find_layout(array.shape[1:], "auto", "images")
        assert np.array_equal(channels_first(torch.from_numpy(array), layout).numpy(), images)


def test_the_question_is_answered_by_the_layout() -> None:
    assert find_layout((9, 128, 1), "CHW", "images") == "CHW"
    assert find_layout((9, 128), "HW", "images") == "HW"
    with pytest.raises(DataError, match=r"data\.layout: 'HWC' has 3 axes, but images are each of shape \(28, 28\)"):
        find_layout((28, 28), "HWC", "images")


def test_what_has_no_axis_of_colours_may_be_a_volume() -> None:
    with pytest.raises(DataError, match=r'or a volume: say which by data.layout = "CHW", "HWC" .* or "DHW"'):
        find_layout((28, 28, 28), "auto", "images")
    with pytest.raises(DataError, match=r"160 channels of 13 x 120 or a volume: say which"):
        find_layout((13, 120, 160), "auto", "images")


@pytest.mark.parametrize(
    ("shape", "mask", "layout"),
    [
        ((13, 120, 160), (120, 160), "CHW"),
        ((13, 120, 160), (13, 120), "HWC"),
        ((13, 120, 160), (13, 120, 160), "DHW"),
        ((13, 120, 160), (13, 120, 160, 1), "DHW"),
        ((13, 120, 160), (1, 120, 160), "CHW"),
        ((8, 8, 8), (8, 8, 8), "DHW"),
        ((8, 8, 8), (8, 8), None),
        ((5, 6, 7, 8), (6, 7, 8), "CDHW"),
        ((5, 6, 7, 8), (5, 6, 7), "DHWC"),
        ((32, 32, 3), (30, 30), "HWC"),  # refused later, with both sizes
    ],
)
def test_a_mask_tells_the_axes(shape: tuple[int, ...], mask: tuple[int, ...], layout: str | None) -> None:
    if layout:
        assert find_layout(shape, "auto", "images", mask=mask) == layout
    else:
        with pytest.raises(DataError, match="say which"):
            find_layout(shape, "auto", "images", mask=mask)


@pytest.mark.parametrize("layout", ["CDHW", "DHWC", "DHW"])
def test_volumes_have_their_channels_first(layout: str) -> None:
    volumes = torch.arange(2 * 5 * 6 * 7).reshape(2, 1, 5, 6, 7)
    given_as = {"CDHW": volumes, "DHWC": volumes.movedim(1, -1), "DHW": volumes[:, 0]}[layout]
    assert torch.equal(channels_first(given_as, layout), volumes)
    assert find_layout(given_as.shape[1:], layout, "volumes") == layout
