"""Ten thousand damaged or hostile inputs of each kind: a result or one of our errors, no other, no hang, no growth."""

import io
import json
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import slopewise as sw
from slopewise.checkpoint import load_state_dict
from slopewise.records import TRIAL_PARTS
from slopewise.slopes import inspect_slopes
from slopewise.study import FILE, DataSpec, Store, StudySpec, parse_spec, read_counts, read_spec, read_study
from slopewise.study.data import read_data
from slopewise.testing import synthetic_study

from .conftest import damaged, for_many

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bounded")]

SPEC = b"""name = "a"
arms = ["relu", {name = "b", activation = "prelu", options = {init = 0.1}}]
seeds = "0-3"
margin = 0.5
control = "relu"
[data]
source = "digits"
train_size = 100
[train]
epochs = 2
lr = 0.1
[model]
name = "cnn"
options = {width = 4}
[[factors]]
"train.lr" = [0.1, 1e-3]
"""
WORDS = [
    "name",
    "arms",
    "seeds",
    "margin",
    "control",
    "data",
    "train",
    "model",
    "task",
    "metrics",
    "tune",
    "map",
    "factors",
    "until_decided",
    "floor",
    "hardware",
    "monitor",
    "lr",
    "epochs",
    "options",
    "source",
    "activation",
    "start",
    "kind",
    "looks",
    "init",
    "points",
    "unit",
    "better",
    "function",
    "classes",
    "augment",
    "schedule",
    "checkpoint",
    "relu",
    "prelu_channel=prelu",
    "0-9",
    "1e400",
    "../../x",
    "os:system",
    "digits",
]


def made_up(random: Random, depth: int = 0) -> Any:
    """Return plain data of any kind, with the words of specs in most places."""
    kind = random.randrange(10 if depth < 4 else 6)
    if kind == 0:
        return random.choice([None, True, float("nan"), float("inf"), -1, 0, 10**30, "", "a" * 5000, "\0\n", b"x"])
    if kind < 3:
        return random.choice([1, 2, 5, 0.1, 1e-9, 1e300, -3])
    if kind < 6:
        return random.choice(WORDS)
    inner = [made_up(random, depth + 1) for _ in range(random.randrange(4))]
    return inner if kind < 8 else {random.choice(WORDS): value for value in inner}


def some_spec(random: Random) -> bytes | dict[str, Any]:
    """Return the bytes of a damaged spec, or made-up tables."""
    if random.randrange(2):
        return {random.choice(WORDS): made_up(random) for _ in range(random.randrange(6))}
    return damaged((SPEC,), random)[1]


def test_specs(scratch, only_own_errors):
    def check(spec):
        with only_own_errors:
            if isinstance(spec, dict):
                parse_spec(spec)
                return
            path = scratch / "fuzz.toml"
            path.write_bytes(spec)
            parse_spec(read_spec(path))

    for_many(some_spec, check)


def _study_file() -> bytes:
    study = synthetic_study(("relu", "prelu_shared"), 1, epochs=1)
    spec = StudySpec(arms="relu,prelu_shared", seeds=1)
    with TemporaryDirectory() as folder:
        with closing(Store.create(folder, spec, study.data)) as store:
            for trial in study.trials:
                store.add(replace(trial, sites=trial.sites[:2], gradients=trial.gradients[:2]), {"cpu": "x"})
        return Path(folder, FILE).read_bytes()


STUDY = _study_file()


def test_stores(scratch, only_own_errors):
    def check(file):
        for path in scratch.iterdir():
            path.unlink()
        (scratch / FILE).write_bytes(file[1])
        with only_own_errors:
            record = read_study(scratch)
            for trial in record.every_trial:
                for part in TRIAL_PARTS:
                    getattr(trial, part)
        with only_own_errors:
            read_counts(scratch)

    for_many(partial(damaged, (STUDY,)), check)


def _checkpoints() -> list[bytes]:
    tensors = {"layer.weight": torch.arange(6.0).reshape(2, 3), "act.weight": torch.tensor([0.25])}
    nested = {"epoch": 3, "model": tensors, "optimizer": {"state": {0: {"step": 1}}, "param_groups": []}}
    files = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(nested, file, _use_new_zipfile_serialization=zipped)
        files.append(file.getvalue())
    return [*files, safetensors.torch.save(tensors)]


def test_checkpoints(scratch, only_own_errors):
    path = scratch / "fuzz.pt"

    def check(file):
        path.write_bytes(file[1])
        with only_own_errors:
            inspect_slopes(load_state_dict(path))

    for_many(partial(damaged, _checkpoints()), check)


ROWS = [{"arm": arm, "seed": seed, "psnr": 31 + seed / 8} for arm in ("relu", "b") for seed in range(3)]
CSV = b"arm,seed,psnr\n" + b"".join(b"%s,%d,%g\n" % (r["arm"].encode(), r["seed"], r["psnr"]) for r in ROWS)
JSONL = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def test_tables(scratch, only_own_errors):
    def check(file):
        path = scratch / f"fuzz.{('csv', 'jsonl')[file[0]]}"
        path.write_bytes(file[1])
        with only_own_errors:
            sw.judge(path, arm="arm", seed="seed", metric="psnr", better="higher", control="relu", margin=0.1)

    for_many(partial(damaged, (CSV, JSONL)), check)


def _picture(name: str, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, name)
    return file.getvalue()


def _archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


PICTURES = [
    _picture("PNG"),
    _picture("JPEG"),
    _picture("GIF", "P"),
    _picture("TIFF"),
    _picture("WEBP"),
    _picture("BMP"),
]
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8)).astype(np.uint8)
ARCHIVE = _archive(
    x_train=PIXELS[:4], y_train=np.arange(4) % 2,
    x_test=PIXELS[4:], y_test=np.arange(2),
)  # fmt: skip


def test_images(scratch, only_own_errors):
    archive, folder = scratch / "fuzz.npz", scratch / "classes"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{number}.png").write_bytes(PICTURES[0])

    def check(file):
        number, content = file
        if number < 2:
            archive.write_bytes(content)
            spec = DataSpec(source="npz", path=str(archive))
        else:
            (folder / "a" / "0.png").write_bytes(content)
            spec = DataSpec(source="folder", path=str(folder), image_size=8)
        with only_own_errors:
            read_data(spec)

    for_many(partial(damaged, (ARCHIVE, ARCHIVE, *PICTURES)), check)
