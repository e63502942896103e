"""One process of a monitored run, started by test_distributed.py: `python distributed_worker.py RANK SIZE FOLDER`.

It writes what its monitor saw. With a size of 1 there is no process group, only the whole batch.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import slopewise as sw
from slopewise.monitor.sinks import JsonLines

STEPS = 4


class Net(nn.Module):
    """The last activation is met by rank 0 alone, or by the only process."""

    def __init__(self, rank):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.head = nn.Conv2d(3, 8, 3), sw.PReLU(8), nn.Linear(8, 4)
        self.rank = rank
        with torch.no_grad():
            self.conv.bias[2] = -30.0

    def forward(self, x):
        y = self.head(torch.relu(self.act(self.conv(x)).mean((2, 3))))
        return nn.functional.silu(y) if self.rank == 0 else y * y.sigmoid()


class Sharded(nn.Module):
    """Slopes of 1, 3 and 6 elements, of a layer that is sharded by itself, and a part that does not learn."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.shared = nn.Linear(6, 6), sw.PReLU()
        self.norm = sw.BatchNormPReLU1d(6, init=[0.25, -0.1, 0.5, 0.0, 1.5, 0.3]).eval()
        self.head, self.few, self.last = nn.Linear(6, 3), sw.PReLU(3, init=0.9, bounds=(0.0, 0.95)), nn.Linear(3, 1)
        self.last.bias.requires_grad_(requires_grad=False)

    def forward(self, x):
        return self.last(self.few(self.head(self.norm(self.shared(self.first(x))))))


def watch_sharded(rank, size, group):
    """The samples, the notes and the weights of a model that is trained by all processes together, each with a part."""
    model = Sharded()
    if size > 1:
        for part in (model.norm, model.few, model):
            fully_shard(part, mesh=init_device_mesh("cpu", (size,)))
    sw.set_shared_gradient(model, "mean")
    optimizer = torch.optim.SGD(sw.param_groups(model, lr=0.1), momentum=0.9)
    generator = torch.Generator().manual_seed(2)
    with sw.Monitor(model, every=2, process_group=group) as monitor:
        for _ in range(STEPS):
            x = torch.randn(32, 6, generator=generator).chunk(size)[rank]
            optimizer.zero_grad()
            (model(x) - x[:, :1].sin()).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        state = {name: p.full_tensor() if size > 1 else p.detach() for name, p in model.named_parameters()}
        if rank == 0 and size > 1:  # steps its optimizer, and is closed, without the others
            torch.optim.SGD([model.few.weight], lr=0.1).step()
    return {"records": monitor.samples, "notes": monitor.notes, "weights": state}


def main(rank: int, size: int, folder: Path) -> None:
    if size > 1:
        dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    net = Net(rank)
    model = net if size == 1 else DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    with sw.Monitor(model, every=2, sinks=[JsonLines(folder / f"{size}-{rank}.jsonl")]) as monitor:
        for step in range(STEPS):
            batch = torch.randn(32, 3, 8, 8, generator=generator).chunk(size)[rank]
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            if rank == 0 and step == 0:
                assert len(monitor.samples) == 1  # to look is no business of the others'
        if rank == 0:  # a step that only this process begins: closing waits for nobody
            net(batch).sum().backward()
    seen = {"records": monitor.samples, "notes": monitor.notes, "weights": net.state_dict()}
    seen["sharded"] = watch_sharded(rank, size, dist.group.WORLD if size > 1 else None)
    if size > 1:
        seen["sharded, no group"] = watch_sharded(rank, size, None)
    torch.save(seen, folder / f"{size}-{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
