"""Gradient norms by depth at three steps, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from slopewise.drawing import spaced
from slopewise.recording import Recording


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """Gradient norms by depth.

    Attributes:
        layers: Layers in the order of depth.
        norms: Norm of the gradient of each layer's weights, by layer, for the first, the middle and the latest sampled
            step, in ascending order of the step. Only finite norms above 0, which a logarithmic axis can show.
    """

    layers: tuple[str, ...]
    norms: dict[int, dict[str, float]]


def profile_info(recording: Recording) -> ProfileInfo:
    """Return the gradient norms by depth at the first, the middle and the latest sample.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> profile = profile_info(synthetic_recording(layers=2))
        >>> profile.layers, list(profile.norms)
        (('block0.conv', 'block1.conv'), [1, 501, 951])
    """
    samples = [recording.samples[index] for index in spaced(len(recording.samples), 3)]
    return ProfileInfo(
        tuple(dict.fromkeys(layer.layer for sample in samples for layer in sample.layers)),
        {
            sample.step: {
                layer.layer: layer.gradient
                for layer in sample.layers
                if layer.gradient and math.isfinite(layer.gradient)
            }
            for sample in samples
        },
    )
