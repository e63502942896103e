"""One sample on a batch of your choice, outside of training and without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.monitor._clock import Clock
from slopewise.monitor._parameters import Parameters
from slopewise.monitor._ranks import Ranks
from slopewise.monitor._sharded import is_sharded
from slopewise.monitor._sites import Sites
from slopewise.monitor._transfer import Transfer
from slopewise.recording import Sample, Thresholds
from slopewise.trace import undisturbed


class Probe:
    """Measures a model on a fixed batch, in evaluation mode, as `Monitor` measures steps of training.

    Parameters' `.grad`, buffers, the training mode and the random state are left as they were. A probe of the same
    batch after every epoch shows how the net changes, free of the noise of batches, dropout and batch statistics.

    Args:
        model: the network, not wrapped.
        activations: modules of it that are activations, beside those that are known.

    Raises:
        ValueError: the model is sharded.

    Example:
        >>> dead = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> _ = nn.init.constant_(dead[0].bias, -1e3)
        >>> sample = Probe(dead)(lambda: dead(torch.ones(4, 2)).sum())
        >>> sample.sites[0].dead, sample.sites[0].pass_through, sample.layers[1].gradient > 0
        ((0, 1, 2), 0.0, True)
    """

    def __init__(self, model: nn.Module, activations: Iterable[nn.Module] = ()) -> None:
        self._model = model
        self._clock = Clock()
        self._sites = Sites(model, self._clock, activations=activations)
        self._parameters = Parameters(model, Thresholds())
        if any(map(is_sharded, self._parameters.all)):
            raise ValueError(
                "the model is sharded (fully_shard), and its gradients are only there in training: probe it before, or "
                "a copy that has its full state dict"
            )

    def __call__(self, loss: Callable[[], Tensor], *, step: int = 0) -> Sample:
        """The sample of one forward and one backward pass.

        Args:
            loss: computes the scalar loss of the batch with the model.
            step: the sample's.
        """
        before, sites = self._clock.seconds, self._sites
        learned = self._parameters.learned
        begin = self._model.register_forward_pre_hook(self._on_forward, with_kwargs=True)
        try:
            with self._clock, undisturbed(self._model), torch.enable_grad():
                self._model.eval()
                value = loss()
                found = torch.autograd.grad(value, learned, allow_unused=True) if value.requires_grad else ()
        finally:
            begin.remove()
            passes, tallies = sites.passes, sites.finish()
        gradients = dict(zip(learned, found, strict=False))
        counted, read_sites = Ranks(None).pack(tallies, alone=True)
        own, read_parameters = self._parameters.pack(gradients)
        parts = Transfer(counted, own, None).read()
        slopes, layers = read_parameters(parts[len(counted) :])
        seen = tuple(site for site, _ in read_sites(parts[: len(counted)]))
        return Sample(step, passes, seen, tuple(slope for _, slope in slopes), layers, self._clock.seconds - before)

    def _on_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        if not self._sites.busy:
            self._sites.begin(args, kwargs)
