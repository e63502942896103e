import gc
from contextlib import suppress
from statistics import median

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.bench import using_threads
from slopewise.timing import interleaved, ratio


class Clock:
    """A clock that only the candidates move."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def candidate(self, name, seconds):
        """Takes `seconds`, a number or a function of the clock."""

        def call():
            self.calls.append(name)
            self.now += seconds(self.now) if callable(seconds) else seconds

        return call


def test_candidates_take_turns_after_the_warm_up():
    clock = Clock()
    times = interleaved({n: clock.candidate(n, 1.0) for n in "abc"}, rounds=3, clock=clock)
    assert clock.calls[-18:] == list("aabbcc" * 3)  # the first call of a turn does not count
    assert {name: clock.calls[:-18].count(name) for name in "abc"} == dict.fromkeys("abc", 3)
    assert times == dict.fromkeys("abc", (1.0, 1.0, 1.0))


def test_a_turn_is_not_charged_for_what_the_candidate_before_it_left_behind():
    clock = Clock()
    durations = {"clean": lambda now: 9.0 if clock.calls[-2:-1] == ["messy"] else 1.0, "messy": 1.0}
    times = interleaved({n: clock.candidate(n, d) for n, d in durations.items()}, rounds=3, clock=clock)
    assert times["clean"] == times["messy"]


def test_a_short_candidate_is_called_until_a_sample_is_full():
    clock = Clock()
    times = interleaved(
        {"short": clock.candidate("short", 0.25), "long": clock.candidate("long", 2.0)},
        rounds=1,
        sample=1.0,
        clock=clock,
    )
    assert clock.calls[-7:] == ["short"] * 5 + ["long"] * 2
    assert times == {"short": (0.25,), "long": (2.0,)}


def test_one_slow_call_in_the_warm_up_does_not_shorten_the_samples():
    clock = Clock()
    durations = iter([9.0, 5.0, 0.25, *[0.25] * 100])
    interleaved({"a": clock.candidate("a", lambda now: next(durations))}, rounds=1, sample=1.0, clock=clock)
    warm_up = len(clock.calls) - 4
    assert 4 <= warm_up <= 12
    assert clock.now == pytest.approx(9 + 5 + 0.25 * (warm_up - 2) + 1)


def test_a_candidate_without_duration_is_called_a_bounded_number_of_times():
    clock = Clock()
    interleaved({"a": clock.candidate("a", 0.0)}, rounds=1, clock=clock)
    assert len(clock.calls) < 1100


def test_drift_that_both_candidates_share_leaves_the_ratio_alone():
    clock = Clock()
    slower_and_slower = {
        "one": clock.candidate("one", lambda now: 1.0 if now < 50 else 10.0),
        "two": clock.candidate("two", lambda now: 2.0 if now < 50 else 20.0),
    }
    times = interleaved(slower_and_slower, rounds=20, clock=clock)
    assert max(times["one"]) / min(times["one"]) == 10
    assert ratio(times["two"], times["one"]).median == 2


def test_no_round_begins_after_the_budget_but_three_are_made():
    clock = Clock()
    candidates = {"a": clock.candidate("a", 1.0), "b": clock.candidate("b", 1.0)}
    assert len(interleaved(candidates, rounds=9, budget=15.5, clock=clock)["a"]) == 4
    assert len(interleaved(candidates, rounds=9, budget=0, clock=clock)["a"]) == 3
    assert len(interleaved(candidates, rounds=2, budget=0, clock=clock)["a"]) == 2


def test_garbage_is_not_collected_while_it_counts():
    states = []

    def failing():
        states.append(gc.isenabled())
        if len(states) == 12:
            raise ValueError("moon")

    assert gc.isenabled()
    with pytest.raises(ValueError, match="moon"):
        interleaved({"a": failing}, rounds=20, sample=1e-9)
    assert gc.isenabled()
    assert states[0]
    assert not states[-1]


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        interleaved({"a": lambda: None}, rounds=0)


@given(st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=1, max_size=30))
def test_ratio_is_numpys_quartiles_of_the_rounds_ratios(pairs):
    of, to = zip(*pairs, strict=True)
    measured = ratio(of, to)
    expected = np.percentile(np.array(of) / np.array(to), (25, 50, 75))
    np.testing.assert_allclose((measured.low, measured.median, measured.high), expected, rtol=1e-9)


def test_ratio_is_not_the_ratio_of_the_medians():
    of, to = (1.0, 10.0, 100.0), (1.0, 100.0, 50.0)
    assert ratio(of, to).median == 1.0
    assert median(of) / median(to) == 0.2


def test_ratio_of_unequal_rounds_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        ratio((1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="at least one round"):
        ratio((), ())


def test_threads_are_given_back():
    before = torch.get_num_threads()
    other = 1 if before > 1 else 2
    with suppress(KeyError), using_threads(other):
        assert torch.get_num_threads() == other
        raise KeyError
    assert torch.get_num_threads() == before
    with using_threads(None):
        assert torch.get_num_threads() == before
