"""Facts about the modules and tensors of any network: roles, ties, names, and the wrappers around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.modules._names import WRAPPER_NAMES as WRAPPER_NAMES
from slopewise.modules._names import without_wrappers as without_wrappers
from slopewise.modules._ties import aliases as aliases
from slopewise.modules._ties import memory as memory
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.modules._layout import CHANNELS_LAST as CHANNELS_LAST
    from slopewise.modules._layout import channels_last_ as channels_last_
    from slopewise.modules._roles import Role as Role
    from slopewise.modules._roles import current as current
    from slopewise.modules._roles import parameters_of as parameters_of
    from slopewise.modules._roles import plain as plain
    from slopewise.modules._roles import role as role
    from slopewise.modules._roles import slope_name as slope_name
    from slopewise.modules._sharded import is_sharded as is_sharded
    from slopewise.modules._sharded import whole as whole
    from slopewise.modules._slopes import applied_slopes as applied_slopes
    from slopewise.modules._slopes import learned_slopes as learned_slopes
    from slopewise.modules._wrappers import Policy as Policy
    from slopewise.modules._wrappers import Unwrapped as Unwrapped
    from slopewise.modules._wrappers import kind_of as kind_of
    from slopewise.modules._wrappers import unwrap as unwrap

# Checkpoints are looked at without a model, and their pages do not wait for torch.
__getattr__ = importer(
    __name__,
    {
        "_layout": ("CHANNELS_LAST", "channels_last_"),
        "_roles": ("Role", "current", "parameters_of", "plain", "role", "slope_name"),
        "_sharded": ("is_sharded", "whole"),
        "_slopes": ("applied_slopes", "learned_slopes"),
        "_wrappers": ("Policy", "Unwrapped", "kind_of", "unwrap"),
    },
)
