"""Facts about the modules and tensors of any network."""

from slopewise.modules._roles import Role as Role
from slopewise.modules._roles import current as current
from slopewise.modules._roles import held as held
from slopewise.modules._roles import plain as plain
from slopewise.modules._roles import role as role
from slopewise.modules._roles import slope_name as slope_name
from slopewise.modules._ties import aliases as aliases
from slopewise.modules._ties import memory as memory
