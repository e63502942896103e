"""One NumPy archive of images and targets, by any of the usual names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slopewise.errors import DataError
from slopewise.machine import memory
from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._arrays import from_arrays
from slopewise.study.data._base import RawData
from slopewise.study.data._labels import class_numbers
from slopewise.study.data._prepare import TEST_FRACTION
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._targets import TargetKind, split

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_X = "x|xs|images?|imgs?|data|inputs?|features?|samples?|pictures?|pixels?"
_Y = "y|ys|targets?"
# Words for images and targets by the kind of targets; an array named by an earlier group goes before those of a later.
_WORDS: dict[TargetKind, dict[str, tuple[str, ...]]] = {
    "labels": {"x": (_X,), "y": (f"{_Y}|labels?",)},
    "multilabel": {"x": (_X,), "y": ("onehot|multi(labels?|hot)|tags?|attributes?", f"{_Y}|labels?")},
    "masks": {"x": (_X,), "y": ("masks?|seg(mentation)?s?|annotations?|gt|groundtruth", f"{_Y}|labels?")},
    "values": {"x": (_X,), "y": ("values?", _Y, "labels?")},
    "images": {
        "x": ("lr|low|lowres|noisy|degraded|blurr(y|ed)|corrupted", _X),
        "y": ("hr|high|highres|clean|sharp|originals?|gt|groundtruth", _Y),
    },
}
_EXAMPLES = {"masks": "train_images, test_masks", "images": "lr_train, hr_test"}
_PARTS = {"train": "train|training|trn|tr", "test": "test|testing|tst|te"}


def load(spec: DataSpec, reader: ImageReader) -> RawData:
    """Read images (N, H, W), (N, C, H, W) or (N, H, W, C), or volumes, and targets of both parts.

    An archive with one pair of arrays alone has a fixed fifth taken as the test set, of labels a fifth of each class.

    Raises:
        DataError: The file is missing or not an archive, or lacks one of the arrays.
    """
    if not spec.path:
        raise DataError("data.path: say which .npz file holds the images")
    path = Path(spec.path)
    try:
        # NumPy leaves a file open that it opened itself and that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise DataError(f"data.path: '{path}' holds a single array; needed are {', '.join(_KEYS)} in an .npz")
            keys = find_keys(archive.files, path, reader.targets)
            _check_room(archive, keys.values(), path)
            arrays = {role: _read(archive, key, path) for role, key in keys.items()}
            unused = [key for key in archive.files if key not in keys.values()]
    except DataError:
        raise
    except Exception as error:  # the readers of archives raise nearly anything on a damaged file
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"data.path: cannot read '{path}' as an .npz file: {words}") from error
    notes = (f"arrays {', '.join(unused)} of '{path}' are left out",) if unused else ()
    if "x" in arrays:
        arrays = _parted(arrays, spec, reader.targets)
    x_train, y_train, x_test, y_test = (arrays[key] for key in _KEYS)
    return replace(from_arrays(x_train, y_train, x_test, y_test, spec, reader.targets), notes=notes)


def find_keys(names: Iterable[str], path: Path, kind: TargetKind = "labels") -> dict[str, str]:
    """Return the names of the arrays by their roles: `x_train` to `y_test`, or `x` and `y` if no name has a part.

    Raises:
        DataError: A role has no array, or several.

    Example:
        >>> find_keys(["trainX", "train_labels", "images_test", "y_test", "val_images"], Path("a.npz"))
        {'x_train': 'trainX', 'y_train': 'train_labels', 'x_test': 'images_test', 'y_test': 'y_test'}
        >>> find_keys(["images", "labels", "masks"], Path("a.npz"), "masks")
        {'x': 'images', 'y': 'masks'}
    """
    names = list(names)
    candidates: dict[str, list[str]] = {}
    for axis, groups in _WORDS[kind].items():
        for words in groups:
            for role, matches in _matches(axis, words, names).items():
                candidates.setdefault(role, matches)
    roles = ("x", "y") if not any(key in candidates for key in _KEYS) and {"x", "y"} <= candidates.keys() else _KEYS
    if missing := [key for key in roles if key not in candidates]:
        lacking = next((axis for axis in ("x", "y") if not any(key[0] == axis for key in candidates)), missing[0])
        raise DataError(
            f"data.path: '{path}' has no array {lacking} (it has {', '.join(names)}); needed are "
            f"{', '.join(_KEYS)}, or names that say the same ({_EXAMPLES.get(kind, 'train_images, testY')})"
        )
    for key in roles:
        if len(candidates[key]) > 1:
            raise DataError(
                f"data.path: '{path}' has {' and '.join(candidates[key])}, either of which may be {key}: keep one"
            )
    return {key: candidates[key][0] for key in roles}


def _matches(axis: str, words: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names that consist of one of the words and perhaps of a part, by role."""
    matches: dict[str, list[str]] = defaultdict(list)
    for name in names:
        plain = re.sub(r"[\W_]", "", name.lower())
        if re.fullmatch(words, plain):
            matches[axis].append(name)
        for part, parts in _PARTS.items():
            if re.fullmatch(f"({words})({parts})|({parts})({words})", plain):
                matches[f"{axis}_{part}"].append(name)
    return matches


def _check_room(archive: Any, keys: Iterable[str], path: Path) -> None:
    """Check that arrays fit into this machine's memory, by the sizes that the archive declares, before any is unpacked.

    Raises:
        DataError: They do not; a small file may declare any size.
    """
    declared = {member.filename.removesuffix(".npy"): member.file_size for member in archive.zip.infolist()}
    needed, room = sum(declared.get(key, 0) for key in keys), memory()
    if needed > room:
        raise DataError(
            f"data.path: '{path}' declares arrays of {needed / 2**30:,.1f} GiB in a file of "
            f"{path.stat().st_size / 2**20:,.1f} MiB, and this machine has {room / 2**30:,.1f} GiB of memory: leave "
            "out images, or use a smaller number type"
        )


def _read(archive: Any, key: str, path: Path) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(archive[key])
    except ValueError as error:
        raise DataError(
            f"data.path: array {key} of '{path}' cannot be read ({error}): if it holds images of several sizes, "
            "or other objects, make it one array of numbers"
        ) from error


def _parted(
    arrays: dict[str, np.ndarray[Any, Any]], spec: DataSpec, kind: TargetKind
) -> dict[str, np.ndarray[Any, Any]]:
    images, targets = arrays["x"], arrays["y"]
    if kind == "labels":
        targets = class_numbers(targets, "labels", spec.classes).numpy()
    if len(images) != len(targets):
        noun = {"labels": "label", "masks": "mask"}.get(kind, "target")
        raise DataError(f"data: {len(images)} images but {len(targets)} {noun}s: there must be one {noun} an image")
    order = torch.from_numpy(targets) if kind == "labels" else torch.arange(len(targets))
    parts = dict(zip(("train", "test"), split(order, kind, TEST_FRACTION, stream(0, "npz-test")), strict=True))
    values = {"x": images, "y": targets}
    return {key: values[key[0]][parts[key[2:]].numpy()] for key in _KEYS}
