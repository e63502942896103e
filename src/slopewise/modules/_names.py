"""Names of parameters and modules, and the parts that wrappers add to them."""

from __future__ import annotations

# Names under which PyTorch's wrappers hold what they wrap, anywhere in a path: torch.compile, FullyShardedDataParallel
# and its forerunner, activation checkpointing. Data parallelism calls it "module", a name that networks use, too.
WRAPPER_NAMES = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module"})


def without_wrappers(name: str) -> str:
    """Return a name without the parts that PyTorch's wrappers add.

    Example:
        >>> without_wrappers("features._orig_mod.0.weight")
        'features.0.weight'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPER_NAMES)
