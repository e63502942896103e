"""Training of the arm that another arm starts from, bitwise equal to that arm's own trial with the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.study._spec import StudySpec
from slopewise.study._spec_tables import ArmSpec
from slopewise.study._streams import seed_generators
from slopewise.study._trial._guard import Divergence, DivergenceGuard
from slopewise.study._trial._loop import Loop
from slopewise.study._trial._setup import Setup
from slopewise.study.data import ImageData

if TYPE_CHECKING:
    from slopewise.study._trial._fabric import Device


def set_up(
    fabric: Device, spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData
) -> tuple[Setup, Divergence | None]:
    """Return the parts of a trial, after training the arm that it starts from, if any.

    If that arm diverges, its divergence is returned as well. The trial then has nothing to start from and ends at step
    0; its parts have the usual initial weights.
    """
    if arm.start is None:
        return Setup(fabric, spec, arm, seed, data), None
    donor, divergence = _trained(fabric, spec, spec.arm(arm.start.arm), seed, data)
    if divergence:
        cause = f"arm '{arm.start.arm}', which this one starts from, diverged: {divergence.cause}"
        return Setup(fabric, spec, arm, seed, data), Divergence(0, cause)
    return Setup(fabric, spec, arm, seed, data, donor.built), None


def _trained(
    fabric: Device, spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData
) -> tuple[Setup, Divergence | None]:
    """Train an arm until it ends or diverges, without recording and sampling, which do not affect its weights.

    There are no checkpoints of it: a trial that is interrupted here trains it anew.
    """
    setup, divergence = set_up(fabric, spec, arm, seed, data)
    if divergence:
        return setup, divergence
    guard = DivergenceGuard(setup)
    loop = Loop(setup, guard)
    seed_generators(seed, "forward")
    try:
        for _ in range(setup.epochs):
            loop.train_epoch()
            loss = loop.evaluate(data.train_images, data.train_targets, setup.held_out)["loss"]
            guard.check_evaluation(loss, "validation", loop.step)
    except Divergence as error:
        return setup, error
    return setup, None
