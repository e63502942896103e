"""An oracle for conversions: the model as it was given, with a reference PReLU computed at each call of an activation.

The oracle does not depend on the rewriting of the model. PyTorch's dispatch of functions, and hooks, replace the result
of the n-th activation of a pass through the model given. The outputs of the converted model are compared with those of
the oracle at slopes that are all different: at the slope of the former activation, a kernel that never calls the PReLU
would not be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.convert._places import Place
from slopewise.trace import Inputs, TraceRecorder, tensors_in, undisturbed


class PassesDifferError(Exception):
    """Raised if the model given takes other steps in this pass than in the watched one."""


Reference = Callable[[Tensor], Tensor]


def reference(slopes: Tensor, channel_dim: int) -> Reference:
    """Return the PReLU f(x) = x for x > 0, else a·x, with a slope for each channel or one for all.

    Example:
        >>> reference(torch.tensor([0.5, 2.0]), 1)(torch.tensor([[-1.0, -1.0], [3.0, -0.5]])).tolist()
        [[-0.5, -2.0], [3.0, -1.0]]
    """

    def compute(x: Tensor) -> Tensor:
        shape = [1] * x.dim()
        if slopes.numel() > 1:
            shape[channel_dim] = slopes.numel()
        return torch.where(x > 0, x, slopes.to(x).reshape(shape) * x)

    return compute


class Oracle(TraceRecorder):
    """Recorder of a pass that computes references in the places of activations.

    It counts function calls and module calls as `places_in` does, and so finds the same places in a pass that takes the
    same steps. `TraceRecorder` is a `TorchFunctionMode`: every function of PyTorch that a module calls with a tensor
    reaches `__torch_function__`, whatever the code around it.

    Attributes:
        left: Number of references that were not computed yet.
    """

    def __init__(self, instead: Mapping[Place, Reference]) -> None:
        super().__init__()
        self.functions = {place.number: (place, ref) for place, ref in instead.items() if place.function is not None}
        self.modules = {place.number: (place, ref) for place, ref in instead.items() if place.function is None}
        self.left = len(instead)
        self._functions_begun = self._calls_begun = 0
        self._waiting: dict[int, tuple[Place, Reference, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if not self.stack or self.stack[-1].op is not None:
            return super().__torch_function__(func, types, args, kwargs)
        call, planned = self.stack[-1], self.functions.get(self._functions_begun)
        count = len(call.steps)
        if planned is not None and func is planned[0].function:
            func = _computing(func, *planned)
            self.left -= 1
            del self.functions[self._functions_begun]
        result = super().__torch_function__(func, types, args, kwargs)
        self._functions_begun += len(call.steps) - count
        return result

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count a module call, and keep its input if the output is to be replaced."""
        within = bool(self.stack) and self.stack[-1].op is not None
        super().enter(module, args, kwargs)
        if within:
            return
        planned = self.modules.get(self._calls_begun)
        self._calls_begun += 1
        given = next(tensors_in((args, kwargs)), None)
        if planned is not None and given is not None:
            place, ref = planned
            # This code runs in a hook, within the mode: without this, it would be counted as calls of the model.
            with torch._C.DisableTorchFunction():
                self._waiting[id(self.stack[-1])] = (place, ref, given.clone() if place.inplace else given)
            self.left -= 1

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        """Return the reference's output for a module call that is to be replaced, else None."""
        call = self.stack[-1]
        super().leave(module, args, kwargs, result)
        planned = self._waiting.pop(id(call), None) if call.module is module else None
        if planned is None or not isinstance(result, Tensor):
            return None
        place, ref, given = planned
        with torch._C.DisableTorchFunction():
            output = ref(given)
            return next(tensors_in((args, kwargs))).copy_(output) if place.inplace else output


def _computing(func: Any, place: Place, ref: Reference) -> Callable[..., Tensor]:
    def compute(*args: Any, **kwargs: Any) -> Tensor:
        given = list(tensors_in((args, kwargs)))[place.argument]
        return given.copy_(ref(given.clone())) if place.inplace else ref(given)

    compute.__name__ = getattr(func, "__name__", str(func))
    return compute


def expected(
    model: nn.Module, inputs: Inputs, mode: str, instead: Mapping[Place, Reference], *, gradients: bool
) -> list[Tensor]:
    """Return the outputs of the given model with references in the places of its activations.

    Raises:
        PassesDifferError: Some place was not found in this pass.
    """
    oracle = Oracle(instead)
    with undisturbed(model), torch.set_grad_enabled(gradients), torch.compiler.set_stance("force_eager"):
        model.train(mode == "training")
        with ExitStack() as hooks:
            hooks.enter_context(oracle.hooked(model.modules()))
            given = inputs.copies()
            with oracle:
                result = model(*given.args, **given.kwargs)
            if oracle.left:
                raise PassesDifferError
            return [tensor.detach().clone() for tensor in tensors_in(result)]
