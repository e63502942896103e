"""One sample on a batch of your choice, outside of training and without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.modules import is_sharded
from slopewise.monitor._clock import Clock
from slopewise.monitor._packet import Packet
from slopewise.monitor._parameters import Parameters
from slopewise.monitor._ranks import Ranks
from slopewise.monitor._sites import Sites
from slopewise.recording import Sample, Thresholds
from slopewise.trace import undisturbed


class Probe:
    """Measures a model on a fixed batch, in evaluation mode, as `Monitor` measures steps of training.

    Parameters' `.grad`, buffers, the training mode and the random state are left as they were. A probe of the same
    batch after every epoch shows how the net changes, free of the noise of batches, dropout and batch statistics.

    A model that `fully_shard` has sharded is probed by all of its processes together, with the same batch.

    Args:
        model: Network, not wrapped.
        activations: Modules of it that are activations, beside those that are known.

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

    def __call__(self, loss: Callable[[], Tensor], *, step: int = 0) -> Sample:
        """Return the sample of one forward and one backward pass.

        Args:
            loss: Function that computes the scalar loss of the batch with the model.
            step: Number of the step in the sample.
        """
        before, sites = self._clock.seconds, self._sites
        learned = self._parameters.learned
        begin = self._model.register_forward_pre_hook(self._on_forward, with_kwargs=True)
        try:
            with self._clock, undisturbed(self._model), torch.enable_grad():
                self._model.eval()
                value = loss()
                computed = _gradients(value, learned) if value.requires_grad else ()
        finally:
            begin.remove()
            passes, tallies = sites.passes, sites.finish()
        gradients = dict(zip(learned, computed, strict=False))
        packet = Packet()
        parameters = self._parameters.pack(packet, gradients)  # collective for sharded parameters
        part = Ranks(None).pack(tallies, packet, alone=True)
        transfer = packet.send(None)
        slopes, layers = parameters.read(transfer)
        return Sample(
            step,
            passes,
            tuple(reading.sample for reading in transfer.read(part)),
            tuple(sample for _, sample in slopes),
            layers,
            self._clock.seconds - before,
        )

    def _on_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        if not self._sites.busy:
            self._sites.begin(args, kwargs)


def _gradients(value: Tensor, parameters: Sequence[nn.Parameter]) -> Sequence[Tensor | None]:
    """Return the gradients of a scalar, and leave `.grad` as it was."""
    if not any(map(is_sharded, parameters)):
        return torch.autograd.grad(value, parameters, allow_unused=True)
    # The graph holds the whole parameters, which exist for the pass alone: hooks of the backward pass leave the
    # gradients of this process's parts in `.grad`.
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        value.backward()
        return [parameter.grad for parameter in parameters]
    finally:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient
