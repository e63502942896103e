"""Parameter groups of models that something else has wrapped: compiled, parallel, sharded."""

import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

import slopewise as sw


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), sw.PReLU(6), nn.BatchNorm1d(6), nn.Sequential(nn.Linear(6, 6), nn.PReLU()))


def roles(model):
    """The size of each role's parameters, the layers with slopes, and whether every parameter is in once."""
    groups = sw.param_groups(model, lr=0.1)
    members = [id(p) for group in groups for p in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(p) for p in model.parameters()}
    return [sum(p.numel() for p in group["params"]) for group in groups], list(groups.layers)


EXPECTED = [24 + 36, 6 + 12 + 6, 7], ["1", "3.1"]


@pytest.fixture
def process_group(tmp_path):
    """A group of this process alone, over real sockets."""
    dist.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_the_model_itself():
    assert roles(network()) == EXPECTED


def compiled(module):
    return torch.compile(module, backend="eager")  # importing the default one warns of PyTorch's own deprecations


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel, lambda model: compiled(nn.DataParallel(model))])
def test_compiled_and_data_parallel(wrap):
    assert roles(wrap(network())) == EXPECTED


def test_a_compiled_layer_inside():
    model = network()
    model[1] = compiled(model[1])
    assert roles(model) == EXPECTED


def trained(model, optimizer_class=torch.optim.SGD):
    """Return the distance by which one step moved the slopes."""
    groups = sw.param_groups(model, lr=0.1)
    before = [p.detach().clone() for p in groups[2]["params"]]
    optimizer = optimizer_class(groups)
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    return [(p - b).abs().sum().item() for p, b in zip(groups[2]["params"], before, strict=True)]


def test_distributed_data_parallel(process_group):
    model = DistributedDataParallel(network())
    assert roles(model) == EXPECTED
    assert min(trained(model)) > 0


def test_zero_redundancy_optimizer(process_group):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's import of its own deprecated torch.jit
        from torch.distributed.optim import ZeroRedundancyOptimizer

    def optimizer(groups):
        return ZeroRedundancyOptimizer(groups, torch.optim.AdamW, lr=0.1)

    assert min(trained(DistributedDataParallel(network()), optimizer)) > 0


@pytest.mark.parametrize("wrap", [DistributedDataParallel, "fully_shard"], ids=str)
def test_shared_slopes_get_the_mean_gradient(process_group, wrap):
    model = nn.Sequential(sw.PReLU(shared_gradient="mean"))
    if wrap == "fully_shard":
        fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
    else:
        model = wrap(model)
    ((slope,),) = (group["params"] for group in sw.param_groups(model, lr=0.1) if group["params"])
    model(-torch.ones(2, 5, 3)).sum().backward()
    gradient = slope.grad.full_tensor() if wrap == "fully_shard" else slope.grad
    assert gradient.item() == pytest.approx(-6)


def test_fully_shard(process_group):
    model = network()
    fully_shard(model[3], mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
    fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
    assert roles(model) == EXPECTED
    assert min(trained(model)) > 0


def test_a_schedule_freezes_sharded_slopes(process_group):
    model = network()
    fully_shard(model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
    optimizer = torch.optim.AdamW(sw.param_groups(model, lr=0.1, slope_weight_decay=0.1))
    sw.SlopeSchedule(optimizer, freeze=2, warmup=1)
    seen = []
    for _ in range(3):
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        seen.append([(model[1].weight.full_tensor() == 0.25).all(), (model[3][1].weight.full_tensor() == 0.25).all()])
    assert seen == [[True, True], [True, True], [False, False]]


def fsdp(**settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that FSDP1 is old, and that there is no GPU
        return FullyShardedDataParallel(network(), device_id=torch.device("cpu"), **settings)


def test_the_older_fsdp_with_the_original_parameters(process_group):
    assert roles(fsdp(use_orig_params=True)) == EXPECTED


def test_flattened_parameters_are_refused(process_group):
    with pytest.raises(ValueError, match=r"'_flat_param' holds a whole part .* use_orig_params=True"):
        sw.param_groups(fsdp(use_orig_params=False), lr=0.1)
