"""Defaults of a spec that depend on its kind of task: data, network and training settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_ADAM = {"optimizer": "adamw", "batch_size": 16}

# By kind of task, then table and key, as in the spec. Classification has the spec's own.
KINDS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "multilabel": {"train": {"lr": 0.01}},
    "regression": {"train": {"lr": 0.002}},  # squared errors have no bound, and nor have their gradients
    "restoration": {
        "data": {"source": "patches"},
        "model": {"name": "espcn"},
        "train": {**_ADAM, "lr": 0.003, "epochs": 12},
    },
    "segmentation": {
        "data": {"source": "shapes"},
        "model": {"name": "unet"},
        "train": {**_ADAM, "lr": 0.01, "epochs": 10},
    },
}


def with_kind(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec's plain data, completed by the defaults of its kind of task.

    What the data state stays: a path stands for a source.

    Example:
        >>> with_kind({"task": {"kind": "regression"}, "train": {"epochs": 3}})["train"]
        {'lr': 0.002, 'epochs': 3}
    """
    task = fields.get("task")
    kind = task.get("kind") if isinstance(task, Mapping) else getattr(task, "kind", None)
    completed = dict(fields)
    for table, defaults in KINDS.get(kind if isinstance(kind, str) else "", {}).items():
        stated = fields.get(table, {})
        stated = stated.model_dump(exclude_unset=True) if isinstance(stated, BaseModel) else stated
        if isinstance(stated, Mapping) and not (table == "data" and stated.get("path")):
            completed[table] = {**defaults, **stated}
    return completed
