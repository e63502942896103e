"""Defaults that depend on the kind of task."""

from __future__ import annotations

from typing import Any

import pytest

from slopewise.study import Study, StudySpec, TaskSpec


def resolved(**fields: Any) -> StudySpec:
    return Study(arms="relu", **fields).spec


def test_a_kind_brings_its_data_network_and_training() -> None:
    spec = resolved(task={"kind": "segmentation"})
    assert (spec.data.source, spec.model.name, spec.train.optimizer) == ("shapes", "unet", "adamw")
    assert resolved(task=TaskSpec(kind="segmentation")) == spec


def test_what_the_spec_states_goes_before() -> None:
    train = {"epochs": 3, "lr": 0.1, "optimizer": "sgd"}
    spec = resolved(task={"kind": "restoration"}, data={"source": "m:f"}, model={"name": "unet"}, train=train)
    assert (spec.data.source, spec.model.name) == ("m:f", "unet")
    assert (spec.train.epochs, spec.train.lr, spec.train.optimizer, spec.train.batch_size) == (3, 0.1, "sgd", 16)


def test_a_path_stands_for_its_source(tmp_path: Any) -> None:
    (tmp_path / "pairs.npz").touch()
    assert resolved(task={"kind": "segmentation"}, data={"source": str(tmp_path / "pairs.npz")}).data.source == "npz"
    assert resolved(task={"kind": "segmentation"}, data={"path": str(tmp_path)}).data.source != "shapes"


@pytest.mark.parametrize("kind", ["classification", "mytasks:Mine"])
def test_others_have_the_defaults_of_the_spec(kind: str) -> None:
    spec = resolved(task={"kind": kind})
    assert spec.model_dump() == {**resolved().model_dump(), "task": {"kind": kind, "options": {}}}


def test_a_stored_spec_is_read_as_it_is() -> None:
    spec = resolved(task={"kind": "segmentation"}, train={"epochs": 1})
    assert StudySpec.model_validate(spec.model_dump(mode="json")) == spec
