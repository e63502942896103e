"""Files of other formats are named for what they are, with what to do about each."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slopewise.checkpoint import CheckpointError, load_state_dict

Write = Callable[[Path], object]


def zipped(*names: str) -> Write:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "{}")

    return write


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("best.pth"), io.BytesIO())


def folder(*names: str) -> Write:
    def write(path: Path) -> None:
        for name in names:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).touch()

    return write


def script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.PReLU(), torch.ones(1)), path)


def raw(content: bytes) -> Write:
    return lambda path: path.write_bytes(content)


FILES: dict[str, tuple[Write, str]] = {
    "empty.pt": (raw(b""), "is empty: fetch or save it again"),
    "page.pth": (raw(b"\xef\xbb\xbf\n<!doctype HTML><title>Sign in"), r"is a web page \(HTML\).*in a browser"),
    "page.safetensors": (raw(b"<html>429 Too Many Requests</html>"), r"is a web page \(HTML\)"),
    "denied.ckpt": (raw(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'), "is XML in place of"),
    "config.json": (raw(b'{"architectures": ["ResNet"]}'), "is JSON: name the file with the weights"),
    "readme.md": (raw("Gewichte für später\n".encode()), "is text: fetch the checkpoint itself"),
    "pointer.ckpt": (raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "run `git lfs pull`"),
    "pointer.index.json": (raw(b"version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
    "model.h5": (raw(b"\x89HDF\r\n\x1a\n" + bytes(99)), "is an HDF5 file.*in Keras, save"),
    "array.npy": (lambda path: np.save(path, np.ones(3)), "is a NumPy array without a name"),
    "arrays.npz": (lambda path: np.savez(path, a=np.ones(3)), "is an .npz of NumPy: save its arrays by name with"),
    "model.keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "is a Keras model"),
    "script.pt": (script, "is a TorchScript archive: save torch.jit.load"),
    "program.pt2": (zipped("m/models/model.json", "m/data/weights/weight_0"), "is an exported program of torch.export"),
    "weights.zip": (zipped("run/best.pth", "run/log.txt"), "is a zip archive with run/best.pth: unpack it"),
    "code.zip": (zipped("setup.py"), "is a zip archive: fetch the checkpoint itself"),
    "weights.pth.gz": (lambda path: path.write_bytes(gzip.compress(b"x")), "is compressed with gzip: unpack it"),
    "weights.tar": (tarred, "is a tar archive: unpack it"),
    "model.gguf": (raw(b"GGUF\x03\x00\x00\x00"), "is a GGUF file"),
    "model.tflite": (raw(b"\x1c\x00\x00\x00TFL3\x14\x00\x20\x00"), "is a TensorFlow Lite model"),
    "renamed.pt": (raw(b"\x08\x08\x12\x07pytorch\x1a\x05"), "is an ONNX model"),
    "frozen.pb": (raw(b"\x0a\x20\x0a\x04\xffnet\x12\x0b"), "is a graph of TensorFlow"),
    "model.ckpt-9.data-00000-of-00001": (raw(b"\x00\x01\xff" * 9), "is the data of a TensorFlow checkpoint"),
    "model.ckpt-9.index": (raw(b"\x00\x00\x02\xff\x08"), "is the index of a TensorFlow checkpoint"),
    "checkpoint": (raw(b'model_checkpoint_path: "model.ckpt-9"\n'), "is the list of a TensorFlow folder's"),
    "net-0001.params": (raw(b"\x12\x01" + bytes(14)), "is a parameter file of MXNet"),
    "flax_model.msgpack": (raw(b"\x82\xa6params\xff"), "is a checkpoint of Flax"),
    "net.xml": (raw(b'<?xml version="1.0"?>\n<net name="torch_jit" version="11">'), "is a model of OpenVINO"),
    "net.bin": (raw(b"\x00\x00\x80\x3f\xff" * 9), "is raw bytes, as OpenVINO"),
    "net.param": (raw(b"7767517\n75 83\n"), "is an ncnn model"),
    "net.mlmodel": (raw(b"\x08\x04\x12\xff\x01"), "is a.* model"),
    "noise": (raw(bytes(range(255, 0, -1))), "is of no format that is known here"),
    "no-index.index.json": (lambda path: path.write_text(json.dumps({"weights": 1})), "is no index of a checkpoint"),
    "saved_model": (folder("saved_model.pb", "variables/variables.index"), "is a SavedModel of TensorFlow"),
    "sharded": (folder(".metadata", "__0_0.distcp"), "distributed checkpoint.*dcp_to_torch_save"),
    "model": (folder("config.json", "model.safetensors"), r"is a folder: name the checkpoint in it \(model.safete"),
    "archive": (folder("data.pkl", "data/0", "version"), "is an unpacked file of torch.save: pack it again"),
    "net.mlpackage": (folder("Manifest.json"), "is a Core ML model"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", FILES)
def test_what_it_is(tmp_path: Path, name: str) -> None:
    write, message = FILES[name]
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_state_dict(tmp_path / name)
    assert "\n" not in str(refusal.value)


def test_content_counts_more_than_the_name(tmp_path: Path) -> None:
    for name in ("net.onnx", "net.h5", "net.params", "net.pb", "checkpoint"):
        torch.save(nn.PReLU().state_dict(), tmp_path / name)
        assert list(load_state_dict(tmp_path / name)) == ["weight"]
