"""Recorder of a forward pass: module calls by hooks, functions by PyTorch's own dispatch."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.trace._axes import axis_of
from slopewise.trace._data import ForwardTrace, Inputs, ModuleCall, OpCall, Value, Where, tensors_in
from slopewise.trace._undisturbed import undisturbed

_TORCH = Path(torch.__file__).parent
# Functions that draw numbers: their results are data, although they depend on no input.
_RANDOM = frozenset(
    (
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli"),
        *("poisson", "multinomial", "uniform", "exponential", "log_normal", "cauchy", "geometric", "random", "rrelu"),
    )
)
# Only frames of these files may stand between the code that applies an activation and the place that records it.
_PASSED_THROUGH = {__file__, *(str(_TORCH / name) for name in ("nn/functional.py", "overrides.py", "_tensor.py"))} | {
    str(_TORCH / "nn/modules" / name) for name in ("module.py", "activation.py")
}
# Functions that return a tensor's description, not its values.
DESCRIPTIONS = frozenset(
    (
        *("__get__", "__len__", "size", "dim", "ndimension", "numel", "nelement", "stride", "is_contiguous", "type"),
        *("is_floating_point", "is_complex", "data_ptr", "element_size", "get_device", "storage_offset", "has_names"),
        *("untyped_storage", "is_inference"),
    )
)


def is_whole(module: nn.Module) -> bool:
    """Return True if a module is one operation: a layer of PyTorch's without children, or one of ours."""
    if isinstance(module, (PReLU, BatchNormPReLU, torch.jit.ScriptModule)):
        return True
    return type(module).__module__.startswith("torch.nn.") and not module._modules and not _is_container(module)


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) or type(module) is nn.Module


def trace_forward(model: nn.Module, inputs: Inputs, *, training: bool, gradients: bool = False) -> ForwardTrace:
    """Run a model on copies of inputs and record the pass, with gradients on or off.

    The model is left as it was. Its own hooks are called.
    """
    flow, whole = _recorded(model, inputs, training=training, gradients=gradients, below=False)
    # Scripted functions keep what they do from the function mode; a second pass looks below it.
    return flow if whole else _recorded(model, inputs, training=training, gradients=gradients, below=True)[0]


def _recorded(
    model: nn.Module, inputs: Inputs, *, training: bool, gradients: bool, below: bool
) -> tuple[ForwardTrace, bool]:
    """Return the record of one pass, and True if every tensor in it came from a recorded operation."""
    watch = TraceRecorder(_there_before(model))
    with undisturbed(model):
        model.train(training)
        with ExitStack() as hooks, torch.set_grad_enabled(gradients), torch.compiler.set_stance("force_eager"):
            hooks.enter_context(watch.hooked(model.modules()))
            given = inputs.copies()
            if below:
                hooks.enter_context(_Below(watch))
            with watch:
                result = model(*given.args, **given.kwargs)
            return watch.finish(result), not watch.met_strangers


def _there_before(model: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors that a model holds: parameters, buffers, and attributes of its modules."""
    for module in model.modules():
        yield from tensors_in([module._parameters, module._buffers])
        yield from tensors_in([item for name, item in vars(module).items() if not name.startswith("_")])


class TraceRecorder(TorchFunctionMode):
    """Records one forward pass; its hooks must be in the model's modules meanwhile.

    Args:
        there_before: Tensors that depend on no input. Any others that no operation returned are taken for inputs.
    """

    def __init__(self, there_before: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.values: WeakIdKeyDictionary = WeakIdKeyDictionary()  # the latest value of each living tensor
        self.stack: list[ModuleCall] = []
        self.root: ModuleCall | None = None
        self.busy = False  # a function that was noticed is at work
        self.met_strangers = False
        self._count = 0
        self._written: dict[int, StorageWeakRef] = {}  # memory to which data were written, by way of any view
        for tensor in there_before:
            self.values[tensor] = Value(_shape(tensor), tensor.dtype, tensor.device, data=False, constant=tensor)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return self.notice(func, args, kwargs)

    def notice(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, hidden: bool = False) -> Any:
        """Call a function, and record it as an operation, unless it is a part of one."""
        if self.busy or not self.stack or self.stack[-1].op is not None:
            return func(*args, **kwargs)
        inputs = self._values((args, kwargs))
        # The tensors themselves would keep every activation alive, and one changed in place is another value later.
        given, named = torch.utils._pytree.tree_map_only(Tensor, self._value, (args, kwargs))
        self.busy = True
        try:
            result = func(*args, **kwargs)
        finally:
            self.busy = False
        name = getattr(func, "__name__", str(func))
        changed = args[0] if name == "__setitem__" else result
        if name not in DESCRIPTIONS or next(tensors_in(changed), None) is not None:
            call = self.stack[-1]
            where = _where(call.module)
            if hidden and where is not None:
                where = dataclasses.replace(where, direct=False)
            op = OpCall(name, func, call, where, given, named, inputs)
            call.steps.append(op)
            self._ends(op, changed)
        return result

    @contextmanager
    def hooked(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """Return a context in which calls of these modules are recorded."""
        scripts: set[nn.Module] = set()  # which take no hooks of their own
        with ExitStack() as hooks:
            for module in modules:
                if isinstance(module, torch.jit.ScriptModule):
                    scripts.add(module)
                    continue
                before = module.register_forward_pre_hook(self.enter, with_kwargs=True, prepend=True)
                after = module.register_forward_hook(self.leave, with_kwargs=True, always_call=True)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
            if scripts:
                hooks.enter_context(self._scripts_hooked(scripts))
            yield

    @contextmanager
    def _scripts_hooked(self, scripts: set[nn.Module]) -> Iterator[None]:
        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            if module in scripts:
                self.enter(module, args, {})

        def leave(module: nn.Module, args: tuple[Any, ...], result: Any) -> Any:
            return self.leave(module, args, {}, result) if module in scripts else None

        before = nn.modules.module.register_module_forward_pre_hook(enter)
        after = nn.modules.module.register_module_forward_hook(leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record that a module is called."""
        parent = self.stack[-1] if self.stack else None
        if parent is not None and parent.op is not None:  # inside a module that is one operation
            self.stack.append(parent)
            return
        call = ModuleCall(module, parent, None if parent is None else _where(parent.module))
        # Private, but the public torch.overrides has no such context: the recorder would record its own questions.
        with torch._C.DisableTorchFunction():
            call.inputs = self._values((args, kwargs))
        if parent is None:
            self.root, self.met_strangers = call, False
        else:
            parent.steps.append(call)
        if is_whole(module):
            call.op = OpCall(type(module).__name__, None, call, call.where, inputs=call.inputs)
        self.stack.append(call)

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:  # noqa: ARG002
        """Record the result of a module's call."""
        call = self.stack.pop()
        if call.module is not module:  # inside a module that is one operation
            return
        with torch._C.DisableTorchFunction():
            if call.op is not None:
                self._ends(call.op, result)
            call.outputs = self._values(result)

    def finish(self, result: Any) -> ForwardTrace:
        """Return the record of the pass, which has returned `result`."""
        if self.root is None:
            raise RuntimeError("the model's forward pass calls no module")
        output = OpCall("output", None, self.root, None, inputs=self._values(result))
        for value in output.inputs:
            value.users.append(output)
        return ForwardTrace(self.root, output)

    def _ends(self, op: OpCall, result: Any) -> None:
        op.number, self._count = self._count, self._count + 1
        operands = set(op.inputs)
        for value in op.inputs:
            value.users.append(op)
        plain = op.name.partition(".")[0].rstrip("_")
        data = plain in _RANDOM or any(value.data for value in operands)
        for tensor in tensors_in(result):
            if data and self.values.get(tensor) in operands:  # changed in place
                self._write(tensor)
            value = Value(_shape(tensor), tensor.dtype, tensor.device, op, data=data)
            value.axis = None if tensor.is_nested else axis_of(op, value.shape)
            op.outputs.append(value)
            self.values[tensor] = value

    def _value(self, tensor: Tensor) -> Value:
        value = self.values.get(tensor)
        if value is None:
            self.met_strangers = True
            value = self.values[tensor] = Value(_shape(tensor), tensor.dtype, tensor.device)
        elif not value.data and self._was_written(tensor):
            value = self.values[tensor] = dataclasses.replace(value, users=[], data=True, constant=None)
        return value  # type: ignore[no-any-return]

    def _values(self, data: Any) -> list[Value]:
        return [self._value(tensor) for tensor in tensors_in(data)]

    def _write(self, tensor: Tensor) -> None:
        reference = _storage(tensor)
        if reference is not None:
            self._written[reference.cdata] = reference

    def _was_written(self, tensor: Tensor) -> bool:
        if not self._written:
            return False
        reference = _storage(tensor)
        return reference is not None and reference.cdata in self._written


class _Below(TorchDispatchMode):
    """Mode that shows a recorder the operations that no Python function calls: those of scripted functions."""

    def __init__(self, watch: TraceRecorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return self.watch.notice(func, args, kwargs or {}, hidden=True)


def _storage(tensor: Tensor) -> StorageWeakRef | None:
    """Return a tensor's memory; None where it has none of its own, like sparse and nested tensors."""
    if (
        tensor.layout is not torch.strided
        or tensor.is_nested
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)  # private: there is no public way to ask
    ):
        return None
    return StorageWeakRef(tensor.untyped_storage())


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return () if tensor.is_nested else tuple(tensor.shape)  # a nested one refuses to say


def _where(owner: nn.Module) -> Where | None:
    """Return the place in a method of `owner` from which the present call was made."""
    frame, direct = sys._getframe(1), True
    while frame is not None:
        code = frame.f_code
        first = code.co_varnames[0] if code.co_argcount else None
        if first is not None and frame.f_locals.get(first) is owner:
            return Where(code, frame.f_lasti, direct)
        direct = direct and code.co_filename in _PASSED_THROUGH
        frame = frame.f_back  # type: ignore[assignment]
    return None
