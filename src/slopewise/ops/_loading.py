"""Loading of the compiled kernels, once per process, and the switch that turns them on and off.

They are one shared object in the package, which does not use Python's C API: PyTorch loads it, and its static
initialisers register the CPU implementations of the operators. If it cannot be loaded, slopewise warns once and works
without it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from multiprocessing import current_process
from pathlib import Path
from typing import Literal

import torch

from slopewise.errors import KernelsWarning

SWITCH = "SLOPEWISE_KERNELS"
CAPABILITY = "SLOPEWISE_CPU_CAPABILITY"  # read by csrc/capability.cpp when the kernels are loaded
NOTE = "_kernels_missing.txt"  # setup.py writes the reason there when it cannot build them
_PACKAGE = Path(__file__).parents[1]
# pip keeps the wheels that it builds, those without kernels too: hence --no-cache-dir.
_REMEDY = (
    "To have them, install g++ or clang++ and PyTorch 2.10 or newer, then reinstall slopewise with "
    f"`pip install --force-reinstall --no-deps --no-cache-dir`. {SWITCH}=0 silences this warning."
)


@dataclass(frozen=True)
class Backend:
    """The implementation that computes the operators on the CPU, and the reason for it.

    Example:
        >>> print(Backend("reference", "SLOPEWISE_KERNELS=0 turned the kernels off"))
        PyTorch's own operations are in use: SLOPEWISE_KERNELS=0 turned the kernels off
    """

    name: Literal["kernels", "reference"]
    reason: str

    def __str__(self) -> str:
        subject = "the compiled kernels" if self.name == "kernels" else "PyTorch's own operations"
        return f"{subject} are in use: {self.reason}"


@dataclass
class _State:
    """State of the whole process: a setting for each thread or task would cost every call a look-up."""

    enabled: bool = False  # read by the routing
    loaded: bool = False
    reason: str = ""  # why the kernels are not loaded; empty before `load`


state = _State()


def load(folder: Path = _PACKAGE) -> None:
    """Load the kernels of `folder`, or warn with the reason why they cannot be loaded.

    The operators' schemas must have been defined. A second call does nothing. Workers of `multiprocessing` do not
    repeat the warning. The environment variable SLOPEWISE_KERNELS=0 (or `false`, `off`) leaves the kernels out without
    a warning.

    Raises:
        ValueError: SLOPEWISE_KERNELS is set to something other than 0, false, off, 1, true, on, or
            SLOPEWISE_CPU_CAPABILITY to something other than baseline, avx2, avx512.
    """
    if state.loaded or state.reason:
        return
    if (capability := os.environ.get(CAPABILITY, "avx512")) not in {"baseline", "avx2", "avx512"}:
        raise ValueError(f"the environment variable {CAPABILITY} must be baseline, avx2 or avx512, got {capability!r}")
    setting = os.environ.get(SWITCH, "")
    if not asks_for_kernels(setting):
        state.reason = f"{SWITCH}={setting} turned the kernels off"
        return
    state.reason = _attempt(folder)
    state.loaded = state.enabled = not state.reason
    # A worker's parent has warned. (`parent_process` is not set yet while a spawned worker imports the main module.)
    if state.reason and current_process().name == "MainProcess":
        warnings.warn(
            f"slopewise works without its compiled kernels, more slowly: {state.reason}. {_REMEDY}",
            KernelsWarning,
            stacklevel=2,
        )


def asks_for_kernels(setting: str) -> bool:
    """Return True if the environment variable's value asks for the kernels; empty means yes.

    Example:
        >>> asks_for_kernels(""), asks_for_kernels("1"), asks_for_kernels("Off")
        (True, True, False)
    """
    word = setting.strip().lower()
    if word not in {"", "0", "false", "off", "1", "true", "on"}:
        raise ValueError(f"the environment variable {SWITCH} must be 0, false, off, 1, true or on, got {setting!r}")
    return word in {"", "1", "true", "on"}


def _attempt(folder: Path) -> str:
    """Load the kernels in `folder`; return the reason if that failed, otherwise an empty string."""
    note = folder / NOTE
    if note.exists():  # then any shared object beside it is from an earlier build
        return f"the kernels were not built when slopewise was installed ({note.read_text(encoding='utf-8').strip()})"
    libraries = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_kernels{suffix}").exists()]
    if not libraries:
        return f"there is no _kernels{EXTENSION_SUFFIXES[-1]} in {folder}"
    try:
        torch.ops.load_library(libraries[0])
    except OSError as error:  # built for another platform, or for a PyTorch with other symbols
        return f"PyTorch {torch.__version__} cannot load the kernels ({error.__cause__ or error})"
    return ""


def backend() -> Backend:
    """Return the implementation in use on the CPU, compiled kernels or PyTorch's own operations, and the reason for it.

    The kernels take float32, bfloat16 and float64 tensors on the CPU; all other tensors use PyTorch's operations,
    whatever this returns.

    Example:
        >>> with use_kernels(enabled=False):
        ...     print(backend().name)
        reference
    """
    if state.enabled:
        return Backend("kernels", f"their {torch.ops.slopewise.cpu_capability()} loops suit this processor")
    return Backend("reference", state.reason or "use_kernels(enabled=False) turned the kernels off")


@contextmanager
def use_kernels(enabled: bool) -> Iterator[None]:
    """Turn the kernels on or off within a `with` block or a decorated function, for comparisons and tests.

    The setting applies to the whole process, including other threads; it does not nest across threads.

    Raises:
        RuntimeError: `enabled` is True, but the kernels are not loaded.

    Example:
        >>> from slopewise.nn.functional import prelu
        >>> with use_kernels(enabled=False):
        ...     prelu(torch.tensor([-2.0, 3.0]), torch.tensor([0.25]))
        tensor([-0.5000,  3.0000])
    """
    if enabled and not state.loaded:
        raise RuntimeError(f"the compiled kernels cannot be turned on: {state.reason or 'they are not loaded yet'}")
    before, state.enabled = state.enabled, enabled
    try:
        yield
    finally:
        state.enabled = before
