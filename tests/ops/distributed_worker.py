"""One process of a data-parallel step, run by test_distributed.py: `python distributed_worker.py RANK SIZE FOLDER`.

It writes the gradients that its process ends with. With a size of 1 there is no process group, only the whole batch.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import slopewise as sw


def networks():
    """Each with the input's own name; the two with batch normalisation stand for each other."""
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
    yield "prelu", nn.Sequential(first, sw.PReLU(8), last, sw.PReLU(low_memory=True))
    pair = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8)
    yield "pair", nn.Sequential(*pair)
    fused = nn.Conv2d(3, 8, 3), sw.BatchNormPReLU2d(8, low_memory=True)
    fused[0].load_state_dict(pair[0].state_dict())
    yield "fused", nn.Sequential(*fused)


def main(rank: int, size: int, folder: Path) -> None:
    if size > 1:
        dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=size)
    batch = torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(1)).chunk(size)[rank]
    results = {"kernels": sw.ops.backend().name == "kernels"}
    for name, network in networks():
        call = network if size == 1 else DistributedDataParallel(network)
        for _ in range(2):  # the second step finds the buckets of the first
            network.zero_grad()
            y = call(batch)
            y.square().mean().backward()
        results[name] = [p.grad for p in network.parameters()], list(network.buffers()), type(y.grad_fn).__name__
    torch.save(results, folder / f"{size}-{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
