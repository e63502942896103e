"""Ends of steps, with every arrangement of optimizers, and the gradients and updates in the step's sample."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import slopewise as sw


def network(*, activation=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), activation(), nn.Linear(8, 6), nn.PReLU(6), nn.Linear(6, 1))


def batch(seed, size=16):
    return torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))


def backward(model, seed=0):
    model(batch(seed)).square().mean().backward()


def norm(module):
    return torch.cat([p.grad.flatten() for p in module.parameters()]).norm().item()


def sgd(part, **options):
    return torch.optim.SGD(part.parameters(), lr=0.1, **options)


def expected_gradients(model, seed=0):
    model.zero_grad()
    backward(model, seed)
    norms = [norm(model[place]) for place in (0, 2, 4)]
    model.zero_grad()
    return pytest.approx(norms)


def gradients(sample):
    return [layer.gradient for layer in sample.layers]


def test_accumulation_is_one_step_that_counts_all_passes():
    model = network()
    optimizer = sgd(model)
    with sw.Monitor(model, every=2) as monitor:
        for step in range(4):
            optimizer.zero_grad()
            for part in range(3):
                backward(model, seed=3 * step + part)
            optimizer.step()
    assert [(s.step, s.passes, s.sites[0].values) for s in monitor.samples] == [(1, 3, 48), (3, 3, 48)]
    assert monitor.step == 4


def test_each_optimizer_may_drop_its_gradients_before_the_next_one_steps():
    model = network()
    expected = expected_gradients(model)
    optimizers = [sgd(model[:2]), sgd(model[2:])]
    with sw.Monitor(model, every=3) as monitor:
        for _ in range(6):
            backward(model)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    assert monitor.step == 6
    assert [sample.step for sample in monitor.samples] == [1, 4]
    assert gradients(monitor.samples[0]) == expected
    assert all(layer.update > 0 for sample in monitor.samples for layer in sample.layers)
    assert all(slopes.gradient > 0 for sample in monitor.samples for slopes in sample.slopes)


def test_a_parameter_that_is_listed_twice_is_measured_once():
    model = network()
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = torch.optim.SGD([*model.parameters(), model[4].weight, model[3].weight], lr=0.1)
    before = [model[4].weight.detach().clone(), model[3].weight.detach().clone()]
    with sw.Monitor(model, every=1) as monitor:
        backward(model)
        optimizer.step()
    (sample,) = monitor.samples
    moved = torch.cat([(model[4].weight - before[0]).flatten(), 0.1 * model[4].bias.grad]).norm().item()
    assert sample.layers[-1].update == pytest.approx(moved)
    assert sample.slopes[0].update == pytest.approx((model[3].weight - before[1]).abs().max().item())


@pytest.mark.parametrize("at_root", [True, False])
def test_a_parameter_that_no_optimizer_holds_delays_one_sample_and_no_count(at_root):
    model = network()
    expected = expected_gradients(model)
    optimizer = sgd(model[:4])
    with sw.Monitor(model, every=1) as monitor:
        for step in range(3):
            model.zero_grad()
            y = model(batch(0)) if at_root else model[4](model[:4](batch(0)))
            y.square().mean().backward()
            optimizer.step()
            assert (monitor.step, len(monitor.samples)) == ((0, 0) if step == 0 else (step + 1,) * 2)
    first, *_, last = monitor.samples
    assert (first.step, last.step) == (1, 3)
    assert gradients(first)[:2] == pytest.approx(expected.expected[:2])
    assert [layer.update is None for layer in last.layers] == [False, False, True]
    assert gradients(last)[2] > 0


def test_a_step_that_still_waits_when_the_monitor_closes_is_counted():
    model = network()
    monitor = sw.watch(model, every=1)
    backward(model)
    sgd(model[:4]).step()
    monitor.close()
    assert (monitor.step, [s.step for s in monitor.samples], monitor.recording.end.step) == (1, [1], 1)


def test_optimizers_that_step_within_the_backward_pass():
    model = network()
    expected = expected_gradients(model)
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def update(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    with sw.Monitor(model, every=2) as monitor:
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(update)
        for _ in range(6):
            backward(model)
    assert (monitor.step, [s.step for s in monitor.samples]) == (6, [1, 3, 5])
    assert gradients(monitor.samples[0]) == expected
    assert {sample.passes for sample in monitor.samples} == {1}


def test_an_optimizer_that_is_no_longer_used_does_not_stop_the_count():
    model = network()
    first, second = sgd(model[:2]), sgd(model[2:])
    with sw.Monitor(model, every=5) as monitor:
        for step in range(20):
            model.zero_grad()
            backward(model)
            first.step()
            if step < 2:
                second.step()
    assert len(monitor.samples) == 4
    assert 19 <= monitor.step <= 20  # the step in which the second stayed away was waited for


def test_an_optimizer_within_another_is_one_step():
    class Lookahead(torch.optim.Optimizer):
        def __init__(self, inner):
            super().__init__(inner.param_groups, {})
            self.inner = inner

        def step(self, closure=None):
            for _ in range(2):
                self.inner.step()

    model = network()
    optimizer = Lookahead(sgd(model))
    before = model[0].weight.detach().clone()
    with sw.Monitor(model, every=2) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            backward(model)
            optimizer.step()
            if monitor.step == 1:
                moved = (model[0].weight - before).norm().item()
    assert (monitor.step, [s.step for s in monitor.samples]) == (3, [1, 3])
    bias = 2 * 0.1 * expected_bias(before)
    assert monitor.samples[0].layers[0].update == pytest.approx((moved**2 + bias**2) ** 0.5, rel=1e-5)


def expected_bias(weight):
    model = network()
    assert torch.equal(model[0].weight, weight)
    backward(model)
    return model[0].bias.grad.norm().item()


def test_closures_run_within_the_step():
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    calls = 0

    def closure():
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = model(batch(0)).square().mean()
        loss.backward()
        return loss

    with sw.Monitor(model, every=1) as monitor:
        optimizer.step(closure)
        first = calls
        optimizer.step(closure)
    assert [s.passes for s in monitor.samples] == [first, calls - first]
    assert first > 1


def test_a_failing_closure_is_not_a_step():
    model = network()
    optimizer = sgd(model)

    def closure():
        raise RuntimeError("no data")

    with sw.Monitor(model, every=1) as monitor:
        with pytest.raises(RuntimeError, match="no data"):
            optimizer.step(closure)
        backward(model)
        optimizer.step()
    assert (monitor.step, monitor.samples[0].passes) == (1, 1)


def test_steps_that_a_gradient_scaler_leaves_out_are_none():
    model, optimizer = network(), None
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1000)
    with sw.Monitor(model, every=1) as monitor:
        for factor in (torch.inf, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale(model(batch(0)).square().mean() * factor).backward()
            scaler.step(optimizer)
            scaler.update()
    assert (monitor.step, [s.passes for s in monitor.samples]) == (2, [2, 1])
    assert gradients(monitor.samples[0]) == expected_gradients(network())  # unscaled


def test_an_optimizer_of_another_model_and_one_made_late():
    model, other = network(), network()
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(2):
            optimizer, foreign = sgd(model), sgd(other)
            backward(model)
            backward(other)
            foreign.step()
            optimizer.step()
            foreign.step()
            model.zero_grad()
    assert (monitor.step, [s.passes for s in monitor.samples]) == (2, [1, 1])


def test_layers_that_thaw_and_groups_that_are_added_are_seen_from_then_on():
    model = network()
    model[0].requires_grad_(requires_grad=False)
    model[3].requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD([*model[2].parameters(), *model[4].parameters()], lr=0.1)
    with sw.Monitor(model, every=1) as monitor:
        backward(model)
        optimizer.step()
        model.requires_grad_(requires_grad=True)
        optimizer.add_param_group({"params": [*model[0].parameters(), *model[3].parameters()]})
        model.zero_grad()
        backward(model)
        optimizer.step()
    first, second = monitor.samples[0], monitor.samples[-1]
    assert [layer.layer for layer in first.layers] == ["2", "4"]
    assert [layer.layer for layer in second.layers] == ["0", "2", "4"]
    assert ([s.layer for s in first.slopes], [s.layer for s in second.slopes]) == ([], ["3"])
    assert first.sites[0].zero_gradient is None
    assert second.sites[0].zero_gradient is not None
    assert all(layer.update for layer in second.layers)


def test_no_optimizer_at_all():
    model = network()
    with sw.Monitor(model, every=2) as monitor:
        for _ in range(3):
            model.zero_grad()
            backward(model)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(0.1 * parameter.grad)
            monitor.step_done()
    assert (monitor.step, [s.step for s in monitor.samples]) == (3, [1, 3])
    assert all(layer.gradient and layer.update is None for layer in monitor.samples[0].layers)


def test_sparse_gradients_lazy_layers_and_parametrised_slopes():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lazy = nn.Embedding(10, 4, sparse=True), nn.LazyLinear(3)
            self.act, self.head = nn.PReLU(3), nn.Linear(3, 1)

        def forward(self, x):
            return self.head(self.act(self.lazy(self.embedding(x))))

    model = Net()
    parametrize.register_parametrization(model.act, "weight", nn.Softplus())
    with sw.Monitor(model, every=1) as monitor:
        model(torch.tensor([0]))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor_step(model, optimizer)
    (sample,) = monitor.samples
    assert [layer.layer for layer in sample.layers] == ["embedding", "lazy", "head"]
    assert sample.layers[0].gradient == pytest.approx(model.embedding.weight.grad.coalesce().values().norm().item())
    assert sample.slopes[0].summary.median == pytest.approx(model.act.weight.median().item())
    assert sample.slopes[0].update > 0


def monitor_step(model, optimizer):
    model(torch.tensor([1, 2, 2])).square().mean().backward()
    optimizer.step()


def test_a_training_run_needs_something_to_train():
    with pytest.raises(ValueError, match="no parameter of Sequential requires a gradient"):
        sw.Monitor(network().requires_grad_(requires_grad=False))
    with pytest.raises(ValueError, match="every must be 1 or more, got 0"):
        sw.Monitor(network(), every=0)
    for wrapped in (nn.DataParallel(network()), nn.Sequential(nn.DataParallel(network()), nn.Linear(1, 1))):
        with pytest.raises(ValueError, match="DataParallel"):
            sw.Monitor(wrapped)
