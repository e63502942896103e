"""Facts about the machine that a figure was measured on."""

from slopewise.machine._cores import cores as cores
from slopewise.machine._environment import cpu_name as cpu_name
from slopewise.machine._environment import environment as environment
from slopewise.machine._environment import environment_digest as environment_digest
