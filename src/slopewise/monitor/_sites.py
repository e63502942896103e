"""Call sites of a model's activations while it trains: their names, and the counts at each.

In a sampled step, every module has hooks, and a torch-function mode sees the functions that modules call. In other
steps there are none of them. Gradients are seen by hooks on tensors and autograd nodes, which change neither of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.utils.parametrize import ParametrizationList
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils.hooks import RemovableHandle

from slopewise.activations import kind_of, kind_of_function
from slopewise.modules import plain
from slopewise.monitor._calls import call_of, goes_on
from slopewise.monitor._channels import Channels
from slopewise.monitor._clock import Clock
from slopewise.monitor._gradients import in_backward, timed, watch_fused, watch_through
from slopewise.monitor._hook import Hook
from slopewise.monitor._silent import is_silent
from slopewise.monitor._tally import Tally
from slopewise.nn import BatchNormPReLU
from slopewise.ops.units import KeptSigns
from slopewise.optim import slope_name
from slopewise.trace import tensors_in

# Private, but the public torch.overrides has no equivalent that is a plain context manager: without it, the mode would
# see the monitor's own computations, and count them as the model's.
_Quiet = torch._C.DisableTorchFunction


class _Frame:
    """Call of a module that has not returned.

    Attributes:
        module: The module.
        inside: True if the module is an activation or within one, so that functions it calls are no other call sites.
        applied: Number of times that the call has applied each layer with slopes.
        tally: Sums of the activation that the module is; None if it is none, or is not counted.
        edge: Edge of the autograd graph that takes the gradient of the pre-activation z; None if z has none.
        z: The pre-activation; None where it is not counted.
        kept: Signs of z, if they are kept.
        pauses: True if the functions that the call makes are not looked at.
    """

    __slots__ = ("applied", "edge", "inside", "kept", "module", "pauses", "tally", "z")

    def __init__(self, module: nn.Module, *, inside: bool = False) -> None:
        self.module, self.inside = module, inside
        self.applied: dict[nn.Module, int] = {}
        self.tally: Tally | None = None
        self.edge: GradientEdge | None = None
        self.z: Tensor | None = None
        self.kept: KeptSigns | None = None
        self.pauses = False


class Sites(TorchFunctionMode):
    """Call sites of one model.

    Attributes:
        names: Names of all modules.
        tallies: Sums of the present sampled step by call site, in the order of the forward pass.
        passes: Number of counted forward passes in the step.
        tied: Layers with slopes that one call of a module applies several times, or that several modules apply, each
            with a description.
        notes: Notes about what cannot be seen, with the reasons.
    """

    def __init__(
        self, model: nn.Module, clock: Clock, *, activations: Iterable[nn.Module] = (), compiled: bool = False
    ) -> None:
        super().__init__()
        self.model, self.clock = model, clock
        self.names: dict[nn.Module, str] = {}
        self._activations = frozenset(activations)  # beside those that are known
        self.tallies: dict[str, Tally] = {}
        self.passes = 0
        self.tied: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        self._compiled = compiled
        self._traced = False  # a compiler would trace this mode's code into its program, too
        self._hidden = self._look()
        self._hooks = ExitStack()
        self._handles: list[RemovableHandle] = []  # of modules
        self._pass: ExitStack | None = None
        self._call: FrameType | None = None  # of the model, in the present pass
        self._again = ExitStack()  # what gradient checkpointing computes again, within the backward pass
        self._stack: list[_Frame] = []
        self._met: Counter[str] = Counter()  # how often each site was met in this pass
        self._task = -1
        self._channels = Channels(model)
        self._callers: dict[str, str] = {}  # of layers with slopes, the module that was the first to apply each

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin a counted forward pass of the model."""
        # An interrupted backward pass may have left it open. Its mode went with that pass, as all that autograd sets.
        self._again = ExitStack()
        if not self.passes:
            self._install()
        self.passes += 1
        self._met.clear()
        self._stack = [_Frame(self.model)]
        self._pass, self._call = ExitStack(), call_of(self.model)
        self._pass.callback(self.model.register_forward_hook(self._on_end, always_call=True).remove)
        if self.model in self._hidden:
            return
        visible = self.names.keys() - self._hidden - {self.model}
        self._channels.follow(self._pass, args, kwargs, visible, functions=not self._traced)
        if not self._traced:
            self._pass.enter_context(self)

    def _on_end(self, *_: Any) -> None:
        self.end()

    def end(self) -> None:
        """End the forward pass, whether it has returned or raised an error."""
        if self._pass is not None:
            for frame in self._stack:  # calls that were broken off
                self._resume(frame)
            self._pass.close()
        self._pass = self._call = None
        self._stack = []

    def end_interrupted(self) -> None:
        """End a pass that Ctrl-C has broken off: PyTorch calls no hook then, and only the next call can tell."""
        if self._call is not None and not goes_on(self._call):
            self.end()

    @property
    def within(self) -> bool:
        """True during a counted forward pass."""
        return self._pass is not None

    @property
    def busy(self) -> bool:
        """True if a call of the model now is a part of another pass, forward or backward."""
        return self.within or in_backward() or _transformed()

    @property
    def gradients(self) -> int:
        """Number of gradients that have arrived at call sites in this sampled step."""
        return sum(tally.gradients for tally in self.tallies.values())

    @property
    def broken(self) -> bool:
        """True if a pre-activation of this sampled step was NaN or infinite; waits for the device."""
        return any(tally.broken for tally in self.tallies.values())

    @property
    def finite(self) -> bool:
        """True if all that call sites of this sampled step have seen was finite; waits for the device."""
        return all(tally.finite for tally in self.tallies.values())

    def finish(self) -> dict[str, Tally]:
        """End the sampled step: remove the hooks, and return the sums by call site."""
        self.end()
        self._hooks.close()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        tallies, self.tallies, self.passes = self.tallies, {}, 0
        return tallies

    def state_dict(self) -> dict[str, Any]:
        """Return what is known from earlier sampled steps, as plain data."""
        return {
            "tied": dict(self.tied),
            "callers": dict(self._callers),
            "notes": list(self.notes),
            "channels": self._channels.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of the same model's call sites."""
        self.tied, self.notes = dict(state["tied"]), dict.fromkeys(state["notes"])
        self._callers = dict(state.get("callers", {}))  # earlier versions had none
        self._channels.load_state_dict(state["channels"])

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Count the pre-activation of a function that a module calls, if the function is an activation."""
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            return func(*args, **kwargs)
        kind = None if not self._stack or self._stack[-1].inside else kind_of_function(func)
        if kind is None:
            return func(*args, **kwargs)
        z = args[0] if args else kwargs["input"]
        with self.clock, _Quiet():
            tally, kept = self._before(self._function_site(kind.name), kind.name, None, z)
            edge = _edge(z)
        result = func(*args, **kwargs)
        with self.clock, _Quiet():
            self._after(tally, z, result, edge, kept)
        return result

    def _install(self) -> None:
        self._hidden = self._look()
        enter, leave = Hook(self._enter), Hook(self._leave)
        for module in self.names.keys() - self._hidden - {self.model}:
            if module in self._activations or not is_silent(module):
                self._handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
                self._handles.append(module.register_forward_hook(leave, with_kwargs=True, always_call=True))

    def _look(self) -> set[nn.Module]:
        """Look at all modules; return those within compiled ones and scripts, of which the outermost are noted."""
        if list(self.names) != list(self.model.modules()):
            modules = dict(self.model.named_modules())
            self.names = {module: plain(modules, path) for path, module in modules.items()}
        hidden: set[nn.Module] = set()
        for module, name in self.names.items():
            compiled = _is_compiled(module) or (self._compiled and module is self.model)
            if module in hidden or not (compiled or isinstance(module, torch.jit.ScriptModule)):
                continue
            hidden |= set(module.modules())
            self._traced = self._traced or compiled
            functions = ", and those that are functions anywhere," if compiled else ""
            self.notes.setdefault(
                f"'{name or type(module).__name__}' is {'compiled' if compiled else 'a script'}: activations in it"
                f"{functions} are not seen; slopes, gradients and updates are"
            )
        return hidden

    def _enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            return
        if not self._stack and in_backward() and not self._traced:
            self._again.enter_context(self)
        caller = self._stack[-1] if self._stack else None
        # What a parametrisation does to weights is no activation.
        frame = _Frame(module, inside=isinstance(module, ParametrizationList) or (caller is not None and caller.inside))
        self._stack.append(frame)
        kind = self._activation(module)
        if frame.inside or kind is None:
            return
        frame.inside = True
        z = next(tensors_in((args, kwargs)), None)
        if z is not None and self.busy:
            with self.clock, _Quiet():
                self._apply(frame, caller, kind, z)
        self._pause(frame)

    def _apply(self, frame: _Frame, caller: _Frame | None, kind: str, z: Tensor) -> None:
        """Count the pre-activation of a module that is an activation."""
        module = frame.module
        if caller is not None and slope_name(module) is not None:
            self._notice_tie(caller, module)
        site = self._numbered(self.names[module])
        if isinstance(module, BatchNormPReLU):
            frame.tally = self._tally(site, kind, module, z)
        else:
            frame.tally, frame.kept = self._before(site, kind, module, z)
            frame.z, frame.edge = z, _edge(z)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if torch.compiler.is_compiling():
            return
        frame = self._stack.pop()
        self._resume(frame)
        if not self._stack:
            self._again.close()
        if frame.tally is None or not isinstance(result, Tensor):  # None where the call was broken off by an error
            return
        with self.clock, _Quiet():
            if isinstance(module, BatchNormPReLU):
                self._fused(frame.tally, module, result, *args, **kwargs)
            elif module not in self._activations:
                self._after(frame.tally, frame.z, result, frame.edge, frame.kept)
            elif torch.is_grad_enabled() and result.requires_grad:
                # Several operations, and so no node of its own: what arrives at z counts as behind it.
                result.register_hook(timed(self.clock, frame.tally.arrive))

    def _pause(self, frame: _Frame) -> None:
        """Do not look at functions until the call returns: a fused layer alone calls forty, in as many detours."""
        # Private, but what `with` itself does. Without it, each function would pass through `__torch_function__`. A
        # mode that the model has entered meanwhile stays where it is, and this one below it.
        if _get_current_function_mode() is self:
            self.__exit__(None, None, None)
            frame.pauses = True

    def _resume(self, frame: _Frame) -> None:
        if frame.pauses:
            self.__enter__()  # type: ignore[no-untyped-call]
            frame.pauses = False

    def _activation(self, module: nn.Module) -> str | None:
        """Return the name of a module's kind of activation; None if it is no activation."""
        kind = kind_of(module)
        if kind is not None:
            return kind.name
        if isinstance(module, BatchNormPReLU):
            return "prelu"
        return type(module).__name__.lower() if module in self._activations else None

    def _before(
        self, site: str, activation: str, module: nn.Module | None, z: Tensor
    ) -> tuple[Tally | None, KeptSigns | None]:
        tally = self._tally(site, activation, module, z)
        if tally is None:
            return None, None
        learns, kept = torch.is_grad_enabled() and z.requires_grad, None
        if not in_backward():  # else gradient checkpointing computes it a second time
            kept = tally.see(z, keep=learns and activation == "relu")
        if learns:
            handle = z.register_hook(timed(self.clock, tally.leave if module in self._activations else tally.reach))
            if z.is_leaf:  # it outlives the graph
                self._hooks.callback(handle.remove)
        return tally, kept

    def _after(
        self, tally: Tally | None, z: Tensor | None, y: Any, edge: GradientEdge | None, kept: KeptSigns | None
    ) -> None:
        if tally is None or edge is None or not isinstance(y, Tensor):
            return
        if y is z and y._is_view():
            self.notes.setdefault(f"'{tally.site}' works in place on a view: its gradients are not seen")
        else:
            watch_through(y, edge, tally, self.clock, kept)

    def _fused(
        self,
        tally: Tally,
        layer: BatchNormPReLU,
        y: Tensor,
        input: Tensor,  # noqa: A002 (PyTorch's name)
        residual: Tensor | None = None,
    ) -> None:
        note = f"the output of '{tally.site}' is changed in place: its gradients are not seen"
        on_change = partial(self.notes.setdefault, note)
        watch_fused(y, layer, input, residual, tally, self.clock, on_change)

    def _tally(self, site: str, activation: str, module: nn.Module | None, z: Tensor) -> Tally | None:
        """Return the sums of a call site, new ones in its first pass; None where z cannot be counted."""
        if z.layout is not torch.strided or z.is_nested or not z.is_floating_point() or _transformed():
            self.notes.setdefault(f"'{site}' meets tensors that are sparse, nested, whole numbers or within torch.func")
            return None
        axis = self._channels.axis(site, module, z)
        if axis is None:
            return None
        tally = self.tallies.get(site)
        if tally is None:
            with torch.inference_mode(mode=False):  # training will add to what evaluation began
                tally = self.tallies[site] = Tally(site, activation, axis, z)
        if tally.fits(z):
            return tally
        self.notes.setdefault(f"'{site}' meets another number of units from call to call: calls like the first count")
        return None

    def _notice_tie(self, caller: _Frame, module: nn.Module) -> None:
        """Note slopes that are applied at several places, unless the network itself is applied twice, on purpose."""
        times = caller.applied[module] = caller.applied.get(module, 0) + 1
        layer, name = self.names[module], self.names[caller.module]
        first = self._callers.setdefault(layer, name)
        if times > 1:
            self.tied[layer] = f"applied {times} times by one call of {_named(name)}"
        elif first != name:
            self.tied[layer] = f"applied by {_named(first)} and by {_named(name)}"

    def _function_site(self, function: str) -> str:
        """Return a function's call site: the module's own name, if the module does nothing but call the function."""
        owner = self._stack[-1].module
        name = self.names.get(owner, type(owner).__name__)
        alone = name and not owner._modules and (not owner._parameters or slope_name(owner) is not None)
        return self._numbered(name if alone else f"{name}.{function}()".removeprefix("."))

    def _numbered(self, name: str) -> str:
        task = torch._C._current_graph_task_id()
        if task not in (-1, self._task):  # the first that is computed again in this backward pass
            self._task = task
            self._met.clear()
        self._met[name] += 1
        return name if self._met[name] == 1 else f"{name} ({self._met[name]})"


def _named(module: str) -> str:
    return f"'{module}'" if module else "the model"


def _edge(z: Tensor) -> GradientEdge | None:
    return get_gradient_edge(z) if torch.is_grad_enabled() and z.requires_grad else None


def _transformed() -> bool:
    """Return True within torch.func's vmap, grad and the like, whose tensors stand for others."""
    # Private: PyTorch has no public way to ask. Without it, sums would hold wrappers that must not leave the transform.
    return torch._C._functorch.peek_interpreter_stack() is not None


def _is_compiled(module: nn.Module) -> bool:
    """Return True for a module that `torch.compile` runs, whichever of its three ways was taken.

    The traces of `module.compile()`, `torch.compile(module)` and a compiled `forward` are private. Without them, hooks
    would be traced into the compiled program, which would break its graph.
    """
    return (
        module._compiled_call_impl is not None
        or "_orig_mod" in module._modules
        or hasattr(module.forward, "_torchdynamo_orig_callable")
    )
