"""A model as a program of PyTorch's own operations, by torch.export."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from slopewise.errors import ExportError
from slopewise.export._call import Call
from slopewise.export._error import cannot_be_free, reason
from slopewise.export._outputs import named, plain
from slopewise.modules import Policy, unwrap
from slopewise.trace import undisturbed

_WRAPPERS: Policy = {"compiled": "open", "data parallel": "open", "distributed": "open"}


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model without the wrappers of torch.compile and data parallelism."""
    return unwrap(model, _WRAPPERS).model


@contextlib.contextmanager
def as_deployed(model: torch.nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode and make its outputs plain within the block; restore it afterwards."""
    hook = model.register_forward_hook(lambda _module, _inputs, output: plain(output))
    try:
        with undisturbed(model), torch.no_grad():
            model.eval()
            yield
    finally:
        hook.remove()


def first_names(model: torch.nn.Module) -> dict[str, str]:
    """Map every name of a parameter or buffer to its first name in the model, for modules that are used twice.

    Example:
        >>> act = torch.nn.PReLU()
        >>> first_names(torch.nn.Sequential(act, act))
        {'0.weight': '0.weight', '1.weight': '0.weight'}
    """
    first: dict[int, str] = {}
    parameters, buffers = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    return {name: first.setdefault(id(tensor), name) for name, tensor in itertools.chain(parameters, buffers)}


def run(program: torch.export.ExportedProgram, call: Call) -> list[Tensor]:
    """Return the outputs of a program."""
    try:
        output = program.module()(*call.args, **call.kwargs)
    except Exception as error:  # of many classes
        raise ExportError(
            f"the program that torch.export traced does not take {call} ({reason(error)}): mend that in the model's "
            f"forward, or {call.fixing}"
        ) from error
    return [tensor for _, tensor in named(output)]


def input_shapes(program: torch.export.ExportedProgram) -> list[torch.Size]:
    """Return the shape of each tensor that a program takes, with symbols for free sizes."""
    given = set(program.graph_signature.user_inputs)
    values = (node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in given)
    return [value.shape for value in values if isinstance(value, Tensor)]


def outputs(model: torch.nn.Module, call: Call) -> dict[str, Tensor]:
    """Return the tensors in a model's output by name; the model is inside `as_deployed`, which makes outputs plain."""
    return dict(named(model(*call.args, **call.kwargs)))


def refusal(model: torch.nn.Module, call: Call) -> Exception | None:
    """Return the model's own error for a call, or None if it takes the call."""
    try:
        outputs(model, call)
    except Exception as error:  # a model may raise anything; the caller reports it
        return error
    return None


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Suppress the warnings, logs and output of exporters, which concern their internals, unless `verbose`."""
    if verbose:
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    rest = io.StringIO()  # a failed trace prints its graph
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(rest), contextlib.redirect_stderr(rest):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def captured(model: torch.nn.Module, call: Call) -> torch.export.ExportedProgram:
    """Trace the model as a program that takes other sizes of the call's free dimensions."""
    names = call.sizes
    several = call.resized({name: 2 for name, size in names.items() if size < 2})  # a size of 1 is taken for a constant
    try:
        return _exported(model, several)
    except ExportError as error:
        if not names:
            raise
        _exported(model, dataclasses.replace(call, free=()))  # raises if the sizes are not the cause
        raise _fixed(model, several, error) from error


def _fixed(model: torch.nn.Module, call: Call, error: ExportError) -> ExportError:
    """Return an error that names the free dimensions that the model fixes: those that cannot be free even alone."""
    guilty: dict[str, BaseException] = {}
    for name in call.sizes:
        free = [{place: one for place, one in dims.items() if one.name == name} for dims in call.free]
        try:
            _exported(model, dataclasses.replace(call, free=free))
        except ExportError as one:
            guilty[name] = one.__cause__ or one
    if list(guilty) == [call.batch]:
        return ExportError(
            f"the size of the batch is fixed somewhere in the model's forward ({reason(guilty[str(call.batch)])}): "
            "mend that, or pass dynamic_batch=False for a file that takes the example's batch size alone"
        )
    for name in guilty:
        size = call.sizes[name]
        refused = refusal(model, call.resized({name: size + 1}))
        if refused is not None:  # which names the place better than torch.export
            return ExportError(cannot_be_free(f"'{name}'", size, size + 1, refused, model))
    sizes = " and ".join(f"'{name}' at {call.sizes[name]}" for name in guilty or call.sizes)
    why = reason(next(iter(guilty.values()), error.__cause__ or error))
    return ExportError(
        f"the model's forward fixes {sizes} ({why}): mend that, or leave these dimensions out of dynamic_shapes"
    )


def _exported(model: torch.nn.Module, call: Call) -> torch.export.ExportedProgram:
    """Trace the model as it runs, which works for nearly all models; if that fails, from its bytecode (strict mode)."""
    failures = []
    for strict in (False, True):
        call = call.detached()  # a failed export leaves its marks on the tensors
        shapes = call.dynamic_shapes(model) if any(call.free) else None
        try:
            return torch.export.export(model, call.args, call.kwargs, dynamic_shapes=shapes, strict=strict)
        except Exception as error:  # of many classes, and raised below
            failures.append(error)
    raise ExportError(f"torch.export cannot trace the model: {reason(failures[0])}") from failures[0]
