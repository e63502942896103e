"""Subclasses of PyTorch's batch normalisation, with or without an activation inside, compared with their base class."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slopewise.convert._fixed import Fixed
from slopewise.convert._rewritten import CannotRewriteError
from slopewise.convert._swap import has_hooks
from slopewise.nn import pair


def plain_of(seen: Fixed, activation: nn.Module, stocks: Iterable[type[_BatchNorm]]) -> _BatchNorm:
    """Return PyTorch's own normalisation with the tensors of a subclass, if the subclass computes the same.

    Args:
        seen: Call of the module in a pass.
        activation: Activation that the module applies last, if it holds one.
        stocks: Classes of PyTorch to choose from.

    Raises:
        CannotRewriteError: The module is a subclass of none of these, computes something else, or has further tensors
            or hooks.
    """
    bn = seen.call.module
    name = type(bn).__name__
    stock = next((stock for stock in stocks if isinstance(bn, stock)), None)
    if stock is None or not isinstance(bn, _BatchNorm):
        raise CannotRewriteError(f"no fused layer stands for {name}")
    for part in seen.rest[:-1]:
        child = bn.get_submodule(part)
        if type(child) is not nn.Identity or has_hooks(child):
            raise CannotRewriteError(f"{name} has a {type(child).__name__} between the two")
    if has_hooks(bn):
        raise CannotRewriteError("bn has hooks, which the fused layer would not call: remove them first")
    plain = pair.plain(bn, stock)
    parts = tuple(f"{part}." for part in seen.rest)
    if {key for key in bn.state_dict() if not key.startswith(parts)} != set(plain.state_dict()):
        raise CannotRewriteError(f"{name} holds other tensors than a {stock.__name__}")
    if any(tensor.is_meta for tensor in bn.state_dict().values()):
        raise CannotRewriteError(
            f"whether {name} computes what {stock.__name__} does cannot be measured without values"
        )
    if not _alike(bn, nn.Sequential(plain, activation) if seen.rest else plain, seen.input.shape):
        raise CannotRewriteError(f"{name} computes something else than a {stock.__name__}")
    return plain


def _alike(first: nn.Module, second: nn.Module, shape: tuple[int, ...]) -> bool:
    """Return True if two modules return the same, and keep the same statistics, in training and evaluation.

    They are compared in float64, on random inputs of the given shape.
    """
    generator = torch.Generator().manual_seed(0)
    outputs: list[list[Tensor]] = []
    try:
        modules = [copy.deepcopy(module).to("cpu", torch.float64) for module in (first, second)]
        with torch.no_grad():
            for training in (True, True, False):
                x = torch.randn(shape, generator=generator, dtype=torch.float64) + 1.0
                outputs.append([module.train(training)(x.clone()) for module in modules])
    except Exception as error:  # a user's module can raise anything
        message = (str(error).splitlines() or [""])[0]
        reason = f"{type(first).__name__} does not run by itself ({type(error).__name__}: {message})"
        raise CannotRewriteError(reason) from error
    statistics = zip(*(_statistics(module) for module in modules), strict=True)
    return all(map(_close, (*outputs, *statistics)))


def _statistics(module: nn.Module) -> list[Tensor]:
    bn = next(part for part in module.modules() if isinstance(part, _BatchNorm))
    return list(bn.buffers(recurse=False))


def _close(pair: Sequence[Tensor]) -> bool:
    first, second = pair
    return torch.allclose(first.double(), second.double(), rtol=1e-10, atol=1e-10)
