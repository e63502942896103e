"""The monitor in one call."""

from __future__ import annotations

from typing import Any

from torch import nn

from slopewise.monitor._monitor import Monitor


def watch(model: nn.Module, every: int = 50, **options: Any) -> Monitor:
    """Return a `Monitor` that has started; it takes the same arguments, and is a context manager.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> with watch(model, every=10) as monitor:
        ...     model(torch.randn(16, 4)).mean().backward()
        >>> monitor.samples[0].sites[0].activation
        'relu'
    """
    return Monitor(model, every, **options).start()
