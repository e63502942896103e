"""Global state of a worker process, which a trial of a user's code may change and the next trial must not inherit."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

_SMALL = 1e-39  # a denormal number of float32
_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGALRM")


@contextmanager
def state_restored() -> Iterator[None]:
    """Restore the global state of the process after the block, as far as it can change a training.

    Restored are torch's default dtype and device, gradient and autocast modes, choice of deterministic algorithms,
    precisions and backends; NumPy's handling of floating-point errors; environment variables, working directory and
    import path; filters of warnings; standard streams; the garbage collector; and handlers of signals. Random
    generators are seeded by each trial itself. What a trial has changed inside modules, a function of torch that it
    replaced for instance, is not noticed.

    Example:
        >>> with state_restored():
        ...     torch.set_default_dtype(torch.float64)
        >>> torch.get_default_dtype()
        torch.float32
    """
    environ, folder, path = dict(os.environ), os.getcwd(), list(sys.path)  # noqa: PTH109 - chdir takes it as it is
    streams, collects, depth = (sys.stdout, sys.stderr), gc.isenabled(), sys.getrecursionlimit()
    filters, show, errors = list(warnings.filters), warnings.showwarning, np.geterr()
    handlers, restore = _handlers(), _torch_state()
    try:
        yield
    finally:
        restore()
        _restore_environ(environ)
        with suppress(OSError):  # the folder may have been removed
            os.chdir(folder)
        sys.path[:] = path
        sys.stdout, sys.stderr = streams
        (gc.enable if collects else gc.disable)()
        sys.setrecursionlimit(depth)
        warnings.filters[:] = filters  # type: ignore[index]
        warnings.showwarning = show
        warnings._filters_mutated()  # type: ignore[attr-defined]  # else modules keep their registry of shown warnings
        np.seterr(**errors)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _restore_environ(before: dict[str, str]) -> None:
    if os.environ != before:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _handlers() -> dict[int, Any]:
    """Return the handlers of signals that Python knows; only the main thread can restore them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in handlers.items() if handler is not None}


def _torch_state() -> Callable[[], None]:
    """Return a function that restores torch's global settings."""
    dtype, device, gradients = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    precision, denormals = torch.get_float32_matmul_precision(), _keeps_denormals()
    anomaly, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    switches = [(module, name, getattr(module, name)) for module, name in _switches()]
    autocast = [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")]

    def restore() -> None:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_grad_enabled(gradients)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_float32_matmul_precision(precision)
        if _keeps_denormals() != denormals:
            torch.set_flush_denormal(not denormals)
        torch.autograd.set_detect_anomaly(anomaly, check_nan)
        # Private, but torch's own way past `disable_global_flags`, which importing its testing module calls.
        with torch.backends.__allow_nonbracketed_mutation():
            for module, name, value in switches:
                if getattr(module, name) != value:
                    setattr(module, name, value)
        for kind, enabled, own in autocast:
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, own)

    return restore


def _keeps_denormals() -> bool:
    return bool((torch.tensor([_SMALL]) * 1.0).item())


def _switches() -> list[tuple[Any, str]]:
    backends = torch.backends
    cudnn = [(backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")]
    return [*cudnn, (backends.mkldnn, "enabled"), (backends.opt_einsum, "enabled")]
