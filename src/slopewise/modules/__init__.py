"""Facts about the modules and tensors of any network: what a parameter is for, and which tensors are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.modules._ties import aliases as aliases
from slopewise.modules._ties import memory as memory
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.modules._roles import Role as Role
    from slopewise.modules._roles import current as current
    from slopewise.modules._roles import held as held
    from slopewise.modules._roles import plain as plain
    from slopewise.modules._roles import role as role
    from slopewise.modules._roles import slope_name as slope_name

# Checkpoints are looked at without a model, and their pages do not wait for torch.
__getattr__ = importer(__name__, {"_roles": ("Role", "current", "held", "plain", "role", "slope_name")})
