"""Files of an image folder with their labels, before any pixel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._classes import about_classes, class_directories
from slopewise.study.data._parts import arrange
from slopewise.study.data._prepare import TEST_FRACTION, stratified_split
from slopewise.study.data._tree import Tree, scan


@dataclass(frozen=True)
class Files:
    """Pictures of both parts, and what a user should know of how they were found."""

    classes: tuple[str, ...]
    train: list[Path]
    train_labels: Tensor
    test: list[Path]
    test_labels: Tensor
    notes: tuple[str, ...]


def discover(spec: DataSpec) -> Files:
    """Find the pictures, classes and parts below `data.path`.

    Raises:
        DataError: there is no such folder, it has no classes, or it could be read in two ways.
    """
    if not spec.path:
        raise DataError("data.path: say which folder holds the images (one directory a class)")
    root = Path(spec.path)
    if not root.is_dir():
        raise DataError(f"data.path: '{root}' is not a folder; it should hold one directory a class")
    found = arrange(scan(root), spec)
    classes = class_directories(found.train, spec.classes)
    names = tuple(tree.name for tree in classes)
    notes = [*found.notes, *about_classes(found.train, classes, ordered=spec.classes is not None)]
    train, train_labels = _labelled(classes)
    if found.test:
        test_classes = class_directories(found.test, spec.classes)
        if odd := sorted(set(names) ^ {tree.name for tree in test_classes}):
            raise DataError(
                f"data.path: '{root}': {found.train.path.relative_to(root)} and {found.test.path.relative_to(root)} "
                f"differ in classes: {', '.join(odd)}"
            )
        test, test_labels = _labelled(test_classes)
        notes += about_classes(found.test, test_classes, ordered=True)
        classes = classes + test_classes
    else:
        keep, held_out = stratified_split(train_labels, TEST_FRACTION, stream(0, "folder-test"))
        if not len(held_out):
            raise DataError(
                f"data.path: a fifth of the images of each class in '{root}' is less than one, so there is no test "
                "set: add images, or make folders train/ and test/"
            )
        test, test_labels = [train[i] for i in held_out], train_labels[held_out]
        train, train_labels = [train[i] for i in keep], train_labels[keep]
    return Files(names, train, train_labels, test, test_labels, (*notes, *_about_others(classes)))


def _labelled(classes: Sequence[Tree]) -> tuple[list[Path], Tensor]:
    files = [path for tree in classes for path in tree.all_pictures]
    return files, torch.tensor([label for label, tree in enumerate(classes) for _ in tree.all_pictures])


def _about_others(classes: Sequence[Tree]) -> list[str]:
    """A note that counts the files that were not taken for pictures, by what they are."""
    others = {tree: [path for below in tree.walk() for path in below.others] for tree in classes}
    kinds = Counter(_kind(path) for paths in others.values() for path in paths)
    if not kinds:
        return []
    names = sorted({tree.name for tree, paths in others.items() if paths})
    where = f"class '{names[0]}'" if len(names) == 1 else f"{len(names)} classes"
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    files = "file is" if kinds.total() == 1 else "files are"
    return [f"{kinds.total()} {files} left out of {where}, since Pillow reads no picture from them: {counted}"]


def _kind(path: Path) -> str:
    if path.is_dir():
        return "linked directories that lead back up"
    if not path.exists():
        return "broken links"
    return path.suffix.lower() or "without a suffix"
