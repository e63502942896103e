"""Data-parallel training: two real processes on gloo against one on the whole batch."""

import subprocess
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

pytestmark = [
    pytest.mark.usefixtures("kernels"),
    pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo"),
]
WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory, start_script):
    """Results that the worker saved alone and as each of two ranks."""
    folder = tmp_path_factory.mktemp("distributed")
    places = [(rank, size) for size in (1, 2) for rank in range(size)]
    workers = [
        start_script(WORKER, rank, size, folder, options=["error"], stderr=subprocess.PIPE, text=True)
        for rank, size in places
    ]
    for worker in workers:
        _, complaints = worker.communicate(timeout=120)
        assert worker.returncode == 0, complaints
    return [torch.load(folder / f"{size}-{rank}.pt") for rank, size in places]


def test_both_processes_end_with_the_gradients_of_the_whole_batch(results):
    alone, *both = [grads for grads, _, _ in (result["prelu"] for result in results)]
    for whole, first, second in zip(alone, *both, strict=True):
        assert torch.equal(first, second)
        torch.testing.assert_close(first, whole)


def test_the_fused_layer_does_as_the_pair(results):
    for result in results:
        for ours, theirs in zip(result["fused"][:2], result["pair"][:2], strict=True):
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_kernels_did_it(results):
    for result in results:
        assert result["kernels"]
        assert [result[name][2] for name in ("prelu", "fused")] == ["_PReLUBackward", "_BatchNormPReLUBackward"]
