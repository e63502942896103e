"""Names that the help lists and a shell completes.

They stand here a second time, which a test compares: whoever presses Tab does not wait for PyTorch, which the modules
that define them import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slopewise.support import Registry

SOURCES = ("digits", "fashion-mnist", "patches", "shapes")
TASKS = ("classification", "multilabel", "segmentation", "regression", "restoration")
MODELS = ("cnn", "resnet20", "unet", "espcn")
ENGINES = ("local", "ray")
DEVICES = ("cpu", "cuda", "mps", "auto")
FORMATS = ("json", "csv", "parquet")
DEFAULT_ARMS = ("relu", "leaky_relu", "frozen_slope", "prelu_shared", "prelu_channel")
ARMS = ("as_is", *DEFAULT_ARMS, "prelu_shared_0", "prelu_channel_0", "elu", "silu", "gelu", "rrelu")


def engines() -> tuple[str, ...]:
    """Return the names of engines: slopewise's own, and those of installed packages, sorted."""
    return Registry("slopewise.engines", dict.fromkeys(ENGINES)).names()


def words_of(names: Sequence[str], *, separator: str = "") -> Callable[[str], list[str]]:
    """Return a function that completes a word, or the last word of a list with a separator, to one of the names.

    Where no name fits, the shell completes the names of files.

    Example:
        >>> words_of(("relu", "rrelu", "elu"))("r")
        ['relu', 'rrelu']
        >>> words_of(("relu", "rrelu", "elu"), separator=",")("relu,e")
        ['relu,elu']
    """

    def complete(incomplete: str) -> list[str]:
        before, mark, word = incomplete.rpartition(separator) if separator else ("", "", incomplete)
        return [f"{before}{mark}{name}" for name in names if name.startswith(word)]

    return complete
