"""Faults that are found before the first trial: data that leave nothing to validate on, or do not fit the network."""

from pathlib import Path

import numpy as np
import pytest

from slopewise.errors import ModelError, SpecError
from slopewise.study import StudySpec, preflight


def spec(size: int, fraction: float) -> StudySpec:
    data = {"source": "digits", "train_size": size, "validation_fraction": fraction}
    return StudySpec.model_validate({"arms": ["relu"], "data": data, "train": {"batch_size": 4}})


def test_a_class_too_small_to_validate_on_is_named_with_a_fraction_that_will_do() -> None:
    with pytest.raises(SpecError, match=r"0\.15 of class '9', the smallest, with 2 training images.* 0\.3 or more"):
        preflight(spec(29, 0.15))
    preflight(spec(29, 0.3))
    with pytest.raises(SpecError, match=r"with 1 training image, leaves no image to validate on.*data\.classes\)$"):
        preflight(spec(19, 0.15))


def test_a_network_for_pictures_is_told_of_volumes(tmp_path: Path) -> None:
    volumes = np.random.default_rng(0).random((40, 6, 10, 11))
    np.savez(tmp_path / "a.npz", x=volumes, y=np.arange(40) % 2)
    data = {"source": str(tmp_path / "a.npz"), "layout": "DHW"}
    with pytest.raises(ModelError, match=r"The images are volumes of 6 x 10 x 11: is it a network for volumes\?$"):
        preflight(StudySpec.model_validate({"arms": ["relu"], "data": data}))
