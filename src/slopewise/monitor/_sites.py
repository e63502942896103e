"""Watching the call sites of a model's activations while it trains: which they are, and what arrives at each.

In a sampled step every module has hooks, and a torch-function mode sees the functions that modules call. Outside of one
there is nothing. Gradients are seen by hooks on tensors and autograd nodes, which change neither of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from slopewise._activations import kind_of, kind_of_function
from slopewise._flow import tensors_in
from slopewise._record import Watch
from slopewise.monitor._clock import Clock
from slopewise.monitor._tally import Tally
from slopewise.nn import functional
from slopewise.nn._batch_norm_prelu import BatchNormPReLU
from slopewise.nn._prelu import PReLU
from slopewise.nn._slopes import slopes_in_use
from slopewise.optim import slope_name
from slopewise.optim._roles import plain

_Node = torch.autograd.graph.Node


@dataclass(eq=False)
class _Frame:
    """The call of a module that goes on.

    Attributes:
        applied: how often it has called each layer with slopes.
        inside: it is, or is within, an activation: what it calls itself is no other one.
        tally: of the activation that it is, if it is counted.
        node: what made z.
    """

    module: nn.Module
    applied: Counter[nn.Module] = field(default_factory=Counter)
    inside: bool = False
    tally: Tally | None = None
    node: _Node | None = None


class Sites(TorchFunctionMode):
    """The call sites of one model.

    Attributes:
        names: of all modules.
        tallies: of the sampled step that goes on, in the order of the forward pass.
        passes: counted forward passes in it.
        tied: layers with slopes that one call of a module applies at several places, or that several modules apply.
        notes: what cannot be seen, and why.
    """

    def __init__(self, model: nn.Module, clock: Clock, *, compiled: bool = False) -> None:
        super().__init__()
        self.model, self.clock = model, clock
        modules = dict(model.named_modules())
        self.names = {module: plain(modules, path) for path, module in modules.items()}
        self.tallies: dict[str, Tally] = {}
        self.passes = 0
        self.tied: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self._hidden = list(self._unseen(compiled))
        self._hooks = ExitStack()
        self._pass: ExitStack | None = None
        self._stack: list[_Frame] = []
        self._met: Counter[str] = Counter()  # how often each site was met in this pass
        self._task = -1
        self._axes: dict[str, int] = {}
        self._tracker: Watch | None = None
        self._track = True  # follow the next pass closely, to learn in which dimension each site has its channels
        self._callers: dict[nn.Module, nn.Module] = {}

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A counted forward pass of the model begins."""
        if not self.passes:
            self._install()
        self.passes += 1
        self._met.clear()
        self._stack = [_Frame(self.model)]
        self._pass = ExitStack()
        handle = self.model.register_forward_hook(self._on_end, always_call=True)
        self._pass.callback(handle.remove)
        if self._hidden:  # a compiler would trace this mode's code into its program, too
            return
        if self._track:
            self._track, self._tracker = False, Watch()
            self._tracker.enter(self.model, args, kwargs)
            self._pass.enter_context(self._tracker.hooked(self.names.keys() - {self.model}))
            self._pass.enter_context(self._tracker)
        self._pass.enter_context(self)

    def _on_end(self, *_: Any) -> None:
        self.end()

    def end(self) -> None:
        """It has ended, or was broken off by an error."""
        if self._pass is not None:
            self._pass.close()
        self._pass = self._tracker = None
        self._stack = []

    @property
    def within(self) -> bool:
        """Whether a counted forward pass goes on."""
        return self._pass is not None

    @property
    def busy(self) -> bool:
        """Whether a call of the model now is a part of another pass, forward or backward."""
        return self.within or _in_backward()

    def finish(self) -> dict[str, Tally]:
        """The sampled step has ended: take the hooks out, and hand over what was counted."""
        self.end()
        self._hooks.close()
        tallies, self.tallies, self.passes = self.tallies, {}, 0
        return tallies

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """See a function of torch's that some module calls."""
        kwargs = kwargs or {}
        kind = kind_of_function(func)
        if kind is None or not self._stack or self._stack[-1].inside:
            return func(*args, **kwargs)
        z = args[0] if args else kwargs["input"]
        with self.clock:
            tally = self._before(self._function_site(kind.name), kind.name, None, z)
        node = z.grad_fn
        result = func(*args, **kwargs)
        with self.clock:
            self._after(tally, result, node)
        return result

    def _install(self) -> None:
        hidden = {module for part in self._hidden for module in part.modules()}
        for module in self.names.keys() - hidden - {self.model}:
            before = module.register_forward_pre_hook(self._enter, with_kwargs=True)
            after = module.register_forward_hook(self._leave, with_kwargs=True, always_call=True)
            self._hooks.callback(before.remove)
            self._hooks.callback(after.remove)

    def _unseen(self, whole: bool) -> Iterator[nn.Module]:
        for module, name in self.names.items():
            compiled = getattr(module, "_compiled_call_impl", None) is not None or hasattr(module, "_orig_mod")
            compiled = compiled or (whole and module is self.model)
            if compiled or isinstance(module, torch.jit.ScriptModule):
                what = f"'{name or type(module).__name__}' is {'compiled' if compiled else 'a script'}"
                self.notes[
                    f"{what}: activations in it, and those that are functions anywhere, are not seen; slopes, "
                    f"gradients and updates are"
                ] = None
                yield module

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caller = self._stack[-1] if self._stack else None
        frame = _Frame(module, inside=caller is not None and caller.inside)
        self._stack.append(frame)
        kind = kind_of(module)
        fused = isinstance(module, BatchNormPReLU)
        if frame.inside or (kind is None and not fused):
            return
        frame.inside = True
        z = next(tensors_in((args, kwargs)), None)
        if z is None or not self.busy:
            return
        with self.clock:
            if caller is not None and slope_name(module) is not None:
                self._notice_tie(caller, module)
            site = self._numbered(self.names[module])
            if fused:
                frame.tally = self._tally(site, "prelu", module, z)
            elif kind is not None:
                frame.tally = self._before(site, kind.name, module, z)
            frame.node = z.grad_fn

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        frame = self._stack.pop()
        if frame.tally is None or not isinstance(result, Tensor):  # None where the call was broken off by an error
            return
        with self.clock:
            if isinstance(module, BatchNormPReLU):
                self._fused(frame.tally, module, result, *args, **kwargs)
            else:
                self._after(frame.tally, result, frame.node)

    def _before(self, site: str, activation: str, module: nn.Module | None, z: Tensor) -> Tally | None:
        tally = self._tally(site, activation, module, z)
        if tally is None:
            return None
        if not _in_backward():  # else gradient checkpointing computes it a second time
            tally.see(z)
        if torch.is_grad_enabled() and z.requires_grad:
            z.register_hook(partial(self._timed, tally.reach))
        return tally

    def _after(self, tally: Tally | None, y: Any, node: _Node | None) -> None:
        """`node` made z. Where y has none of its own, nothing flows back through this site."""
        if tally is None or not isinstance(y, Tensor) or y.grad_fn is None or y.grad_fn is node:
            return
        shape = y.shape

        def passed(behind: tuple[Tensor | None, ...], before: tuple[Tensor | None, ...]) -> None:
            gradient_z, gradient_y = behind[0], before[0]
            if gradient_z is not None and gradient_y is not None and gradient_z.shape == gradient_y.shape == shape:
                with self.clock:
                    tally.pass_on(gradient_z, gradient_y)

        if torch.is_grad_enabled():
            y.grad_fn.register_hook(passed)

    def _fused(
        self,
        tally: Tally,
        layer: BatchNormPReLU,
        y: Tensor,
        input: Tensor,  # noqa: A002 (PyTorch's name)
        residual: Tensor | None = None,
    ) -> None:
        """A layer that never shows its z. Its output has the same signs, unless a slope is negative."""
        slopes = slopes_in_use(layer.slope, layer.bounds, training=False).detach()
        # Looking at the slopes would make other devices wait; there z is computed again.
        same_signs = y.device.type == "cpu" and bool((slopes >= 0).all())
        source = y.detach() if same_signs else _pre_activation(layer, input.detach(), residual)
        if not _in_backward():
            tally.see(source)
        if not (torch.is_grad_enabled() and y.requires_grad):
            return
        version = source._version

        def arrived(gradient: Tensor) -> None:
            if source._version == version:  # else somebody wrote into the output, and the signs are lost
                with self.clock:
                    tally.pass_back(source, gradient, slopes)

        y.register_hook(arrived)

    def _timed(self, see: Any, gradient: Tensor) -> None:
        with self.clock:
            see(gradient)

    def _tally(self, site: str, activation: str, module: nn.Module | None, z: Tensor) -> Tally | None:
        """The site's sums, new ones in its first pass; None where z has other units than before."""
        tally = self.tallies.get(site)
        if tally is None:
            tally = self.tallies[site] = Tally(site, activation, self._axis(site, module, z), z)
        if tally.fits(z):
            return tally
        self.notes[f"'{site}' meets another number of units from call to call: only calls like the first count"] = None
        return None

    def _axis(self, site: str, module: nn.Module | None, z: Tensor) -> int:
        """Where z has its channels: the layer says it, or the layers before it do, else the second dimension."""
        if z.ndim < 2:
            return 0
        if isinstance(module, PReLU) and module.num_parameters > 1:
            return module.channel_dim % z.ndim
        if isinstance(module, BatchNormPReLU) or (isinstance(module, nn.PReLU) and module.num_parameters > 1):
            return 1
        if site not in self._axes:
            value = self._tracker.values.get(z) if self._tracker is not None else None
            if value is not None and value.axis is not None:
                self._axes[site] = value.axis.dim
            elif self._tracker is not None:
                self._axes[site] = 1
            else:
                self._track = True  # the next pass tells
        axis = self._axes.get(site, 1)
        return axis if axis < z.ndim else 1

    def _notice_tie(self, caller: _Frame, module: nn.Module) -> None:
        """One slope at several places. A network that is itself applied twice shares more than slopes, on purpose."""
        caller.applied[module] += 1
        times, first = caller.applied[module], self._callers.setdefault(module, caller.module)
        if times > 1:
            self.tied[self.names[module]] = f"applied {times} times by one call of {self._named(caller.module)}"
        elif first is not caller.module:
            self.tied[self.names[module]] = f"applied by {self._named(first)} and by {self._named(caller.module)}"

    def _named(self, module: nn.Module) -> str:
        return f"'{self.names[module]}'" if self.names.get(module) else "the model"

    def _function_site(self, function: str) -> str:
        """A module that does nothing but call the function gives the site its own name."""
        owner = self._stack[-1].module
        name = self.names.get(owner, type(owner).__name__)
        alone = name and not owner._modules and not owner._parameters
        return self._numbered(name if alone else f"{name}.{function}()".removeprefix("."))

    def _numbered(self, name: str) -> str:
        task = torch._C._current_graph_task_id()
        if task not in (-1, self._task):  # the first that is computed again in this backward pass
            self._task = task
            self._met.clear()
        self._met[name] += 1
        return name if self._met[name] == 1 else f"{name} ({self._met[name]})"


def _in_backward() -> bool:
    """Whether a backward pass goes on in this thread: what is then computed forward is computed again."""
    return torch._C._current_graph_task_id() != -1


@torch.no_grad()
def _pre_activation(layer: BatchNormPReLU, input: Tensor, residual: Tensor | None) -> Tensor:  # noqa: A002
    """BatchNorm(x) + r as the call that just ended had it; running statistics stay as they are."""
    own = layer.training or layer.running_mean is None
    return functional.batch_norm_add_prelu(
        input,
        None if residual is None else residual.detach(),
        1.0,
        None if own else layer.running_mean,
        None if own else layer.running_var,
        layer.weight,
        layer.bias,
        training=own,
        eps=layer.eps,
    )
