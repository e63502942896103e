"""The environment that a trial records."""

from slopewise import ops
from slopewise.machine import environment, environment_digest


def test_the_operators_are_part_of_the_environment() -> None:
    facts = environment()
    assert facts["cpu_operators"] == {"name": ops.backend().name, "reason": ops.backend().reason}
    with ops.use_kernels(enabled=False):
        without = environment()
    assert without["cpu_operators"]["name"] == "reference"
    assert (environment_digest(without) == environment_digest(facts)) == (facts == without)
