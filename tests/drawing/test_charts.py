"""Parts of charts: styles, ticks, labels of rows."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.drawing import HUES, MARKERS, log_ticks, row_labels, series_styles, shared_module, spaced, tail


def test_arms_look_different_from_each_other_and_the_control_is_grey():
    arms = [f"arm{k}" for k in range(2 * HUES)]
    styles = series_styles(arms, reference="arm3")
    assert styles["arm3"].colour == "var(--arm-0)"
    assert len({(s.colour, s.marker, s.dash) for s in styles.values()}) == len(arms)
    assert sum(s.colour == "var(--arm-0)" for s in styles.values()) == 1
    assert {s.marker for s in styles.values()} == set(MARKERS)


@pytest.mark.parametrize("values", [[0.3, 0.31], [1e-6, 1e3], [0.0], [5.0, 5.0], [0.012, 0.9], [5.03, 5.04]])
def test_log_ticks_lie_on_the_scale_and_are_few(values):
    ticks = log_ticks(values).get("tickvals", [])
    assert len(ticks) <= 8
    positive = [value for value in values if value > 0] or [1.0]
    assert all(0.9 * min(positive) <= tick <= 1.1 * max(positive) for tick in ticks)
    assert ticks or max(values) / min(values) < 1.2  # there Plotly chooses its own


@given(st.integers(0, 1000), st.integers(2, 50))
def test_spaced_indices_are_even(count, most):
    indices = spaced(count, most)
    assert len(indices) == min(count, most)
    gaps = {b - a for a, b in pairwise(indices)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_cut_name_keeps_its_end_and_is_inert():
    assert tail("a" * 30 + ".act<b>", 10) == "…aa.act&lt;b&gt;"


@pytest.mark.parametrize("end", ["act", "residual.activation", "branch.residual.norm_activation"])
@pytest.mark.parametrize("begin", ["", "encoder.", "backbone.encoder.stages.3.blocks."])
def test_labels_of_many_layers_differ_and_are_short(begin, end):
    rows = [f"{begin}{k}.{end}" for k in range(120)]
    labels = row_labels(rows)
    assert len(set(labels)) == 120
    assert max(map(len, labels)) <= 20


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "ccc"]), min_size=1, max_size=6).map(".".join), min_size=1))
def test_the_shared_module_holds_everything(names):
    module = shared_module(names, 3)
    assert all(name.startswith(f"{module}.") for name in names) or module == ""
