"""Files with the final weights of trials."""

from __future__ import annotations

import warnings
from pathlib import Path

from torch import Tensor, nn

from slopewise.errors import FunctionError, StoreWarning
from slopewise.modules import whole
from slopewise.study._plain import check_plain
from slopewise.study._torch_file import save_whole


def save_weights(model: nn.Module, file: Path, *, write: bool = True) -> None:
    """Save the state dict of a network as plain tensors on the CPU.

    A full disk, or a state that could not be read again, does not end the trial, which has been trained: its weights
    are then missing, which a warning says.

    Args:
        model: Network; of a sharded one, all processes must call this.
        file: File to write; a file of this name is replaced.
        write: False in processes that only contribute their part of a sharded network.

    Warns:
        StoreWarning: The weights could not be kept.
    """
    state = {
        name: whole(value).detach().cpu() if isinstance(value, Tensor) else value
        for name, value in model.state_dict().items()
    }
    if not write:
        return
    try:
        check_plain(state)
        save_whole(state, file.parent, lambda _: file.name)
    except (FunctionError, OSError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        warnings.warn(f"the weights of a trial cannot be kept as '{file}': {why}", StoreWarning, stacklevel=2)
