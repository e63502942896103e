"""Scores of a part whose images are shared by two processes, against those of one process."""

import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as processes
from tests.study.tasks.hand import make

from slopewise.study.tasks import Classification, Multilabel, Regression, Restoration, Segmentation, Task

COUNT = 9  # images, of which the first process has five


def cases() -> dict[str, tuple[Task, torch.Tensor, torch.Tensor]]:
    """Bound tasks with outputs and targets, made alike in every process."""
    generator = torch.Generator().manual_seed(5)
    made = {
        "labels": Classification(metrics=["balanced_accuracy", "macro_f1", "auroc", "top5"]),
        "multilabel": Multilabel(),
        "masks": Segmentation(),
        "values": Regression(),
        "images": Restoration(),
    }
    result = {}
    for kind, task in made.items():
        data = make(kind)  # type: ignore[arg-type]
        bound, targets = task.bind(data), data.test_targets[torch.arange(COUNT)]
        sizes = {"masks": (3, 16, 16), "images": (1, 16, 16)}.get(kind, (bound.outputs(data),))
        result[kind] = bound, torch.randn(COUNT, *sizes, generator=generator), targets
    return result


def share(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    scores = {}
    for kind, (task, output, targets) in cases().items():
        scorer = task.scorer()
        scorer.update(output[rank::2], targets[rank::2])
        scorer.pool()
        scores[kind] = scorer.compute()
    torch.save(scores, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_pooled_scores_are_those_of_one_process(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.spawn(share, (port, str(tmp_path)), nprocs=2)
    for kind, (task, output, targets) in cases().items():
        scorer = task.scorer()
        scorer.update(output, targets)
        for rank in range(2):
            pooled = torch.load(tmp_path / f"{rank}.pt")[kind]
            for name, score in scorer.compute().items():
                torch.testing.assert_close(pooled[name], score, rtol=1e-7, atol=1e-9, msg=f"{kind} {name}")
