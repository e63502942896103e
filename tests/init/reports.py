"""Numbers of a report of `init.kaiming`, by the layer's name."""

import pytest


def stds(report):
    return {layer.name: layer.std for layer in report.layers}


def gains(report):
    """Of layers whose groups are alike."""
    assert all(layer.gain[0] == pytest.approx(layer.gain[1]) for layer in report.layers)
    return {layer.name: pytest.approx(layer.gain[0]) for layer in report.layers}
