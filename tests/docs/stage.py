"""Things that a reader has already, by page: photos, a network, a checkpoint, a table, a study that has ended."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import slopewise as sw
from slopewise.testing import InProcessEngine

from .pages import ROOT

NETWORKS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

class UNet(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))

    def forward(self, x):
        return self.body(x)
"""
FUNCTION = """
import torch
from torch import nn

def train(trial):
    trial.seed_all()
    model = trial.apply(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.randn(16, 3))
    return {"psnr": 30.0}
"""


@cache
def _study() -> Path:
    """Train a study of a second, once."""
    folder = Path(tempfile.mkdtemp()) / "study"
    tiny = {"data": {"train_size": 100}, "model": {"options": {"width": 4}}, "train": {"epochs": 1}}
    study = sw.Study(arms="relu,prelu_channel", seeds=2, **tiny)
    study.run(folder, engine=InProcessEngine(), keep_weights=True).report(folder / "report.html")
    return folder


def _picture(path: Path, seed: int, *, mask: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 2 if mask else 256, (16, 16) if mask else (16, 16, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _photos(place: Path) -> None:
    for number in range(60):
        _picture(place / f"class {number % 10}" / f"{number}.png", number)


@cache
def _first() -> Path:
    """Train the study of the quickstart, with a network of slopewise's own."""
    folder = Path(tempfile.mkdtemp())
    _photos(folder / "photos")
    tiny = {"model": {"options": {"width": 4}}, "train": {"epochs": 1, "batch_size": 8}}
    data = {"source": str(folder / "photos"), "image_size": 8, "validation_fraction": 0.25}
    study = sw.Study(arms="relu,prelu_channel", seeds=1, data=data, **tiny)
    study.run(folder / "first", engine=InProcessEngine(), keep_weights=True)
    return folder / "first"


def _scans(place: Path) -> None:
    for number in range(30):
        _picture(place / "images" / f"{number}.png", number)
        _picture(place / "masks" / f"{number}.png", number, mask=True)


def _checkpoint(place: Path) -> None:
    state = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8)).state_dict()
    if place.suffix == ".safetensors":
        save_file(state, place)
    elif place.suffix == ".json":
        save_file(state, place.with_name("part.safetensors"))
        place.write_text(json.dumps({"weight_map": dict.fromkeys(state, "part.safetensors")}), encoding="utf-8")
    else:
        torch.save({"ema" if place.suffix == ".pt" else "state_dict": state}, place)


def _recording(place: Path) -> None:
    from slopewise.monitor.sinks import JsonLines

    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(4))
    with sw.watch(model, every=1, sinks=[JsonLines(place)]):
        model(torch.randn(8, 4)).square().mean().backward()
        torch.optim.SGD(model.parameters(), lr=0.01).step()


def _table(place: Path) -> None:
    wide = place.stem == "wide"
    noise = np.random.default_rng(0)
    rows = [(seed, *(31 + noise.normal(0, 0.2) + 0.3 * (arm > 0) for arm in range(3))) for seed in range(8)]
    if wide:
        lines = ["seed,relu,prelu,elu", *(",".join(map(str, row)) for row in rows)]
    else:
        lines = ["activation,seed,val_psnr,psnr"]
        arms = ("relu", "prelu", "elu")
        lines += [f"{arm},{row[0]},{row[k + 1]},{row[k + 1]}" for row in rows for k, arm in enumerate(arms)]
    place.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _copied(source: Callable[[], Path]) -> Callable[[Path], object]:
    return lambda place: shutil.copytree(source(), place) if source().is_dir() else shutil.copyfile(source(), place)


MAKE: dict[str, Callable[[Path], object]] = {
    "photos": _photos,
    "scans": _scans,
    "study": _copied(_study),
    "first": _copied(_first),
    "photo.jpg": lambda place: _picture(place, 0),
    "mynet.py": lambda place: place.write_text(NETWORKS, encoding="utf-8"),
    "mytrain.py": lambda place: place.write_text(FUNCTION, encoding="utf-8"),
    "plain_loop.py": _copied(lambda: ROOT / "examples/train/plain_loop.py"),
    "results.csv": _table,
    "wide.csv": _table,
    "last.ckpt": _checkpoint,
    "last.pt": _checkpoint,
    "model.safetensors": _checkpoint,
    "model.safetensors.index.json": _checkpoint,
    "run.jsonl": _recording,
}
HAS: dict[str, Iterable[str]] = {
    "README.md": ("photos", "scans", "mynet.py", "mytrain.py", "results.csv"),
    "docs/convert.md": ("photos",),
    "docs/faces.md": ("photos",),
    "docs/faq.md": ("study", "first", "photo.jpg"),
    "docs/inspect.md": ("last.ckpt", "last.pt", "model.safetensors", "model.safetensors.index.json", "run.jsonl"),
    "docs/judge.md": ("results.csv", "wide.csv", "study"),
    "docs/report.md": ("study",),
    "docs/spec.md": ("study", "first", "photo.jpg"),
    "docs/train.md": ("plain_loop.py",),
}


def lay(folder: Path, names: Iterable[str]) -> None:
    """Put things into a folder by name."""
    for name in names:
        MAKE[name](folder / name)
