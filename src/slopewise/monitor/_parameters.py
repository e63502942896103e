"""Effects of optimizer steps on a model's parameters: gradients, updates, and the slopes one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from slopewise.modules import applied_slopes, is_sharded, learned_slopes, parameters_of, whole
from slopewise.monitor._packet import Packet, Part, Transfer
from slopewise.monitor._sharded import Shards, local
from slopewise.monitor._slopes import Noise, SlopeRow, SlopeStates, SlopeTable
from slopewise.optim import slope_name
from slopewise.recording import LayerSample, SlopeSample, Thresholds


class Parameters:
    """Parameters of one model. A sample has those that require gradients when it is taken.

    Attributes:
        all: Every parameter, once.
        decays: Weight decay of slopes by layer, where it is not 0.
        rates: Learning rate of slopes by layer, in the latest sampled step.
        notes: Notes about slopes that cannot be read.
    """

    def __init__(self, model: nn.Module, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self.decays: dict[str, float] = {}
        self.rates: dict[str, float] = {}
        self._layers: dict[str, list[nn.Parameter]] = {}
        self._slopes: dict[str, nn.Module] = {}
        self._slope_of: dict[nn.Parameter, str] = {}
        self._sharded: dict[str, nn.Parameter] = {}
        self.notes: list[str] = []
        seen: set[nn.Parameter] = set()
        for path, module, name, parameter in parameters_of(model):
            if parameter in seen:
                continue
            seen.add(parameter)
            if name == slope_name(module):
                if not learned_slopes(module).numel():
                    self.notes.append(f"'{path}': its slopes are in other processes, in a form that cannot be read")
                    continue
                self._slopes[path] = module
                self._slope_of[parameter] = path
                if is_sharded(parameter) and module._parameters.get(name) is parameter:  # and not parametrised
                    self._sharded[path] = parameter
            else:
                self._layers.setdefault(path, []).append(parameter)
        self.all = frozenset(seen)
        # In the order of the model, which is the same in all processes.
        self._shards = Shards([*(p for members in self._layers.values() for p in members)])
        self._starts = {path: whole(self._values(path)).cpu().double().clone() for path in self._slopes}
        self._noise = {path: Noise(len(start)) for path, start in self._starts.items()}
        self._before: dict[nn.Parameter, Tensor] = {}
        self._slopes_before: dict[str, Tensor] = {}
        self._norms: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # of the weight before the step, of its update
        self._gradients: dict[nn.Parameter, Tensor] = {}  # their norms, of slopes themselves

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered between steps, as plain data."""
        return {
            "starts": dict(self._starts),
            "noise": {
                path: [noise.samples, noise.mean.clone(), noise.square.clone()] for path, noise in self._noise.items()
            },
            "decays": dict(self.decays),
            "rates": dict(self.rates),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of the same model's parameters.

        Raises:
            ValueError: The model has other slopes.
        """
        own, given = ({path: len(start) for path, start in of.items()} for of in (self._starts, state["starts"]))
        if own != given:
            raise ValueError("the state is of a monitor of another model: it has other slopes")
        self._starts = dict(state["starts"])
        self.decays, self.rates = dict(state["decays"]), dict(state["rates"])
        for path, (samples, mean, square) in state["noise"].items():
            noise = self._noise[path]
            noise.samples = samples
            noise.mean, noise.square = (torch.zeros_like(noise.mean) + average for average in (mean, square))

    @property
    def sharded(self) -> bool:
        """True if other processes hold parts of some parameters."""
        return bool(self._sharded or self._shards)

    @property
    def learned(self) -> list[nn.Parameter]:
        """Parameters that require gradients now; fine-tuning thaws layers as it goes."""
        return [parameter for parameter in self.all if _learns(parameter)]

    def _values(self, path: str) -> Tensor:
        """Return the slopes of a layer; sharded ones are the optimizer's, which the layer itself may not hold now."""
        module, sharded = self._slopes[path], self._sharded.get(path)
        return learned_slopes(module) if sharded is None else applied_slopes(module, sharded)

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy the parameters that the optimizer is about to change."""
        for group in optimizer.param_groups:
            mine = [parameter for parameter in group["params"] if parameter in self.all and _learns(parameter)]
            self._before.update(zip(mine, [local(parameter).clone() for parameter in mine], strict=True))
            for path in [self._slope_of[parameter] for parameter in mine if parameter in self._slope_of]:
                self._slopes_before[path] = self._values(path).clone()
                self._note_settings(path, group)

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure updates and gradients of an optimizer's parameters, before a loop drops the gradients."""
        # Tied weights may be listed twice, of which PyTorch only warns: what is taken once is gone the second time.
        listed = ((p, self._before.pop(p, None)) for group in optimizer.param_groups for p in group["params"])
        taken = [(parameter, values) for parameter, values in listed if values is not None]
        stepped, before = [parameter for parameter, _ in taken], [values for _, values in taken]
        weights = {p: local(p.grad) for p in stepped if p.grad is not None and p not in self._slope_of}
        updates = torch._foreach_sub([local(parameter) for parameter in stepped], before) if stepped else ()
        sizes, moves, gradients = _norms(before, updates, weights.values())
        self._norms.update(zip(stepped, zip(sizes, moves, strict=True), strict=True))
        self._gradients.update(zip(weights, gradients, strict=True))
        slopes = [p for p in stepped if p.grad is not None and p in self._slope_of]
        self._gradients.update((p, p.grad.detach().clone()) for p in slopes if p.grad is not None)

    def _note_settings(self, path: str, group: dict[str, Any]) -> None:
        rate, decay = group.get("lr"), group.get("weight_decay")
        if isinstance(rate, (int, float)) or (isinstance(rate, Tensor) and rate.device.type == "cpu"):
            self.rates[path] = float(rate)  # one on another device would have to be waited for
        if isinstance(decay, (int, float)) and decay > 0:
            self.decays[path] = float(decay)

    @torch.no_grad()
    def pack(
        self, packet: Packet, gradients: Mapping[nn.Parameter, Tensor | None] | None = None, *, alone: bool = False
    ) -> ParameterParts:
        """Add to a packet what this step has left.

        Args:
            packet: Packet of the step.
            gradients: Gradients to use in place of those that parameters were stepped with, and of the others' `.grad`.
            alone: True if other processes do not take part: sharded parameters cannot be measured, and are left out.
        """
        norms, self._norms = self._norms, {}
        seen, self._gradients = self._gradients, {}
        slopes_before, self._slopes_before = self._slopes_before, {}
        left = {p: p.grad if gradients is None else gradients.get(p) for p in self.learned if p not in seen}
        layers = self._layers_with({*left, *seen}, alone=alone)
        rows = self._rows(layers, norms, seen, left, alone=alone)
        layers_part = packet.add(rows.pack(), rows.decode)
        table: list[SlopeRow] = []
        columns: tuple[list[Tensor], ...] = ([], [], [])
        for path in self._slopes_to_read(alone=alone):
            gradient, before = self._slope_gradient(path, seen, left), slopes_before.get(path)
            values = self._values(path)
            table.append(
                SlopeRow(
                    path,
                    values.dtype,
                    has_gradient=gradient is not None,
                    has_moved=before is not None,
                    start=self._starts[path],
                    noise=self._noise[path],
                )
            )
            row = values, values if gradient is None else gradient.flatten(), values if before is None else before
            for column, tensor in zip(columns, row, strict=True):
                column.append(whole(tensor.to(values.dtype)))
        flat = torch.cat(_together([*chain(*columns)])) if table else torch.empty(0)
        return ParameterParts(layers_part, packet.add(flat, SlopeTable(table, self._thresholds).decode))

    def _layers_with(self, known: Set[nn.Parameter], *, alone: bool) -> list[tuple[str, list[nn.Parameter]]]:
        """Return the parameters of each layer, slopes aside, that are known to be learned."""
        layers = [(path, [p for p in members if p in known]) for path, members in self._layers.items()]
        if alone:
            return [(path, [p for p in members if not is_sharded(p)]) for path, members in layers]
        return layers

    def _rows(
        self,
        layers: list[tuple[str, list[nn.Parameter]]],
        norms: Mapping[nn.Parameter, tuple[Tensor, Tensor]],
        seen: dict[nn.Parameter, Tensor],
        left: Mapping[nn.Parameter, Tensor | None],
        *,
        alone: bool,
    ) -> _Rows:
        """Return the norms of each layer's gradients, weights and updates.

        Args:
            layers: Parameters of each layer.
            norms: Norms of the weight before the step and of its update, of parameters that were stepped.
            seen: Norms of gradients that optimizers stepped with; those of `left` are added.
            left: Gradients of the other parameters.
            alone: True if other processes do not take part.
        """
        later = [p for _, members in layers for p in members if left.get(p) is not None]
        still = [p for _, members in layers for p in members if p not in norms]
        gradients, weights = _norms((local(g) for p in later if (g := left[p]) is not None), map(local, still))
        seen.update(zip(later, gradients, strict=True))
        sizes = dict(zip(still, weights, strict=True)) | {p: norm for p, (norm, _) in norms.items()}
        updates = {p: norm for p, (_, norm) in norms.items()}
        if self._shards and not alone:
            self._shards.combine(sizes, updates, seen)
        rows = _Rows()
        for path, members in layers:
            if members:
                stepped = [p for p in members if p in updates]
                own = [sizes[p] for p in stepped or members]
                rows.add(path, [seen[p] for p in members if p in seen], own, [updates[p] for p in stepped])
        return rows

    def _slopes_to_read(self, *, alone: bool) -> Iterator[str]:
        for path, module in self._slopes.items():
            learned = any(parameter.requires_grad for parameter in module.parameters(recurse=True))
            if learned and not (alone and is_sharded(self._values(path))):
                yield path

    def _slope_gradient(
        self, path: str, seen: Mapping[nn.Parameter, Tensor], left: Mapping[nn.Parameter, Tensor | None]
    ) -> Tensor | None:
        """Return the gradient of a layer's slopes; None without one, and where the slopes are parametrised."""
        module = self._slopes[path]
        # A pruned layer's slopes are a plain attribute; the parameter `..._orig` has the gradient, 0 where the mask is.
        own, name = module._parameters, slope_name(module) or ""
        parameter = self._sharded.get(path, own.get(name, own.get(f"{name}_orig")))
        return None if parameter is None else seen.get(parameter, left.get(parameter))


@dataclass(frozen=True)
class ParameterParts:
    """Parts of a packet with the parameters of a sampled step: one of all layers, and one of all slopes."""

    layers: Part[tuple[LayerSample, ...]]
    slopes: Part[list[tuple[SlopeStates, SlopeSample]]]

    def read(self, transfer: Transfer) -> tuple[list[tuple[SlopeStates, SlopeSample]], tuple[LayerSample, ...]]:
        """Return the slopes of each layer with their sample, and the samples of the other parameters."""
        layers = transfer.read(self.layers)
        moved = [layer for layer in layers if layer.update is not None and layer.weight is not None]
        size = math.hypot(*(layer.weight or 0.0 for layer in moved))
        ratio = math.hypot(*(layer.update or 0.0 for layer in moved)) / size if size else None
        slopes = transfer.read(self.slopes)
        return [(states, _against(sample, ratio)) for states, sample in slopes], layers


def _against(sample: SlopeSample, weights: float | None) -> SlopeSample:
    """Return a sample of slopes with their update ratio over that of the weights."""
    ratio = sample.update_ratio
    return replace(sample, against_weights=ratio / weights if ratio is not None and weights else None)


class _Rows:
    """Norms of each layer's gradients, weights and updates, as one tensor; the host adds them up."""

    def __init__(self) -> None:
        self._norms: list[Tensor] = []
        self._layers: list[tuple[str, tuple[range, ...]]] = []

    def add(self, layer: str, gradients: list[Tensor], weights: list[Tensor], updates: list[Tensor]) -> None:
        """Add the norms of a layer's parameters; there may be none of a kind."""
        self._layers.append((layer, tuple(map(self._put, (gradients, weights, updates)))))

    def pack(self) -> Tensor:
        """Return all norms, on one device."""
        norms, self._norms = self._norms, []
        return torch.stack(_together(norms)).float() if norms else torch.empty(0)

    def decode(self, flat: Tensor) -> tuple[LayerSample, ...]:
        """Return the samples of the packed norms, once they are on the CPU."""
        norms = flat.tolist()

        def together(rows: range) -> float | None:
            return math.hypot(*norms[rows.start : rows.stop]) if rows else None

        return tuple(_layer_sample(layer, *map(together, rows)) for layer, rows in self._layers)

    def _put(self, norms: list[Tensor]) -> range:
        self._norms += norms
        return range(len(self._norms) - len(norms), len(self._norms))


def _layer_sample(layer: str, gradient: float | None, weight: float | None, update: float | None) -> LayerSample:
    both = (("gradient", gradient), ("weight", weight))
    return LayerSample(
        layer=layer,
        gradient=_finite(gradient),
        weight=_finite(weight),
        update=_finite(update),
        not_finite=tuple(name for name, value in both if value is not None and not math.isfinite(value)),
    )


def _learns(parameter: nn.Parameter) -> bool:
    """Return True if a parameter requires a gradient and has values, which lazy modules get with their first input."""
    return parameter.requires_grad and not is_lazy(parameter)


def _together(tensors: list[Tensor]) -> list[Tensor]:
    """Return tensors on the device of the first."""
    device = tensors[0].device
    return [tensor if tensor.device == device else tensor.to(device) for tensor in tensors]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _norms(*kinds: Iterable[Tensor]) -> list[list[Tensor]]:
    """Return the norms of tensors of several kinds."""
    given = [[t if t.dtype.itemsize >= 4 else t.float() for t in tensors] for tensors in kinds]
    # Private, but what torch.nn.utils.get_total_norm and clip_grad_norm_ are made of: one kernel for all tensors, where
    # a loop of `norm` would start one for each parameter.
    norms = iter(torch._foreach_norm([*chain(*given)]) if any(given) else ())
    return [list(islice(norms, len(tensors))) for tensors in given]
