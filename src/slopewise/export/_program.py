"""A model as a program of PyTorch's own operations, by torch.export."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from slopewise._undisturbed import undisturbed
from slopewise.export._call import Call
from slopewise.export._error import ExportError, reason
from slopewise.export._outputs import named, plain

_PRELU = (torch.ops.aten.prelu.default, torch.ops.aten._prelu_kernel.default)
_WRAPPERS = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself within torch.compile's wrapper or a data-parallel one."""
    while True:
        if isinstance(model, torch._dynamo.OptimizedModule):
            model = model._orig_mod
        elif isinstance(model, _WRAPPERS):
            model = model.module
        else:
            return model


@contextlib.contextmanager
def as_deployed(model: torch.nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode and its outputs are plain; after it, as it was."""
    hook = model.register_forward_hook(lambda _module, _inputs, output: plain(output))
    try:
        with undisturbed(model), torch.no_grad():
            model.eval()
            yield
    finally:
        hook.remove()


def prelu_calls(program: torch.export.ExportedProgram) -> dict[str, torch.fx.Node]:
    """The slopes of each call of PyTorch's PReLU, by the call's name, in order."""
    return {node.name: node.args[1] for node in program.graph.nodes if node.target in _PRELU}


def first_names(model: torch.nn.Module) -> dict[str, str]:
    """For every name of a parameter or buffer the first that it has in the model, where modules are used twice.

    Example:
        >>> act = torch.nn.PReLU()
        >>> first_names(torch.nn.Sequential(act, act))
        {'0.weight': '0.weight', '1.weight': '0.weight'}
    """
    first: dict[int, str] = {}
    parameters, buffers = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    return {name: first.setdefault(id(tensor), name) for name, tensor in itertools.chain(parameters, buffers)}


def slope_names(program: torch.export.ExportedProgram, aliases: Mapping[str, str]) -> dict[str, str]:
    """For the name of each PReLU's node, that of the parameter or buffer its slopes are computed from."""
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    found = {}
    for call, slopes in prelu_calls(program).items():
        sources, waiting = set(), [slopes]
        while waiting:
            node = waiting.pop()
            waiting += node.all_input_nodes
            if node.op == "placeholder":
                sources.add(node.name)
        if len(sources) == 1 and (name := held.get(sources.pop())):
            found[call] = aliases.get(name, name)
    return found


def run(program: torch.export.ExportedProgram, call: Call) -> list[Tensor]:
    """The outputs of a program."""
    try:
        output = program.module()(*call.args, **call.kwargs)
    except Exception as error:  # of many classes
        raise ExportError(
            f"the program that torch.export traced does not take a batch of {call.size} ({reason(error)}): mend that "
            "in the model's forward, or pass dynamic_batch=False"
        ) from error
    return [tensor for _, tensor in named(output)]


def outputs(model: torch.nn.Module, call: Call) -> dict[str, Tensor]:
    """The tensors among a model's outputs, with names; `as_deployed` has made them plain."""
    return dict(named(model(*call.args, **call.kwargs)))


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Exporters warn of, log and print their own insides: keep that from the terminal, unless it is wanted."""
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


def captured(model: torch.nn.Module, call: Call, *, dynamic_batch: bool) -> torch.export.ExportedProgram:
    """The model as a program, for a batch of any size or for the example's alone."""
    if not dynamic_batch:
        return _exported(model, call, dynamic=False)
    if not any(map(call.is_batched, call.tensors)):
        raise ExportError("no input has a dimension for the batch: pass dynamic_batch=False")
    several = call.resized(max(2, call.size))  # torch.export takes a size of 1 for a constant
    try:
        return _exported(model, several, dynamic=True)
    except ExportError as error:
        _exported(model, call, dynamic=False)  # raises where the batch is not to blame
        raise ExportError(
            f"the size of the batch is fixed somewhere in the model's forward ({reason(error.__cause__ or error)}): "
            "mend that, or pass dynamic_batch=False for a file that takes the example's batch size alone"
        ) from error


def _exported(model: torch.nn.Module, call: Call, *, dynamic: bool) -> torch.export.ExportedProgram:
    """Traced as it runs, which takes nearly every model; read from the bytecode, where that fails."""
    failures = []
    for strict in (False, True):
        call = call.detached()  # a failed export leaves its marks on the tensors
        shapes = call.dynamic_shapes(model) if dynamic else None
        try:
            return torch.export.export(model, call.args, call.kwargs, dynamic_shapes=shapes, strict=strict)
        except Exception as error:  # of many classes, and raised below
            failures.append(error)
    raise ExportError(f"torch.export cannot trace the model: {reason(failures[0])}") from failures[0]
