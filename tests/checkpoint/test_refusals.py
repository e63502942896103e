"""Files that cannot be read: one line each, with what to do."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from slopewise.checkpoint import CheckpointError, load_state_dict


def cut(path: Path, write: Callable[[Path], object]) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[:-600])


def saved(content: object, *, zipped: bool = True) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path, _use_new_zipfile_serialization=zipped)


def index(weight_map: object) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps({"weight_map": weight_map}))


TENSORS = {"a.weight": torch.ones(1000)}
REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("x.pt", lambda path: None, "cannot read the checkpoint '.*x.pt': No such file"),
    "a folder": ("x", lambda path: path.mkdir(), "is a folder: name the checkpoint in it"),
    "cut off": ("x.pt", lambda path: cut(path, saved(TENSORS)), "zip archive whose end is missing.*: fetch it again"),
    "cut off, before 1.6": ("x.pt", lambda path: cut(path, saved(TENSORS, zipped=False)), "was cut off .*: fetch or"),
    "safetensors cut off": ("x.safetensors", lambda p: cut(p, lambda q: save_file(TENSORS, q)), "no whole safetensors"),
    "no dict": ("x.pt", saved([torch.ones(3)]), "no state dict: it is a list"),
    "a tensor": ("x.pt", saved(torch.ones(3)), "no state dict: it is a tensor without a name"),
    "no values": ("x.pt", saved(nn.Linear(2, 2, device="meta").state_dict()), "weight is a meta tensor"),
    "empty dict": ("x.pt", saved({}), "no state dict: it is empty"),
    "no tensors": ("x.pt", saved({"epoch": 3, "loss": torch.tensor(0.1)}), "no state dict: its keys are epoch, loss"),
    "several": (
        "x.pt", saved({"model": TENSORS, "ema": TENSORS | {"b": torch.ones(1)}}),
        r"several state dicts, 'model' \(1 tensors\), 'ema' \(2 tensors\): pick one with key, as key=model$",
    ),
    "index of nothing": ("x.index.json", lambda path: path.write_text("[1]"), "no index of a checkpoint"),
    "index of no JSON": ("x.index.json", lambda path: path.write_text("{"), "no index of a checkpoint"),
    "index elsewhere": ("x.index.json", index({"a": "../y.bin"}), "names '../y.bin', which is not a file beside it"),
    "part missing": ("x.index.json", index({"a": "y.bin"}), "cannot read the checkpoint '.*y.bin'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(tmp_path: Path, case: str) -> None:
    name, write, message = REFUSED[case]
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_state_dict(tmp_path / name)
    assert "\n" not in str(refusal.value)
    assert "\x1b" not in str(refusal.value)


def test_a_part_without_a_name_of_the_index(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "y.bin")
    index({"a.weight": "y.bin", "b.weight": "y.bin"})(tmp_path / "x.index.json")
    with pytest.raises(CheckpointError, match=r"names b.weight, which 'y.bin' does not hold"):
        load_state_dict(tmp_path / "x.index.json")


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "model_ema": TENSORS}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=r"no state dict at 'modelema'; did you mean 'model_ema'\?"):
        load_state_dict(tmp_path / "x.pt", "modelema")


def test_safetensors_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(CheckpointError, match=r"needs 'safetensors': pip install"):
        load_state_dict(tmp_path / "x.safetensors")
