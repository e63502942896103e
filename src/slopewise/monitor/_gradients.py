"""Hooks on tensors and autograd nodes that add the gradients at a call site to a tally.

They change neither gradients nor graph, live as long as the graph does, and refer to neither model nor monitor, so
that a model which keeps one of its outputs does not keep itself alive.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from slopewise.modules import whole
from slopewise.monitor._clock import Clock
from slopewise.monitor._tally import Tally
from slopewise.nn import BatchNormPReLU, functional, slopes_in_use
from slopewise.ops.units import KeptSigns

Node = torch.autograd.graph.Node
_FEW = 8  # more operations than an activation has


def timed(clock: Clock, see: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    """Return a tensor's hook that calls `see`, and adds the time that it takes to the clock."""

    def hook(gradient: Tensor) -> None:
        with clock:
            see(gradient)

    return hook


def watch_through(y: Tensor, edge: GradientEdge, tally: Tally, clock: Clock, kept: KeptSigns | None) -> None:
    """Add up dL/dz and dL/dy of the gradient through this call site alone.

    Args:
        y: Output of the call.
        edge: Edge of z, before the call.
        tally: Sums of the call site.
        clock: Clock of the monitor's cost.
        kept: Signs of z, if the call is a ReLU's.
    """
    operation = _operation(y, edge)
    if operation is None:
        return
    node, place = operation

    def behind(gradients: tuple[Tensor | None, ...], _: tuple[Tensor | None, ...]) -> None:
        if (gradient := gradients[place]) is not None:
            with clock:
                tally.pass_on(gradient, None)

    def before(gradients: tuple[Tensor | None, ...]) -> None:
        if (gradient := gradients[0]) is not None:
            with clock:
                tally.arrive(gradient)

    def both(gradients: tuple[Tensor | None, ...], above: tuple[Tensor | None, ...]) -> None:
        gradient_z, gradient_y = gradients[place], above[0]
        if gradient_z is not None and gradient_y is not None:
            with clock:
                tally.pass_on(gradient_z, gradient_y)

    def rectified(gradients: tuple[Tensor | None, ...], above: tuple[Tensor | None, ...]) -> None:
        gradient_y = above[0]
        if kept is None or gradient_y is None or gradients[place] is None or not kept.fit(gradient_y):
            both(gradients, above)
            return
        with clock:
            tally.rectify(kept, gradient_y)

    if node is y.grad_fn:
        node.register_hook(rectified if kept is not None and node.name() == "ReluBackward0" else both)
    elif y.grad_fn is not None:
        node.register_hook(behind)
        y.grad_fn.register_prehook(before)


def _operation(y: Tensor, edge: GradientEdge) -> tuple[Node, int] | None:
    """Return the node that took z and the number of that input; views between it and y are passed over."""
    node = y.grad_fn
    for _ in range(_FEW):
        if node is None or node is edge.node:  # then y is z
            return None
        # Not documented for users, but autograd's own graph: without it, no node is known to belong to the call.
        inputs = node.next_functions
        if (edge.node, edge.output_nr) in inputs:
            return node, inputs.index((edge.node, edge.output_nr))
        node = inputs[0][0] if inputs else None
    return None


def watch_fused(
    y: Tensor,
    layer: BatchNormPReLU,
    input: Tensor,  # noqa: A002 (PyTorch's name)
    residual: Tensor | None,
    tally: Tally,
    clock: Clock,
    on_change: Callable[[], None],
) -> None:
    """Count the signs of the pre-activation z, which a fused layer does not show, and watch its gradients.

    The gradient dL/dz follows from these signs and from dL/dy. The layer's output has them, unless a slope is negative.
    `on_change` is called if that output is changed in place before the backward pass.
    """
    # A layer that fully_shard has wrapped itself gives its parameters back before its own hooks are called.
    slopes = whole(slopes_in_use(layer.slope, layer.bounds, training=False).detach())
    # Looking at the slopes would make other devices wait; there z is computed again.
    same_signs = y.device.type == "cpu" and slopes.min().item() >= 0
    source = y.detach() if same_signs else _pre_activation(layer, input.detach(), residual)
    # Private: the counter by which autograd itself detects changes in place. Without it, the signs
    # would be read from values that the pass did not have.
    version = source._version
    learns = torch.is_grad_enabled() and y.requires_grad
    # In a backward pass, gradient checkpointing computes it a second time.
    kept = tally.see(source, keep=learns) if not in_backward() else None
    if not learns:
        return
    signs = source if kept is None else kept
    if kept is not None:
        # The graph outlives the activation, which must not stay with it. The counter of changes stays that of y.
        source.data = source.new_empty((0,))

    def arrived(gradient: Tensor) -> None:
        if source._version != version:
            on_change()
            return
        with clock:
            tally.pass_back(signs, gradient, slopes)

    y.register_hook(arrived)


def in_backward() -> bool:
    """Return True during a backward pass of this thread, where a forward pass is recomputation by checkpointing."""
    # Private: PyTorch has no public way to ask. Without it, passes that checkpointing computes again count twice.
    return torch._C._current_graph_task_id() != -1


@torch.no_grad()
def _pre_activation(layer: BatchNormPReLU, input: Tensor, residual: Tensor | None) -> Tensor:  # noqa: A002
    """Return BatchNorm(x) + r of the call that has just ended, without a change of the running statistics."""
    own = layer.training or layer.running_mean is None
    return functional.batch_norm_add_prelu(
        input,
        None if own else layer.running_mean,
        None if own else layer.running_var,
        None if layer.weight is None else whole(layer.weight),
        None if layer.bias is None else whole(layer.bias),
        training=own,
        eps=layer.eps,
        residual=None if residual is None else residual.detach(),
        slope=1.0,
    )
