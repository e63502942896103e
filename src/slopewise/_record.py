"""Watching a forward pass: module calls by hooks, functions by PyTorch's own dispatch."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from slopewise._axes import axis_of
from slopewise._flow import Call, Flow, Inputs, Op, Value, Where, tensors_in
from slopewise._undisturbed import undisturbed
from slopewise.nn._batch_norm_prelu import BatchNormPReLU
from slopewise.nn._prelu import PReLU

_TORCH = Path(torch.__file__).parent
# Between the code that applies an activation and the place where it is noticed, nothing but these may stand.
_PASSED_THROUGH = {__file__, *(str(_TORCH / name) for name in ("nn/functional.py", "overrides.py", "_tensor.py"))} | {
    str(_TORCH / "nn/modules" / name) for name in ("module.py", "activation.py")
}
# What asks for a tensor's description, not for its values.
DESCRIPTIONS = frozenset(
    (
        *("__get__", "__len__", "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "type"),
        *("is_floating_point", "is_complex", "data_ptr", "element_size", "get_device", "storage_offset", "has_names"),
        *("untyped_storage", "is_inference"),
    )
)


def is_whole(module: nn.Module) -> bool:
    """Whether a module is one operation: a layer of PyTorch's without children, or one of ours."""
    if isinstance(module, (PReLU, BatchNormPReLU, torch.jit.ScriptModule)):
        return True
    return type(module).__module__.startswith("torch.nn.") and not module._modules and not _is_container(module)


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or type(module) is nn.Module


def record(model: nn.Module, inputs: Inputs, *, training: bool) -> Flow:
    """Run a model on copies of inputs and watch.

    The model is left as it was. Hooks of the model's are called.
    """
    watch = Watch()
    with undisturbed(model):
        model.train(training)
        with ExitStack() as hooks, torch.no_grad(), torch.compiler.set_stance("force_eager"):
            hooks.enter_context(watch.hooked(model.modules()))
            given = inputs.copies()
            with watch:
                result = model(*given.args, **given.kwargs)
            return watch.finish(result)


class Watch(TorchFunctionMode):
    """Watches one forward pass; its hooks must be in the model's modules meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.values: WeakIdKeyDictionary = WeakIdKeyDictionary()  # the latest value of each living tensor
        self.stack: list[Call] = []
        self.root: Call | None = None

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.stack or self.stack[-1].op is not None:  # within a whole
            return func(*args, **kwargs)
        inputs = self._values((args, kwargs))
        # The tensors themselves would keep every activation alive, and one changed in place is another value later.
        given, named = torch.utils._pytree.tree_map_only(Tensor, self._value, (args, kwargs))
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        changed = args[0] if name == "__setitem__" else result
        if name not in DESCRIPTIONS or next(tensors_in(changed), None) is not None:
            call = self.stack[-1]
            op = Op(name, func, call, _where(call.module), given, named, inputs)
            call.steps.append(op)
            self._ends(op, changed)
        return result

    @contextmanager
    def hooked(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """A block in which these modules' calls are noticed."""
        with ExitStack() as hooks:
            for module in modules:
                before = module.register_forward_pre_hook(self.enter, with_kwargs=True, prepend=True)
                after = module.register_forward_hook(self.leave, with_kwargs=True, always_call=True)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
            yield

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notice that a module is called."""
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.op is not None:  # within a whole
            self.stack.append(parent)
            return
        call = Call(module, parent, None if parent is None else _where(parent.module))
        call.inputs = self._values((args, kwargs))
        if parent is None:
            self.root = call
        else:
            parent.steps.append(call)
        if is_whole(module):
            call.op = Op(type(module).__name__, None, call, call.where, inputs=call.inputs)
        self.stack.append(call)

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:  # noqa: ARG002
        """Notice what it returned."""
        call = self.stack.pop()
        if call.module is not module:  # within a whole
            return
        if call.op is not None:
            self._ends(call.op, result)
        call.outputs = self._values(result)

    def finish(self, result: Any) -> Flow:
        """The whole pass, once it has returned `result`."""
        if self.root is None:
            raise RuntimeError("the model's forward pass calls no module")
        output = Op("output", None, self.root, None, inputs=self._values(result))
        for value in output.inputs:
            value.users.append(output)
        return Flow(self.root, output)

    def _ends(self, op: Op, result: Any) -> None:
        for value in op.inputs:
            value.users.append(op)
        for tensor in tensors_in(result):
            value = Value(_shape(tensor), tensor.dtype, tensor.device, op)
            value.axis = None if tensor.is_nested else axis_of(op, value.shape)
            op.outputs.append(value)
            self.values[tensor] = value

    def _value(self, tensor: Tensor) -> Value:
        value = self.values.get(tensor)
        if value is None:
            value = self.values[tensor] = Value(_shape(tensor), tensor.dtype, tensor.device)
        return value  # type: ignore[no-any-return]

    def _values(self, found: Any) -> list[Value]:
        return [self._value(tensor) for tensor in tensors_in(found)]


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return () if tensor.is_nested else tuple(tensor.shape)  # a nested one refuses to say


def _where(owner: nn.Module) -> Where | None:
    """Where in a method of `owner` the call was made that is being noticed now."""
    frame, direct = sys._getframe(1), True
    while frame is not None:
        code = frame.f_code
        first = code.co_varnames[0] if code.co_argcount else None
        if first is not None and frame.f_locals.get(first) is owner:
            return Where(code, frame.f_lasti, direct)
        direct = direct and code.co_filename in _PASSED_THROUGH
        frame = frame.f_back  # type: ignore[assignment]
    return None
