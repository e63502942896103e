"""Models that `fully_shard` or something else has cut up, in a group of this process alone."""

import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

import slopewise as sw


@pytest.fixture(autouse=True)
def process_group(tmp_path):
    dist.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def network(act=sw.PReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), sw.PReLU(6), nn.Linear(6, 6), act(), sw.BatchNormPReLU1d(6), nn.Linear(6, 1))


def sharded(model, **settings):
    mesh = init_device_mesh("cpu", (1,))
    for part in (model[4], model):
        fully_shard(part, mesh=mesh, **settings)
    return model


def watch(model, steps=4, kind=torch.optim.AdamW, **options):
    optimizer = kind(sw.param_groups(model, lr=0.01))
    draw = torch.Generator().manual_seed(1)
    with sw.Monitor(model, every=1, **options) as monitor:
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(16, 4, generator=draw)).square().mean().backward()
            optimizer.step()
    return monitor


def check(actual, expected):
    assert (actual.sites, actual.slopes) == (expected.sites, expected.slopes)
    for ours, theirs in zip(actual.layers, expected.layers, strict=True):
        assert (ours.layer, ours.gradient, ours.weight, ours.update) == (
            theirs.layer,
            pytest.approx(theirs.gradient),
            pytest.approx(theirs.weight),
            pytest.approx(theirs.update),
        )


@pytest.mark.parametrize("settings", [{}, {"reshard_after_forward": False}], ids=str)
@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_figures_are_those_of_the_whole_model(kind, group, settings):
    expected = watch(network(), kind=kind)
    monitor = watch(sharded(network(), **settings), kind=kind, process_group=dist.group.WORLD if group else None)
    assert monitor.notes == ()
    for actual, sample in zip(monitor.samples, expected.samples, strict=True):
        check(actual, sample)
    assert monitor.slopes("1").value.tolist() == expected.slopes("1").value.tolist()
    assert [str(alarm) for alarm in monitor.alarms] == [str(alarm) for alarm in expected.alarms]


def test_a_step_that_fails_in_one_process_is_waited_for():
    """The others, which have seen nothing of it, will add up their parts with this one's."""
    model = sharded(network())
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(2):
            model(torch.full((16, 4), torch.nan)).sum().backward()
            model.zero_grad()
        assert monitor.samples == ()
    assert [alarm.id for alarm in monitor.alarms] == ["not-finite"]


def test_copies_are_not_added_up():
    """As in a mesh of which one dimension replicates."""
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (1, 1), mesh_dim_names=("copies", "parts")))
    check(watch(model).samples[-1], watch(network()).samples[-1])


@pytest.mark.parametrize("settings", [{}, {"reshard_after_forward": False}], ids=str)
def test_a_probe_is_that_of_the_whole_model_and_leaves_gradients_alone(settings):
    draw = torch.Generator().manual_seed(2)
    batch = torch.randn(16, 4, generator=draw)

    def probed(model):
        model(batch).sum().backward()
        before = [parameter.grad for parameter in model.parameters()]
        sample = sw.monitor.Probe(model)(lambda: model(batch).square().mean())
        assert all(a is b for a, b in zip(before, (p.grad for p in model.parameters()), strict=True))
        assert model.training
        return sample

    actual, expected = probed(sharded(network(), **settings)), probed(network())
    check(actual, expected)
    assert all(layer.gradient > 0 for layer in actual.layers)


def test_a_parametrised_slope():
    class Positive(nn.Module):
        def forward(self, raw):
            return raw.exp()

    def model():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(4, 6), sw.PReLU(6), nn.Linear(6, 1))
        nn.utils.parametrize.register_parametrization(layers[1], "weight", Positive())
        return layers

    whole, parts = model(), model()
    fully_shard(parts, mesh=init_device_mesh("cpu", (1,)))
    check(watch(parts).samples[-1], watch(whole).samples[-1])


def test_a_model_that_is_sharded_afterwards_gets_a_warning():
    model = network()
    optimizer = None
    with sw.Monitor(model, every=1) as monitor:
        sharded(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.randn(8, 4)).sum().backward()
        optimizer.step()
        (note,) = monitor.notes
        assert "others than when the monitor was made" in note
        assert "make the monitor afterwards" in note


def fsdp(**settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that FSDP1 is old, and that there is no GPU
        return FullyShardedDataParallel(network(), device_id=torch.device("cpu"), **settings)


def test_the_older_fsdp_is_refused_but_where_parameters_are_whole():
    with pytest.raises(ValueError, match=r"FullyShardedDataParallel, .*fully_shard, which can be watched"):
        sw.Monitor(nn.Sequential(fsdp(use_orig_params=False)))
    check(watch(fsdp(use_orig_params=True)).samples[-1], watch(network()).samples[-1])


def test_slopes_of_other_ranks_get_a_warning():
    """Other shardings leave empty tensors between passes."""
    model = network()
    model[1].weight.data = torch.empty(0)
    monitor = sw.Monitor(model)
    assert monitor.notes == ("'1': its slopes are in other processes, in a form that cannot be read",)
