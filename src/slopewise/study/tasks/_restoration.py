"""Restoration of images: super-resolution, denoising, ..., scored by PSNR, SSIM and the absolute error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from slopewise.errors import SpecError
from slopewise.records import MetricRecord
from slopewise.study.tasks._kind import Kind, shape_fault
from slopewise.study.tasks._losses import l1, mse, per_image
from slopewise.study.tasks._offer import Offer
from slopewise.study.tasks._scores import Metered, Score, image_mean, new_metric
from slopewise.study.tasks._torchmetrics import torchmetrics

if TYPE_CHECKING:
    from slopewise.study.data import ImageData

_RANGE = 1.0  # of targets, which the data are divided by theirs
_MOST = 100.0  # dB of an image without error
_WINDOW = 11  # pixels of SSIM's window
_SOFTNESS = 1e-3  # of the Charbonnier loss
_AT_ONCE = 2048  # pixels whose SSIM is computed at once
_CHUNK = 64  # images that are averaged at a time


def _charbonnier(output: Tensor, target: Tensor) -> Tensor:
    return per_image(((output - target).square() + _SOFTNESS**2).sqrt())


class Restoration(Kind):
    """An image for each image, perhaps larger: L1 loss over (N, C, ...), scored by PSNR.

    Targets are in 0 to 1, their data divided by their range. Scores clip the output to that. A network that knows
    nothing returns the mean image of the training targets.

    Args:
        loss: "l1", "mse", "charbonnier" (sqrt(error² + 0.001²)), or your own, see `Kind`.
        metrics: Names out of psnr, ssim and l1, and tables of your own, the primary one first.
    """

    targets = "images"
    losses = {"l1": l1, "mse": mse, "charbonnier": _charbonnier}  # noqa: RUF012
    usual = ("psnr", "ssim", "l1")

    def offers(self) -> Mapping[str, Offer]:
        """Return PSNR, SSIM and the absolute error."""
        return _OFFERS

    def bind(self, data: ImageData) -> Self:
        """Return the task for the data.

        Raises:
            SpecError: SSIM is asked for of images that are smaller than its window.
        """
        sizes = data.train_targets.shape[2:]
        if "ssim" in self._chosen and min(sizes) < _WINDOW:
            others = ", ".join(f"'{name}'" for name in self._chosen if name != "ssim") or "'psnr'"
            raise SpecError(
                f"task.options.metrics: SSIM compares windows of {_WINDOW} x {_WINDOW} pixels, and the target images "
                f"have {' x '.join(map(str, sizes))}: leave it out, metrics = [{others}]"
            )
        return super().bind(data)

    def constant(self, data: ImageData) -> Tensor:
        """Return the mean of the training targets, (1, C, ...)."""
        total = torch.zeros(data.train_targets.shape[1:], dtype=torch.float64)
        for index in torch.arange(len(data.train_targets)).split(_CHUNK):
            total += data.train_targets[index].double().sum(dim=0)
        return (total / len(data.train_targets))[None]

    def outputs(self, data: ImageData) -> int:
        """Return the number of channels of the target images."""
        return data.train_targets.shape[1]

    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:  # noqa: ARG002
        """Return the shape of the target images, unless the output has it."""
        return shape_fault(output, tuple(target.shape), "images {} (images, channels, sizes of the targets)")


def _clipped(output: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    return output.double().clamp(0, _RANGE), target.double()


def _psnr_of_images(output: Tensor, target: Tensor) -> Tensor:
    """Return 10 log10(1 / mean squared error) of each image, at most 100 dB, (N,)."""
    psnr = torchmetrics("functional.image").peak_signal_noise_ratio
    axes = tuple(range(1, output.ndim))
    values = psnr(*_clipped(output, target), data_range=_RANGE, reduction="none", dim=axes)
    return values.clamp(max=_MOST)  # type: ignore[no-any-return]


def _ssim(classes: int) -> Score:  # noqa: ARG001 - as other scores
    metric = new_metric(
        "image",
        "StructuralSimilarityIndexMeasure",
        gaussian_kernel=True,
        sigma=1.5,
        kernel_size=_WINDOW,
        reduction="elementwise_mean",
        data_range=_RANGE,
        k1=0.01,
        k2=0.03,
    )
    metric.set_dtype(torch.float64)
    return Metered(metric, _clipped, at_once=_AT_ONCE)


def _absolute_error(output: Tensor, target: Tensor) -> Tensor:
    guess, truth = _clipped(output, target)
    return l1(guess, truth)


_PSNR = MetricRecord(
    "psnr",
    "PSNR",
    "dB",
    "higher",
    digits=2,
    margin=0.1,
    definition="10 log10(R² / mean squared error) of each image over all its pixels and channels, with R = 1 (images "
    "are divided by their data range, outputs clipped to 0..1) and at most 100 dB, then the mean over the images of "
    "the part",
)
_SSIM = MetricRecord(
    "ssim",
    "SSIM",
    "",
    "higher",
    digits=4,
    span=2.0,
    definition="structural similarity of each image in Gaussian windows of 11 pixels around every pixel (sigma 1.5, "
    "K1 = 0.01, K2 = 0.03, data range 1, outputs clipped to 0..1, images mirrored at their borders), mean over its "
    "windows and channels, then over the images of the part",
)
_L1 = MetricRecord(
    "l1",
    "absolute error",
    "",
    "lower",
    digits=4,
    span=1.0,
    definition="mean absolute error over the pixels and channels of each image, as a share of the data range, outputs "
    "clipped to 0..1, then the mean over the images of the part",
)
_OFFERS = {
    "psnr": Offer(_PSNR, lambda _: image_mean(_psnr_of_images)),
    "ssim": Offer(_SSIM, _ssim),
    "l1": Offer(_L1, lambda _: image_mean(_absolute_error)),
}
