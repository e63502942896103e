"""Data of every kind of targets, made by hand."""

import torch
from torch import Tensor

from slopewise.study.data import ImageData, TargetKind


def by_hand(kind: TargetKind, train: Tensor, test: Tensor, *, inputs: tuple[int, ...] = (1, 16, 16)) -> ImageData:
    """Data whose images are noise of a size."""
    generator = torch.Generator().manual_seed(1)
    classes = {"labels": int(train.max()) + 1, "masks": 3, "images": 0}.get(kind, train.shape[-1])
    return ImageData(
        name="by hand",
        train_images=torch.randn(len(train), *inputs, generator=generator),
        train_targets=train,
        test_images=torch.randn(len(test), *inputs, generator=generator),
        test_targets=test,
        classes=tuple("abcdefghij"[:classes]),
        flip=False,
        digest="",
        kind=kind,
    )


def make(kind: TargetKind, *, sizes: tuple[int, ...] = (16, 16), count: int = 40) -> ImageData:
    """Random targets of a kind: seven labels, four labels at once, three classes of masks (255 ignored), two values."""
    g = torch.Generator().manual_seed(0)
    if kind == "labels":
        parts = [torch.randint(0, 7, (n,), generator=g) for n in (count, 30)]
    elif kind == "multilabel":
        parts = [torch.randint(0, 2, (n, 4), generator=g) for n in (count, 30)]
    elif kind == "values":
        parts = [5 + 3 * torch.randn(n, 2, generator=g) for n in (count, 20)]
    elif kind == "masks":
        parts = [torch.randint(0, 3, (n, *sizes), generator=g) for n in (count, 9)]
        parts[0][0, :2] = 255
    else:
        parts = [torch.rand(n, 1, *sizes, generator=g) for n in (count, 9)]
    return by_hand(kind, *parts, inputs=(1, *sizes))
