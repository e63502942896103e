"""Traces of a monitor in a model and in memory: none between sampled steps, none after it is closed."""

import copy
import gc
import io
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.overrides import _get_current_function_mode_stack

import slopewise as sw

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_forward_hooks_with_kwargs")
HOOKS += ("_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.last = nn.Linear(4, 8), sw.PReLU(8), nn.Linear(8, 1)
        self.gate = nn.Parameter(torch.randn(8))
        self.fails = self.keeps = False
        self.kept, self.seen = None, []

    def forward(self, x):
        if self.fails == "early":
            raise RuntimeError("on purpose")
        x = self.act(self.first(x)) * F.silu(self.gate)  # of a leaf
        y = F.gelu(x)
        self.seen = [weakref.ref(x), weakref.ref(y)]
        if self.keeps:
            self.kept = y
        if self.fails:
            raise RuntimeError("on purpose")
        return self.last(y)


def hooks(model, *, own=False):
    """Return the number of registered hooks, except the root's for the next pass."""
    counts = {(name, type(m).__name__): len(getattr(m, name)) for m in model.modules() for name in HOOKS}
    if own:
        assert (counts.pop(("_forward_pre_hooks", "Net")), counts.pop(("_forward_pre_hooks_with_kwargs", "Net"))) == (
            1,
            1,
        )
    return sum(counts.values()) + sum(len(p._backward_hooks or ()) for p in model.parameters())


def step(model, optimizer=None):
    model.zero_grad()
    model(torch.randn(6, 4)).square().mean().backward()
    if optimizer is not None:
        optimizer.step()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.01)


def test_no_hook_is_left_between_sampled_steps_and_none_at_all_after_closing():
    model, before = Net(), (len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks))
    optimizer = sgd(model)
    with sw.Monitor(model, every=3) as monitor:
        for number in range(7):
            assert hooks(model, own=True) == 0
            step(model)
            assert (hooks(model, own=True) > 0) == (number % 3 == 0)
            optimizer.step()
            assert hooks(model, own=True) == 0
            assert _get_current_function_mode_stack() == []
        assert len(_global_optimizer_pre_hooks) == before[0] + 1
        step(model)
    assert hooks(model) == 0
    assert (len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)) == before
    assert monitor.step == 7
    seen = monitor.samples
    step(model, optimizer)
    assert (monitor.step, monitor.samples) == (7, seen)
    monitor.close()
    with pytest.raises(RuntimeError, match="closed"):
        monitor.start()


@pytest.mark.parametrize("when", ["early", "late"])
def test_an_error_in_the_forward_pass_leaves_nothing_behind(when):
    model = Net()
    optimizer = sgd(model)
    with sw.Monitor(model, every=1) as monitor:
        for number in range(4):
            model.fails = when if number in (0, 2) else False
            try:
                step(model, optimizer)
            except RuntimeError:
                assert _get_current_function_mode_stack() == []
    assert (monitor.step, [s.passes for s in monitor.samples]) == (2, [2, 2])
    assert monitor.samples[0].sites[0].values == {"early": 6, "late": 12}[when]
    assert hooks(model) == 0


def test_a_run_that_ends_with_an_error_says_so_and_keeps_what_was_seen():
    model = Net()
    monitor = sw.Monitor(model, every=1)

    def run():
        with monitor:
            step(model, sgd(model))
            model.fails = "late"
            step(model)

    with pytest.raises(RuntimeError, match="on purpose"):
        run()
    assert monitor.recording.end.error == "RuntimeError: on purpose"
    assert [sample.step for sample in monitor.samples] == [1, 2]
    assert hooks(model) == 0


@pytest.mark.parametrize("backward", [True, False])
def test_activations_are_freed(backward):
    model = Net()
    optimizer = sgd(model)
    gc.disable()  # what lives on in cycles is not freed in time
    try:
        with sw.Monitor(model, every=1):
            for number in range(3):
                if backward:
                    step(model, optimizer)
                else:
                    model(torch.randn(6, 4))
                if number:  # the first pass is followed closely, and its record has cycles
                    assert [ref() for ref in model.seen] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("close", [True, False])
def test_a_forgotten_monitor_goes_with_its_model(keeps, close):
    model, before = Net(), len(_global_optimizer_pre_hooks)
    model.keeps = keeps  # its output, and with it the graph in which the monitor's hooks are
    monitor = sw.watch(model, every=1)
    step(model, sgd(model))
    if close:
        monitor.close()
    references = weakref.ref(model), weakref.ref(monitor)
    del model, monitor
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert len(_global_optimizer_pre_hooks) == before


def test_a_monitor_that_nobody_holds_lives_as_long_as_its_model():
    model, lines = Net(), []

    class Lines(sw.monitor.sinks.Sink):
        def sample(self, sample):
            lines.append(sample.step)

    sw.watch(model, every=1, sinks=[Lines()])
    gc.collect()
    step(model, sgd(model))
    assert lines == [1]


@pytest.mark.parametrize("within", [False, True])
def test_copies_and_pickles_of_the_model_are_not_watched(within):
    model, file = Net(), io.BytesIO()
    optimizer = sgd(model)
    with sw.Monitor(model, every=1) as monitor:
        step(model)
        model.kept = None
        if not within:
            optimizer.step()
        model.seen = []
        average = torch.optim.swa_utils.AveragedModel(model)
        torch.save(model, file)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (average.module, loaded, copy.deepcopy(model)):
            step(other, sgd(other))
        if within:
            optimizer.step()
    assert (monitor.step, [s.passes for s in monitor.samples]) == (1, [1])


def test_its_size_does_not_grow_with_the_steps():
    def tensors():
        gc.collect()
        # Other tests leave lazy and fake ones behind, which have no size.
        return sorted(o.numel() for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter))

    model = Net()
    optimizer = sgd(model)
    with sw.Monitor(model, every=2) as monitor:
        sizes = []
        for number in range(101):
            step(model, optimizer)
            if number in (10, 100):
                state = {**vars(monitor), **vars(monitor._ledger)}
                for growing in ("samples", "_ledger", "model"):
                    del state[growing]
                sizes.append((tensors(), {k: _count(v, set()) for k, v in state.items()}))
    assert sizes[0] == sizes[1]
    assert len(monitor.samples) == 51


def _count(holder, seen):
    """Return the number of objects that are reachable through containers and the package's own objects."""
    if id(holder) in seen:
        return 0
    seen.add(id(holder))
    if isinstance(holder, dict):
        inner = [*holder.keys(), *holder.values()]
    elif isinstance(holder, (list, tuple, set, frozenset)) or type(holder).__name__ == "deque":
        inner = list(holder)
    elif type(holder).__module__.startswith("slopewise.monitor") and hasattr(holder, "__dict__"):
        inner = list(vars(holder).values())
    else:
        inner = []
    return 1 + sum(_count(item, seen) for item in inner)


def test_overhead_grows_in_sampled_steps_alone():
    model = Net()
    optimizer, seconds = sgd(model), []
    with sw.Monitor(model, every=4) as monitor:
        for _ in range(9):
            before = monitor.overhead
            step(model, optimizer)
            seconds.append(monitor.overhead - before)
    assert [second > 0 for second in seconds] == [number % 4 == 0 for number in range(9)]
    assert sum(sample.seconds for sample in monitor.samples) <= monitor.overhead
    assert all(sample.seconds > 0 for sample in monitor.samples)


def test_slopes_one_by_one_are_those_of_the_model_and_its_step():
    model = nn.Sequential(nn.Linear(3, 4), sw.PReLU(4, init=[0.1, 0.2, 0.3, 0.4]), nn.Linear(4, 1)).double()
    start = model[1].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gradients = []
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(4):
            before = model[1].weight.detach().clone()
            optimizer.zero_grad()
            model(torch.randn(8, 3, dtype=torch.float64)).square().mean().backward()
            gradients.append(model[1].weight.grad.clone())
            optimizer.step()
        states = monitor.slopes("1")
        with pytest.raises(KeyError, match="no slopes of '7' were seen; there are: 1"):
            monitor.slopes("7")
    after = model[1].weight.detach()
    for mine, expected in ((states.value, after), (states.gradient, gradients[-1]), (states.update, after - before)):
        torch.testing.assert_close(mine, expected)
    torch.testing.assert_close(states.from_start, after - start)
    decay = torch.tensor([0.9**k for k in (3, 2, 1, 0)], dtype=torch.float64)
    all_of_them = torch.stack(gradients)
    mean, square = ((decay[:, None] * g).sum(0) / decay.sum() for g in (all_of_them, all_of_them.square()))
    torch.testing.assert_close(states.signal_to_noise, mean.abs() / (square - mean.square()).sqrt())


def test_a_learning_rate_may_be_a_tensor():
    model = nn.Sequential(nn.Linear(3, 4), sw.PReLU(4), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.0))
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(8):
            model(torch.randn(8, 3)).square().mean().backward()
            optimizer.step()
    assert not [alarm for alarm in monitor.alarms if alarm.id == "slope-stuck"]  # held at rate 0 on purpose
