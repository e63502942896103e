"""Facts about the machine that a figure was measured on, and the one setting of it that figures depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.machine._allocator import keep_memory as keep_memory
from slopewise.machine._allocator import memory_is_kept as memory_is_kept
from slopewise.machine._cores import cores as cores
from slopewise.machine._memory import memory as memory
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.machine._commit import code_commits as code_commits
    from slopewise.machine._environment import cpu_name as cpu_name
    from slopewise.machine._environment import environment as environment
    from slopewise.machine._environment import environment_digest as environment_digest

# The driver of a study counts cores before it waits for torch.
__getattr__ = importer(
    __name__, {"_commit": ("code_commits",), "_environment": ("cpu_name", "environment", "environment_digest")}
)
