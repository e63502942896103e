"""Identification of files that are not checkpoints, by their content or else by their name, with advice for each."""

from __future__ import annotations

import codecs
import re
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

GIT_LFS = b"version https://git-lfs"
_ARRAYS = "load it there and save its arrays by name with safetensors.numpy.save_file"
_KERAS = "in Keras, save {variable.path: variable.numpy()} of model.variables with safetensors.numpy.save_file"
_SOURCE = "take the checkpoint that it was exported from"
_UNPACK = "unpack it and name the checkpoint in it"
_FETCH = "fetch the checkpoint itself"
_TENSORFLOW = "load it in TensorFlow and save its variables by name with safetensors.numpy.save_file"

# Offset and bytes by which content is identified, the format's name, and the advice.
_STARTS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, GIT_LFS, "a Git LFS pointer, not the checkpoint itself", "run `git lfs pull` there"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes its weights", _KERAS),
    (0, b"\x93NUMPY", "a NumPy array without a name", "save the arrays by name with safetensors.numpy.save_file"),
    (0, b"GGUF", "a GGUF file, of llama.cpp", _SOURCE),
    (0, b"ggjt", "a GGML file, of llama.cpp", _SOURCE),
    (0, b"ftrt", "an engine of TensorRT", _SOURCE),
    (4, b"TFL3", "a TensorFlow Lite model", _SOURCE),
    (4, b"ET12", "a program of ExecuTorch", _SOURCE),
    (0, b"7767517\n", "an ncnn model", _SOURCE),
    (0, b"\x12\x01\x00\x00\x00\x00\x00\x00", "a parameter file of MXNet", _ARRAYS),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x89PNG", "a PNG image", _FETCH),
    (0, b"\xff\xd8\xff", "a JPEG image", _FETCH),
    (0, b"%PDF", "a PDF document", _FETCH),
    (0, b"SQLite format 3", "a SQLite database", _FETCH),
    (0, b"PK\x03\x04", "a zip archive whose end is missing, as of a download that was cut off", "fetch it again"),
)  # fmt: skip
# Endings of names, for content that is not identified.
_SUFFIXES: tuple[tuple[str, str, str], ...] = (
    (".onnx", "an ONNX model", _SOURCE),
    (".mlmodel", "a Core ML model", _SOURCE),
    (".tflite", "a TensorFlow Lite model", _SOURCE),
    (".ckpt.index", "the index of a TensorFlow checkpoint", _TENSORFLOW),
    (".index", "the index of a TensorFlow checkpoint", _TENSORFLOW),
    (".meta", "the graph of a TensorFlow checkpoint", _TENSORFLOW),
    (".pb", "a graph of TensorFlow", _TENSORFLOW),
    (".msgpack", "a checkpoint of Flax", _ARRAYS),
    (".flax", "a checkpoint of Flax", _ARRAYS),
    (".caffemodel", "a Caffe model", _ARRAYS),
    (".params", "a parameter file of MXNet", _ARRAYS),
    (".pdmodel", "a program of PaddlePaddle", "name its .pdparams, which is read"),
    (".pdiparams", "the parameters of an exported PaddlePaddle program", "name the .pdparams of its training"),
    (".weights", "a weight file of Darknet", _ARRAYS),
    (".t7", "a file of Torch 7", _ARRAYS),
    (".mnn", "a model of MNN", _SOURCE),
    (".param", "an ncnn model", _SOURCE),
    (".distcp", "a part of a distributed checkpoint", "name its folder to torch.distributed.checkpoint.format_utils."
     "dcp_to_torch_save, and inspect the file that it writes"),
    (".bin", "raw bytes, as OpenVINO, ncnn and others keep their weights", _SOURCE),
)  # fmt: skip
_DATA_OF_TENSORFLOW = re.compile(r".*\.data-\d+-of-\d+")
_NAMES_OF_CHECKPOINTS = re.compile(r".*\.(safetensors|pth|pt|ckpt|bin|tar|pkl|pdparams)|.*\.index\.json")
_SHOWN = 4


def identify_file(path: Path, start: bytes) -> tuple[str, str] | None:
    """Return the kind of a file and the advice for it, or None if it is unknown.

    Args:
        path: Path of the file; its name counts if the content does not identify it.
        start: First bytes of the file, 512 or as many as it has.
    """
    if not start:
        return "empty", "fetch or save it again"
    if start.startswith(b"PK\x03\x04") and is_zip(path):
        with suppress(zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError):  # damaged
            return _archive(path)
    by_content = ((kind, advice) for offset, sign, kind, advice in _STARTS if start[offset:].startswith(sign))
    identified = next(by_content, None)
    if identified is None and _is_text(start):
        return _text(start.lstrip(b"\xef\xbb\xbf \t\r\n"))
    return identified or _by_name(path, start)


def is_zip(path: Path) -> bool:
    """Return True if a file ends like a zip archive; Python 3.11 raises for one that would span several disks."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def describe_folder(path: Path) -> str:
    """Return the kind of a folder and the advice for it, judged by its files."""
    names = sorted(entry.name for entry in path.iterdir())
    if "data.pkl" in names and "data" in names:
        return f"an unpacked file of torch.save: pack it again, `cd '{path.parent}' && zip -0 -r packed.pt {path.name}`"
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return (
            "a distributed checkpoint: torch.distributed.checkpoint.format_utils.dcp_to_torch_save writes it as one "
            "file; inspect that"
        )
    if "saved_model.pb" in names:
        return f"a SavedModel of TensorFlow: {_TENSORFLOW}"
    if path.suffix == ".mlpackage":
        return f"a Core ML model: {_SOURCE}"
    if "manifest.ocdbt" in names or "_METADATA" in names:
        return f"a checkpoint of Orbax (JAX): {_ARRAYS}"
    inside = [name for name in names if _NAMES_OF_CHECKPOINTS.fullmatch(name)]
    listing = f" ({_some(inside)})" if inside else ""
    return f"a folder: name the checkpoint in it{listing}, or its .index.json if it has parts"


def _by_name(path: Path, start: bytes) -> tuple[str, str] | None:
    if _is_onnx(start):
        return "an ONNX model", _SOURCE
    if _DATA_OF_TENSORFLOW.fullmatch(path.name):
        return "the data of a TensorFlow checkpoint", _TENSORFLOW
    return next(((kind, advice) for suffix, kind, advice in _SUFFIXES if path.name.endswith(suffix)), None)


def _archive(path: Path) -> tuple[str, str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    leaves = {name.rpartition("/")[2] for name in names}
    if {"config.json", "metadata.json"} <= leaves or "model.weights.h5" in leaves:
        return "a Keras model", _KERAS
    if "constants.pkl" in leaves:
        return "a TorchScript archive", "save torch.jit.load(...).state_dict() with torch.save, and inspect that"
    if "serialized_exported_program.json" in leaves or any("/models/" in f"/{name}" for name in names):
        return (
            "an exported program of torch.export",
            "save torch.export.load(...).state_dict with torch.save, and inspect that",
        )
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz of NumPy", "save its arrays by name with safetensors.numpy.save_file, and inspect that"
    inside = [name for name in names if _NAMES_OF_CHECKPOINTS.fullmatch(name)]
    return f"a zip archive{f' with {_some(inside)}' if inside else ''}", _UNPACK if inside else _FETCH


def _text(start: bytes) -> tuple[str, str]:
    lowered = start[:200].lower()
    if lowered.startswith((b"<!doctype html", b"<html", b"<head", b"<script")):
        return "a web page (HTML) in place of the file", "open its address in a browser, which says why"
    if lowered.startswith(b"<?xml") and (b"<net" in lowered or b"<model" in lowered):
        return "a model of OpenVINO", _SOURCE
    if lowered.startswith(b"<"):
        return "XML in place of the file, as servers answer errors", "open it in an editor: it says why"
    if lowered.startswith((b"{", b"[")):
        return "JSON", "name the file with the weights; of a checkpoint in parts, its .index.json"
    if lowered.startswith(b"model_checkpoint_path:"):
        return "the list of a TensorFlow folder's checkpoints", _TENSORFLOW
    return "text", _FETCH


def _is_text(start: bytes) -> bool:
    try:
        decoded = codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return all(sign.isprintable() or sign.isspace() or sign == "\ufeff" for sign in decoded)


def _is_onnx(start: bytes) -> bool:
    """Return True for a format version followed by producer, graph or operators, as all exporters begin a file."""
    return start[:1] == b"\x08" and 0 < start[1] < 32 and start[2:3] in {b"\x12", b"\x1a", b"\x3a", b"\x42"}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
