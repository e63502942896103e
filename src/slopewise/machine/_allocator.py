"""Memory that this process keeps when it is freed, instead of returning it to the system."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_kept = False


def keep_memory() -> bool:
    """Keep freed memory in this process, so that its next allocations cause no page faults; see docs/performance.md.

    A training step allocates and frees the same activations as the step before. glibc returns large blocks to the
    system when they are freed, so that each step takes them anew: for every 4 KiB, a page fault and zeros written by
    the kernel. After this call it neither maps blocks of their own (``mallopt(M_MMAP_MAX, 0)``) nor trims its heap
    (``mallopt(M_TRIM_THRESHOLD, -1)``). Results stay the same bits; resident memory stays at its peak until the process
    ends. The setting covers all threads and forked processes, and cannot be taken back.

    Call it at the start of a training script. Memory that was allocated before is not affected.

    Returns:
        True if memory is kept from now on. False, with nothing changed, if the allocator is not glibc's: on other
        systems, with musl, and where a preloaded library (jemalloc, tcmalloc) has replaced `malloc`.

    Example:
        >>> keep_memory()  # doctest: +SKIP
        True
    """
    global _kept  # noqa: PLW0603 - the setting is the process's, and glibc does not tell it
    libc = _glibc()
    _kept = libc is not None and all(libc.mallopt(*setting) for setting in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)))
    return _kept


def memory_is_kept() -> bool:
    """Return True if `keep_memory` has succeeded in this process; what its environment sets is not looked at."""
    return _kept


def _glibc() -> ctypes.CDLL | None:
    """Return glibc if this process allocates from it."""
    if sys.platform != "linux":
        return None
    try:
        process, libc = ctypes.CDLL(None), ctypes.CDLL("libc.so.6")
        used, own, _ = process.malloc, libc.malloc, libc.mallopt
    except (OSError, AttributeError):  # musl has another name, and no mallopt
        return None
    # A preloaded allocator comes first among the symbols of the process. glibc's mallopt would still return 1.
    return libc if _address(used) == _address(own) else None


def _address(function: object) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
