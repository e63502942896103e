"""What an optimizer's step does to a model's parameters: gradients, updates, and the slopes one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from slopewise.modules import current, held
from slopewise.monitor._sharded import Shards, is_sharded, local, whole
from slopewise.optim import slope_name
from slopewise.recording import LayerSample, SlopeSample, Thresholds
from slopewise.slopes import SlopeSummary, summarise

_DECAY = 0.9  # of the averages behind signal-to-noise: about the latest ten samples count
_FEWEST = 3  # samples that give a standard deviation


def learned_slopes(module: nn.Module) -> Tensor:
    """The slopes that a PReLU or a fused layer learns, detached and flat; an empty tensor for any other activation.

    Example:
        >>> learned_slopes(nn.PReLU(2)), learned_slopes(nn.ReLU())
        (tensor([0.2500, 0.2500]), tensor([]))
    """
    name = slope_name(module)
    if name is None:
        return torch.empty(0)
    return _applied(module, current(module, name))


def _applied(module: nn.Module, slopes: Tensor) -> Tensor:
    """The slopes as a layer applies them: within its bounds, over which a step may have carried the parameter."""
    bounds, slopes = getattr(module, "bounds", None), slopes.detach().flatten()
    return slopes if bounds is None else slopes.clamp(*bounds)


@dataclass(frozen=True, eq=False)
class SlopeStates:
    """One layer slope by slope in the latest sample; tensors of one value for each slope, on the CPU.

    Attributes:
        layer: the module that holds them.
        value: a, after the step.
        gradient: dL/da as the optimizer saw it; None without one.
        signal_to_noise: |mean| / standard deviation of dL/da over the latest samples; None before the third.
        update: Δa; None where no optimizer moved them.
        from_start: how far each is from where it was when the monitor began.
        summary: of the values.
    """

    layer: str
    value: Tensor
    gradient: Tensor | None
    signal_to_noise: Tensor | None
    update: Tensor | None
    from_start: Tensor
    summary: SlopeSummary

    def sample(self, weights: float | None) -> SlopeSample:
        """The layer as a record; `weights` is the update ratio of the model's weights."""
        before = 0.0 if self.update is None else (self.value - self.update).norm().item()
        ratio = self.update.norm().item() / before if self.update is not None and before else None
        return SlopeSample(
            layer=self.layer,
            summary=self.summary,
            gradient=None if self.gradient is None else self.gradient.norm().item(),
            signal_to_noise=None if self.signal_to_noise is None else _middle(self.signal_to_noise),
            update=None if self.update is None else self.update.abs().max().item(),
            update_ratio=ratio,
            against_weights=ratio / weights if ratio is not None and weights else None,
            from_start=self.from_start.abs().max().item(),
        )


_Samples = tuple[list[tuple[SlopeStates, SlopeSample]], tuple[LayerSample, ...]]


def _middle(ratios: Tensor) -> float | None:
    return _finite(ratios.nanmedian().item())


class Parameters:
    """The parameters of one model. Samples are of those that require gradients when they are taken.

    Attributes:
        all: every parameter once.
        decays: the weight decay of slopes, by layer, where it is not 0.
        rates: the learning rate of slopes, by layer, in the latest sampled step.
        notes: what cannot be seen, and why.
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
        for path, module, name, parameter in held(model):
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
        self._shards = Shards([*(p for held_here in self._layers.values() for p in held_here)])
        self._starts = {path: whole(self._values(path)).cpu().double().clone() for path in self._slopes}
        self._noise = {path: _Noise() for path in self._slopes}
        self._before: dict[nn.Parameter, Tensor] = {}
        self._slopes_before: dict[str, Tensor] = {}
        self._norms: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}  # of the weight before the step, of its update
        self._gradients: dict[nn.Parameter, Tensor] = {}  # their norms, of slopes themselves

    @property
    def learned(self) -> list[nn.Parameter]:
        """Those that require gradients now; fine-tuning thaws layers as it goes."""
        return [parameter for parameter in self.all if _learns(parameter)]

    def _values(self, path: str) -> Tensor:
        """The slopes of a layer; the sharded ones are the optimizer's, in whose place a layer may hold others."""
        module, sharded = self._slopes[path], self._sharded.get(path)
        return learned_slopes(module) if sharded is None else _applied(module, sharded)

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep what the optimizer is about to change."""
        for group in optimizer.param_groups:
            mine = [parameter for parameter in group["params"] if parameter in self.all and _learns(parameter)]
            for parameter in mine:
                self._before[parameter] = local(parameter).clone()
                path = self._slope_of.get(parameter)
                if path is not None:
                    self._slopes_before[path] = self._values(path).clone()
                    self._note_settings(path, group)

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure what it changed, and by which gradients: a loop may drop these at once, before others step."""
        stepped = [p for group in optimizer.param_groups for p in group["params"] if p in self._before]
        before = [self._before.pop(parameter) for parameter in stepped]
        updates = [local(parameter) - old for parameter, old in zip(stepped, before, strict=True)]
        for parameter, weight, update in zip(stepped, _norms(before), _norms(updates), strict=True):
            self._norms[parameter] = weight, update
        weights = [p for p in stepped if p.grad is not None and p not in self._slope_of]
        self._gradients.update(zip(weights, _norms(local(p.grad) for p in weights if p.grad is not None), strict=True))
        for parameter in stepped:
            if parameter in self._slope_of and parameter.grad is not None:
                self._gradients[parameter] = parameter.grad.detach().clone()

    def _note_settings(self, path: str, group: dict[str, Any]) -> None:
        rate, decay = group.get("lr"), group.get("weight_decay")
        if isinstance(rate, (int, float)) or (isinstance(rate, Tensor) and rate.device.type == "cpu"):
            self.rates[path] = float(rate)  # one on another device would have to be waited for
        if isinstance(decay, (int, float)) and decay > 0:
            self.decays[path] = float(decay)

    @torch.no_grad()
    def pack(
        self, gradients: Mapping[nn.Parameter, Tensor | None] | None = None, *, alone: bool = False
    ) -> tuple[list[Tensor], Callable[[Sequence[Tensor]], _Samples]]:
        """What this step left, as flat tensors, and what makes samples of them once they are on the CPU.

        Args:
            gradients: in place of those that were stepped with, and of the others' `.grad`.
            alone: other processes do not take part: what is sharded cannot be told, and is left out.
        """
        norms, self._norms = self._norms, {}
        seen, self._gradients = self._gradients, {}
        slopes_before, self._slopes_before = self._slopes_before, {}
        learned = self.learned
        found = {p: p.grad if gradients is None else gradients.get(p) for p in learned if p not in seen}
        layers = [(path, [p for p in held_here if p in found or p in seen]) for path, held_here in self._layers.items()]
        if alone:
            layers = [(path, [p for p in held_here if not is_sharded(p)]) for path, held_here in layers]
        later = [p for _, held_here in layers for p in held_here if found.get(p) is not None]
        seen.update(zip(later, _norms(local(g) for p in later if (g := found[p]) is not None), strict=True))
        still = [p for _, held_here in layers for p in held_here if p not in norms]
        sizes = dict(zip(still, _norms(map(local, still)), strict=True)) | {p: norm for p, (norm, _) in norms.items()}
        updates = {p: norm for p, (_, norm) in norms.items()}
        if self._shards and not alone:
            self._shards.combine(sizes, updates, seen)
        rows = _Rows()
        for path, parameters in layers:
            if parameters:
                stepped = [p for p in parameters if p in updates]
                weights = [sizes[p] for p in stepped or parameters]
                rows.add(path, [seen[p] for p in parameters if p in seen], weights, [updates[p] for p in stepped])
        parts = [rows.pack()]
        slope_readers = []
        for path, module in self._slopes.items():
            if not any(parameter.requires_grad for parameter in module.parameters(recurse=True)):
                continue
            values = self._values(path)
            if alone and is_sharded(values):
                continue
            own, name = module._parameters, slope_name(module) or ""
            # None where it is parametrised; a pruned one's is 0 where the mask is.
            parameter = self._sharded.get(path, own.get(name, own.get(f"{name}_orig")))
            gradient = None if parameter is None else seen.get(parameter, found.get(parameter))
            before = slopes_before.get(path)
            numbers = [values, values if gradient is None else gradient.flatten(), values if before is None else before]
            parts.append(whole(torch.stack([row.to(values.dtype) for row in numbers])).flatten())
            slope_readers.append(self._reads_slopes(path, values.dtype, gradient is not None, before is not None))

        def read(flat: Sequence[Tensor]) -> _Samples:
            found = rows.read(flat[0])
            moved = [layer for layer in found if layer.update is not None and layer.weight is not None]
            size = math.hypot(*(layer.weight or 0.0 for layer in moved))
            ratio = math.hypot(*(layer.update or 0.0 for layer in moved)) / size if size else None
            states = [reader(part) for reader, part in zip(slope_readers, flat[1:], strict=True)]
            return [(state, state.sample(ratio)) for state in states], found

        return parts, read

    def _reads_slopes(
        self, path: str, dtype: torch.dtype, has_gradient: bool, has_moved: bool
    ) -> Callable[[Tensor], SlopeStates]:
        bands, noise, start = self._thresholds, self._noise[path], self._starts[path]

        def read(flat: Tensor) -> SlopeStates:
            values, gradient, before = flat.reshape(3, -1)
            return SlopeStates(
                layer=path,
                value=values,
                gradient=gradient if has_gradient else None,
                signal_to_noise=noise.add(gradient) if has_gradient else None,
                update=values - before if has_moved else None,
                from_start=values - start,
                summary=summarise(values.to(dtype), near_0=bands.near_0, near_1=bands.near_1),
            )

        return read


class _Noise:
    """Exponential averages of a gradient and its square, on the CPU."""

    def __init__(self) -> None:
        self.samples = 0
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def add(self, gradient: Tensor) -> Tensor | None:
        """Take a sample in; |mean| / standard deviation of each slope's, once there are enough."""
        if not bool(gradient.isfinite().all()):
            return None
        self.samples += 1
        share = (1 - _DECAY) / (1 - _DECAY**self.samples)  # the first average is the first sample
        self.mean = self.mean + share * (gradient - self.mean)
        self.square = self.square + share * (gradient.square() - self.square)
        if self.samples < _FEWEST:
            return None
        variance = (self.square - self.mean.square()).clamp_min(0)
        return self.mean.abs() / variance.sqrt()


class _Rows:
    """Norms of each layer's gradients, weights and updates, as one tensor: sums are for the host."""

    def __init__(self) -> None:
        self._norms: list[Tensor] = []
        self._layers: list[tuple[str, tuple[range, ...]]] = []

    def add(self, layer: str, gradients: list[Tensor], weights: list[Tensor], updates: list[Tensor]) -> None:
        """The norms of a layer's parameters; of any kind there may be none."""
        self._layers.append((layer, tuple(map(self._put, (gradients, weights, updates)))))

    def pack(self) -> Tensor:
        """All of them, on one device."""
        device = self._norms[0].device if self._norms else None
        same = [norm.to(device, torch.float32) for norm in self._norms]
        self._norms = []
        return torch.stack(same) if same else torch.empty(0)

    def read(self, flat: Tensor) -> tuple[LayerSample, ...]:
        """The samples of what `pack` gave, once it is on the CPU."""
        found = flat.tolist()

        def together(rows: range) -> float | None:
            return math.hypot(*found[rows.start : rows.stop]) if rows else None

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
    """Whether it requires a gradient, and has values: those of lazy modules come with their first input."""
    return parameter.requires_grad and not is_lazy(parameter)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _norms(tensors: Iterable[Tensor]) -> list[Tensor]:
    given = [tensor if tensor.dtype.itemsize >= 4 else tensor.float() for tensor in tensors]
    return list(torch._foreach_norm(given)) if given else []
