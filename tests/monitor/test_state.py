"""A monitor that goes on from the state of another shows what one that never stopped shows."""

import io
from dataclasses import replace

import pytest
import torch
from torch import nn

from slopewise import PReLU
from slopewise.monitor import Monitor, Thresholds

STEPS, EVERY = 24, 3


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 8), PReLU(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), PReLU(), nn.Dropout(), nn.Linear(8, 1)
    )
    nn.init.constant_(net[2].bias, -50.0)  # dead units, and no gradient for what is before them
    return net


class Training:
    """A loop with a monitor, which can be saved and loaded; it takes one more step at a time."""

    def __init__(self) -> None:
        self.net = network()
        weights = [p for m in (self.net[0], self.net[2], self.net[4], self.net[7]) for p in m.parameters()]
        slopes = [*self.net[1].parameters(), *self.net[5].parameters()]
        self.optimizers = [torch.optim.Adam(weights, lr=0.01), torch.optim.SGD(slopes, lr=0.1, weight_decay=0.1)]
        self.monitor = Monitor(self.net, EVERY, thresholds=Thresholds(stuck=3)).start()
        self.done = 0

    def go_to(self, step: int) -> None:
        while self.done < step:
            x = torch.randn(16, 4, generator=torch.Generator().manual_seed(self.done))
            torch.manual_seed(self.done)
            self.net(x).square().mean().backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            self.done += 1

    def saved(self) -> bytes:
        parts = (self.net, *self.optimizers, self.monitor)
        file = io.BytesIO()
        torch.save([part.state_dict() for part in parts], file)
        return file.getvalue()

    def load(self, file: bytes, step: int) -> None:
        self.done = step
        states = torch.load(io.BytesIO(file), weights_only=True)
        for part, state in zip((self.net, *self.optimizers, self.monitor), states, strict=True):
            part.load_state_dict(state)


def samples(monitor: Monitor) -> list:
    return [replace(sample, seconds=0.0) for sample in monitor.samples]


@pytest.mark.parametrize("stop", [1, 2, 3, 10, 13, STEPS])
def test_it_goes_on_from_any_step_with_the_same_samples_and_alarms(stop: int) -> None:
    whole = Training()
    whole.go_to(STEPS)
    first = Training()
    first.go_to(stop)
    file = first.saved()
    first.monitor.close()
    second = Training()
    second.load(file, stop)
    second.go_to(STEPS)
    assert [alarm.id for alarm in whole.monitor.alarms]  # dead units, slopes that are stuck or decay
    assert second.monitor.alarms == whole.monitor.alarms
    assert samples(second.monitor) == samples(whole.monitor)
    assert second.monitor.step == whole.monitor.step == STEPS
    assert second.monitor.notes == whole.monitor.notes
    assert second.monitor.dead_since("3") == whole.monitor.dead_since("3") != {}
    assert torch.equal(second.monitor.slopes("1").from_start, whole.monitor.slopes("1").from_start)
    assert torch.equal(second.monitor.units("1").positive, whole.monitor.units("1").positive)
    for training in (whole, second):
        training.monitor.close()
    assert second.monitor.recording.header.started == pytest.approx(whole.monitor.recording.header.started, abs=60)
    assert second.monitor.recording.end.step == STEPS


def test_a_monitor_that_goes_on_knows_how_many_passes_a_step_takes() -> None:
    """Else one that takes many would be taken for one that fails, and be sampled."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def steps(monitor: Monitor, number: int) -> list[int]:
        with monitor:
            for _ in range(number):
                for _ in range(16):
                    net(torch.ones(2, 4)).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
        return [sample.step for sample in monitor.samples]

    before, after, later = Monitor(net, 5), Monitor(net, 5), Monitor(net, 5)
    assert steps(before, 2) == [1]
    state = before.state_dict()
    after.load_state_dict(state)
    assert steps(after, 5) == [1, 6]
    del state["most_passes"], state["given_up"]  # as of an earlier version
    later.load_state_dict(state)
    assert steps(later, 4)[-1] == 6


class Taking(nn.Module):
    """Two blocks that share slopes; a pass takes one of them."""

    def __init__(self) -> None:
        super().__init__()
        act = PReLU(4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), act) for _ in range(2))

    def forward(self, x: torch.Tensor, block: int) -> torch.Tensor:
        return self.blocks[block](x)


def test_a_monitor_that_goes_on_knows_who_has_applied_slopes() -> None:
    net = Taking()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    monitors = [Monitor(net, 1), Monitor(net, 1)]
    for block, monitor in enumerate(monitors):
        with monitor:
            net(torch.ones(2, 4), block).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        if monitor is monitors[0]:
            monitors[1].load_state_dict(monitor.state_dict())
    (alarm,) = [alarm for alarm in monitors[1].alarms if alarm.id == "slope-tied"]
    assert "applied by 'blocks.0' and by 'blocks.1'" in alarm.evidence


def test_a_saved_state_has_no_more_than_its_tensors() -> None:
    """A view would be saved with all that it is a view of."""
    net = nn.Sequential(nn.Linear(2, 500), PReLU(), nn.Linear(500, 3), PReLU(3), nn.Linear(3, 1))
    with Monitor(net, 1) as monitor:
        for _ in range(4):
            net(torch.ones(3, 2)).sum().backward()
            monitor.step_done()
    tensors = tensors_in(monitor.state_dict())
    assert len(tensors) > 10
    assert [t.untyped_storage().nbytes() for t in tensors] == [t.nbytes for t in tensors]


def tensors_in(state: object) -> list[torch.Tensor]:
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list) else []
    return [state] if isinstance(state, torch.Tensor) else [tensor for part in parts for tensor in tensors_in(part)]


def test_values_that_are_not_finite_survive() -> None:
    net = nn.Sequential(nn.Linear(2, 2), PReLU(2), nn.Linear(2, 1))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([torch.inf, torch.nan]))
    monitors = [Monitor(net, 1), Monitor(net, 1)]
    with monitors[0]:
        net(torch.ones(3, 2)).sum().backward()
    monitors[1].load_state_dict(monitors[0].state_dict())
    assert repr(monitors[1].samples) == repr(monitors[0].samples)
    assert "not-finite" in [alarm.id for alarm in monitors[1].alarms]
    assert monitors[1].alarms == monitors[0].alarms


def test_the_state_of_another_model_or_rate_is_refused() -> None:
    state = Monitor(network(), 3).state_dict()
    with pytest.raises(ValueError, match="the state is of a monitor with every=3, not 4"):
        Monitor(network(), 4).load_state_dict(state)
    with pytest.raises(ValueError, match="another model: it has other slopes"):
        Monitor(nn.Sequential(nn.Linear(2, 2), PReLU(2)), 3).load_state_dict(state)
