"""Size of the machine's memory."""

from __future__ import annotations

import os
import sys


def memory() -> int:
    """Return the number of bytes of the machine's memory; a number that nothing exceeds if the system does not tell.

    Example:
        >>> memory() > 2**20
        True
    """
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
