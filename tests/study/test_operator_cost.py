"""The comparison of the compiled kernels with PyTorch's own operations, on a clock of its own."""

import runpy
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise import ops
from slopewise.study import _operator_cost
from slopewise.study._operator_cost import compare_operators, holds_our_layers, why_not_compared


@pytest.fixture(autouse=True)
def as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what conftest.py has shortened."""
    settings = runpy.run_path(_operator_cost.__file__)
    for name in ("_ROUNDS", "_TURN"):
        monkeypatch.setattr(_operator_cost, name, settings[name])


needs_kernels = pytest.mark.skipif(ops.backend().name == "reference", reason=ops.backend().reason)


@pytest.mark.parametrize(
    ("module", "ours"),
    [
        (sw.PReLU(3), True),
        (sw.BatchNormPReLU2d(3), True),
        (sw.BatchNormPReLU1d(3, learnable=False), True),
        (sw.ConvBNPReLU(3, 3), True),
        (nn.PReLU(3), False),
        (nn.BatchNorm2d(3), False),
        (nn.Conv2d(3, 3, 1), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_with_layers_of_ours_are_compared(module: nn.Module, ours: bool) -> None:
    assert holds_our_layers(nn.Sequential(nn.ReLU(), nn.Sequential(module))) is ours


class Machine:
    """Training steps of a known cost, and the clocks that count them: the wall's runs three times the processor's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.turns = 0.0, []
        clocks = SimpleNamespace(process_time=lambda: self.now, perf_counter=lambda: 3 * self.now)
        monkeypatch.setattr(_operator_cost, "time", clocks)

    def training(self) -> Iterator[None]:
        while True:
            kernels = ops.backend().name == "kernels"
            self.turns.append(kernels)
            self.now += 0.004 if kernels else 0.006
            yield


@needs_kernels
def test_the_ratio_is_stock_over_kernels_and_they_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    cost = compare_operators(machine.training, threads=1)
    assert cost.kernels_seconds == pytest.approx(0.004)
    assert cost.stock_seconds == pytest.approx(0.006)
    assert (cost.stock_ratio_q1, cost.stock_ratio, cost.stock_ratio_q3) == (pytest.approx(1.5),) * 3
    assert cost.rounds == 20
    assert cost.reason is None
    a_round = [True] * 3 + [False] * 2  # one step that does not count, then as many as last the 5 ms of a turn
    assert machine.turns[-100:] == a_round * 20
    assert ops.backend().name == "kernels"


@needs_kernels
def test_slow_steps_get_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    steps = machine.training()

    def slow() -> Iterator[None]:
        while True:
            for _ in range(100):
                next(steps)
            yield

    cost = compare_operators(slow, threads=1)
    assert cost.rounds == 3
    assert cost.stock_seconds == pytest.approx(0.6)


@needs_kernels
def test_threads_are_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (compare_operators(Machine(monkeypatch).training, threads=threads) for threads in (1, 2))
    assert two.kernels_seconds == pytest.approx(3 * one.kernels_seconds)


def test_random_draws_of_the_steps_leave_the_generator_unchanged() -> None:
    def drawing() -> Iterator[None]:
        while True:
            torch.manual_seed(5)
            yield

    torch.manual_seed(3)
    compare_operators(drawing, threads=1)
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))


def test_no_step_is_taken_if_there_is_nothing_to_compare() -> None:
    def never() -> Iterator[None]:
        raise AssertionError

    cost = compare_operators(never, threads=1, why_not="it rains")
    assert (cost.rounds, cost.reason, cost.stock_ratio, cost.kernels_seconds) == (0, "it rains", None, None)


def test_an_error_of_a_step_is_the_reason_and_the_kernels_come_back() -> None:
    before = ops.backend()

    def failing() -> Iterator[None]:
        yield from range(30)  # until well into the turns
        raise RuntimeError("out of memory\nat length")

    cost = compare_operators(failing, threads=1)
    assert (cost.rounds, cost.reason) == (0, "the comparison raised RuntimeError: out of memory")
    assert ops.backend() == before


@needs_kernels
def test_reasons_are_in_words() -> None:
    assert why_not_compared("cpu", 1) is None
    assert why_not_compared("cpu", 2) == "steps are timed on one device, and the trials had 2"
    with ops.use_kernels(enabled=False):
        assert why_not_compared("cpu", 1) == (
            "the trials ran on stock PyTorch, since use_kernels(enabled=False) turned the kernels off"
        )
        assert "not for mps" in why_not_compared("mps", 1)
