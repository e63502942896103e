"""Batch normalisation, an optional residual and PReLU as one layer, a subclass of torch.nn.BatchNorm."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.types import Device

from slopewise.nn import functional, pair
from slopewise.nn._prelu import PReLU
from slopewise.nn._slopes import (
    Bounds,
    Init,
    SharedGradient,
    averaged,
    checked_bounds,
    checked_count,
    checked_gradient,
    checked_init,
    initialise_,
    project_,
    slopes_in_use,
)
from slopewise.support import old_order

_BATCH_NORM = ("eps", "momentum", "affine", "track_running_stats", "device", "dtype")


class BatchNormPReLU(_BatchNorm):
    """Base class of `BatchNormPReLU1d`, `BatchNormPReLU2d` and `BatchNormPReLU3d`.

    y = f(BatchNorm(x) + r), where f is a PReLU and r an optional residual.
    """

    stock: ClassVar[type[_BatchNorm]]
    shapes: ClassVar[dict[int, str]]  # shapes of the input, by its number of dimensions
    slope: Tensor
    shared_gradient: SharedGradient = "sum"  # of layers pickled by a version that did not store it

    @old_order(
        ["self", "num_features", "num_parameters", "init", *_BATCH_NORM],
        "num_parameters as the second argument of BatchNormPReLU",
        "num_parameters=: eps, momentum, ... follow num_features, as in BatchNorm",
        lambda args, _: len(args) > 2 and (args[2] is None or isinstance(args[2], int)),
    )
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        num_parameters: int | None = None,
        init: Init = 0.25,
        learnable: bool = True,
        bounds: Bounds | None = None,
        low_memory: bool | None = False,
        shared_gradient: SharedGradient = "sum",
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.num_parameters = checked_count(num_parameters, num_features, "num_features")
        self.bounds = checked_bounds(bounds)
        self.init = checked_init(init, self.num_parameters, self.bounds)
        self.learnable = learnable
        self.low_memory = low_memory
        self.shared_gradient = checked_gradient(shared_gradient)
        slope = torch.empty(self.num_parameters, device=device, dtype=dtype)
        if learnable:
            self.slope = torch.nn.Parameter(slope)
        else:
            self.register_buffer("slope", slope)
        initialise_(self.slope, self.init)

    def reset_parameters(self) -> None:
        """Reset weight, bias, running statistics and slopes to their initial values."""
        super().reset_parameters()
        if hasattr(self, "slope"):  # torch's constructor calls this before there are slopes
            initialise_(self.slope, self.init)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002
        """Normalise the input, add the residual (of the same shape) if given, and apply the PReLU."""
        slope = slopes_in_use(self.slope, self.bounds, training=self.training)
        if self.shared_gradient == "mean" and self.num_parameters == 1:
            slope = averaged(slope, self.num_features)
        return self._fused(input, residual, slope)

    def pre_activation(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002
        """Return the input of the PReLU, BatchNorm(x) + r.

        In training mode this counts as a forward pass: it updates the running statistics.

        Example:
            >>> layer = BatchNormPReLU1d(1, init=0.5, eps=0.0).eval()
            >>> x = torch.tensor([[-1.0]])
            >>> layer.pre_activation(x).item(), layer(x).item()
            (-1.0, -0.5)
        """
        return self._fused(input, residual, 1.0)

    def _fused(self, input: Tensor, residual: Tensor | None, slope: Tensor | float) -> Tensor:  # noqa: A002
        training, tracked = self.training, self.track_running_stats
        counter = self.num_batches_tracked if training and tracked else None
        momentum = _begin_batch(input, counter, self.momentum, self.shapes)
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm_add_prelu(
            input,
            None if training and not tracked else mean,
            None if training and not tracked else variance,
            self.weight,
            self.bias,
            training or (mean is None and variance is None),
            momentum,
            self.eps,
            residual=residual,
            slope=slope,
            low_memory=self.low_memory,
        )

    @classmethod
    def from_modules(cls, bn: _BatchNorm, act: torch.nn.Module, *, low_memory: bool | None = False) -> Self:
        """Fuse a batch normalisation and the activation after it into one layer that shares their tensors.

        The parameters and buffers of the new layer *are* those of the pair, not copies, so that an optimizer that
        holds them goes on updating them. Use either the pair or the layer; do not alternate between them. The
        training mode is that of `bn`.

        Args:
            bn: A torch.nn.BatchNorm of this layer's number of dimensions.
            act: A torch.nn.ReLU, LeakyReLU or Identity, which has a fixed slope (0, `negative_slope`, 1), or a
                PReLU, torch's or ours, whose slopes are learned and whose bounds are kept.
            low_memory: The new layer's `low_memory`.

        Raises:
            TypeError: `bn` or `act` is of another type. Subclasses are rejected, since they may compute something else.
            ValueError: the PReLU has neither one slope nor one per channel, has its channels elsewhere than in
                dimension 1, or one of the two has hooks, which the layer would not call.

        Example:
            >>> bn, act = torch.nn.BatchNorm2d(16), torch.nn.PReLU(16)
            >>> layer = BatchNormPReLU2d.from_modules(bn, act)
            >>> layer.weight is bn.weight, layer.slope is act.weight
            (True, True)
        """
        slopes = pair.checked(cls.stock, bn, act)
        like = next((tensor for tensor in (bn.weight, bn.running_mean) if tensor is not None), None)
        layer = cls(
            bn.num_features,
            bn.eps,
            bn.momentum,
            bn.affine,
            bn.track_running_stats,
            device=None if like is None else like.device,
            dtype=None if like is None else like.dtype,
            num_parameters=slopes.count,
            init=slopes.init,
            learnable=slopes.learned is not None,
            bounds=slopes.bounds,
            low_memory=low_memory,
        )
        pair.share(bn, layer)
        if slopes.learned is not None:
            layer.slope = slopes.learned
            layer.shared_gradient = getattr(act, "shared_gradient", "sum")
        return layer

    def unfuse(self) -> torch.nn.Sequential:
        """Return the equivalent pair of a torch.nn.BatchNorm and an activation, which share this layer's tensors.

        The pair can replace the layer in a model: called with a residual, it adds it between the two. Learned slopes
        give a `slopewise.PReLU`. Fixed slopes give a torch.nn.ReLU if all are 0, an Identity if all are 1, a LeakyReLU
        if all are equal, and otherwise a `slopewise.PReLU` that requires no gradient.

        Example:
            >>> BatchNormPReLU2d(8, num_parameters=1, init=0.0, learnable=False).unfuse()[1]
            ReLU()
        """
        bn = pair.plain(self, self.stock)
        act = pair.activation(self.slope, self.init, self.bounds, learnable=self.learnable, low_memory=self.low_memory)
        if isinstance(act, PReLU):
            act.shared_gradient = self.shared_gradient
        return pair.Pair(bn, act).train(self.training)

    def project_(self) -> None:
        """Move slopes outside the bounds to the nearest bound, in place. Without bounds this does nothing."""
        project_(self.slope, self.bounds)

    def extra_repr(self) -> str:
        """Return BatchNorm's arguments, the number of slopes, and the arguments that differ from the default."""
        fixed = "" if self.learnable else f", init={self.init}, learnable=False"
        bounds = f", bounds={self.bounds}" if self.bounds is not None else ""
        memory = "" if self.low_memory is False else f", low_memory={self.low_memory}"
        normalisation = super().extra_repr()  # type: ignore[no-untyped-call]
        gradient = ", shared_gradient='mean'" if self.num_parameters == 1 and self.shared_gradient == "mean" else ""
        return f"{normalisation}, num_parameters={self.num_parameters}{fixed}{bounds}{memory}{gradient}"

    @property
    def qconfig(self) -> NoReturn:
        """An error: torch's conversion to SyncBatchNorm and its quantisation read this, and would drop the slopes."""
        name = type(self).__name__
        raise RuntimeError(
            f"{name} can be neither converted to SyncBatchNorm nor quantised, since its slopes would be lost: put "
            f"layer.unfuse() in the place of each {name} first"
        )

    def __dir__(self) -> list[str]:
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [name for name in names if name != "qconfig"]  # some tools, such as jit's tracer, read all of them

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        self.project_()
        super()._save_to_state_dict(destination, prefix, keep_vars)


class BatchNormPReLU2d(BatchNormPReLU, torch.nn.BatchNorm2d):
    """Batch normalisation and PReLU in one layer: y = f(BatchNorm(x) + r), f(z) = z where z > 0, else a·z.

    The normalisation is that of `torch.nn.BatchNorm2d`: arguments, running statistics, training and evaluation mode,
    and the state_dict, which has one more key, `slope`. The output is that of the normalisation, an addition and a
    `slopewise.PReLU` in sequence, computed in fewer passes over memory. See
    `slopewise.nn.functional.batch_norm_add_prelu` for the formula.

    A state_dict of a BatchNorm lacks the slopes: ``load_state_dict(state, strict=True)`` raises an error, and
    ``strict=False`` keeps the current slopes and lists them in its `missing_keys`. `from_modules` makes a layer from a
    BatchNorm and its activation, and `unfuse` turns it back into the pair.

    Args:
        num_features: Number of channels C of the input.
        eps: The ε of the normalisation.
        momentum: Weight of a batch in the running statistics; None averages over all batches.
        affine: If True, γ and β of the normalisation are learned.
        track_running_stats: If True, running statistics are kept for evaluation; otherwise each batch is normalised by
            its own statistics.
        device: Device of all tensors.
        dtype: Dtype of all floating-point tensors.
        num_parameters: Number of slopes: None for one per channel, 1 for one shared slope.
        init: Initial slopes: one number for all, or `num_parameters` numbers.
        learnable: If True, the slopes are learned. Otherwise they stay at `init`, in a buffer: 0.0 is ReLU, 1.0 no
            activation at all.
        bounds: Bounds of the slopes, as in `slopewise.PReLU`.
        low_memory: If True, the output (and the residual) are kept for the backward pass instead of the input, where
            the values make that safe; see `slopewise.nn.functional.batch_norm_add_prelu`.
        shared_gradient: Reduction of a shared slope's gradient, "sum" or "mean", as in `slopewise.PReLU`.

    Shape:
        Input, residual (optional) and output: (N, C, H, W).

    Raises:
        ValueError: `num_parameters` is neither None, 1 nor `num_features`; `init` and `bounds` as in
            `slopewise.PReLU`. From the forward pass: the shapes do not fit, or training has one value per channel.
        RuntimeError: the layer is converted to SyncBatchNorm, which would lose the slopes.

    Example:
        >>> layer = BatchNormPReLU2d(16)
        >>> x, shortcut = torch.randn(8, 16, 4, 4), torch.randn(8, 16, 4, 4)
        >>> layer(x).shape, layer(x, shortcut).shape
        (torch.Size([8, 16, 4, 4]), torch.Size([8, 16, 4, 4]))
        >>> list(layer.state_dict())
        ['weight', 'bias', 'slope', 'running_mean', 'running_var', 'num_batches_tracked']
    """

    stock = torch.nn.BatchNorm2d
    shapes: ClassVar = {4: "(N, C, H, W)"}


class BatchNormPReLU1d(BatchNormPReLU, torch.nn.BatchNorm1d):
    """`BatchNormPReLU2d` for inputs (N, C) and (N, C, L); a `torch.nn.BatchNorm1d`.

    Example:
        >>> BatchNormPReLU1d(3)(torch.randn(8, 3)).shape
        torch.Size([8, 3])
    """

    stock = torch.nn.BatchNorm1d
    shapes: ClassVar = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNormPReLU3d(BatchNormPReLU, torch.nn.BatchNorm3d):
    """`BatchNormPReLU2d` for inputs (N, C, D, H, W); a `torch.nn.BatchNorm3d`.

    Example:
        >>> BatchNormPReLU3d(3)(torch.randn(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 4, 4])
    """

    stock = torch.nn.BatchNorm3d
    shapes: ClassVar = {5: "(N, C, D, H, W)"}


def _begin_batch(
    input: Tensor,  # noqa: A002
    counter: Tensor | None,
    momentum: float | None,
    shapes: dict[int, str],
) -> float:
    """Check the input's dimensions, count the batch, and return its weight in the running statistics."""
    if input.dim() not in shapes:
        expected = " or ".join(f"{dims}D" for dims in shapes)
        raise ValueError(f"expected {expected} input (got {input.dim()}D input): pass {' or '.join(shapes.values())}")
    if counter is not None:
        counter.add_(1)
        if momentum is None:
            return 1.0 / float(counter)
    return 0.0 if momentum is None else momentum


torch.fx.wrap("_begin_batch")  # otherwise symbolic tracing would count a batch once, while tracing, and never again
