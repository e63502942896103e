"""Files of an image folder with their labels, before any pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._classes import about_classes, class_directories
from slopewise.study.data._parts import arrange, listed
from slopewise.study.data._prepare import TEST_FRACTION
from slopewise.study.data._sides import refuse_pairs
from slopewise.study.data._targets import stratified_split
from slopewise.study.data._tree import Tree, kinds, not_a_folder, scan


@dataclass(frozen=True)
class Files:
    """Pictures of both parts, and notes for the user about the way they were found."""

    classes: tuple[str, ...]
    train: list[Path]
    train_labels: Tensor
    test: list[Path]
    test_labels: Tensor
    notes: tuple[str, ...]


def discover(spec: DataSpec) -> Files:
    """Find the pictures, classes and parts below `data.path`.

    Raises:
        DataError: There is no such folder, it has no classes, or it could be read in two ways.
    """
    if not spec.path:
        raise DataError("data.path: say which folder holds the images (one directory a class)")
    root = Path(spec.path)
    if not root.is_dir():
        raise DataError(f"data.path: {not_a_folder(root)}; it should hold one directory a class")
    arrangement = arrange(scan(root), spec)
    if spec.classes is None:
        refuse_pairs(arrangement.train)
    classes = class_directories(arrangement.train, spec.classes)
    names = tuple(tree.name for tree in classes)
    notes = [*arrangement.notes, *about_classes(arrangement.train, classes, ordered=spec.classes is not None)]
    train, train_labels = _labelled(classes)
    if arrangement.test:
        test_classes = class_directories(arrangement.test, spec.classes)
        _refuse_differing(root, arrangement.train, arrangement.test, names, [tree.name for tree in test_classes])
        test, test_labels = _labelled(test_classes)
        notes += about_classes(arrangement.test, test_classes, ordered=True)
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


def _refuse_differing(root: Path, train: Tree, test: Tree, names: Sequence[str], test_names: Sequence[str]) -> None:
    if odd := sorted(set(names) ^ set(test_names)):
        where = [str(part.path.relative_to(root)) for part in (train, test)]
        sides = [(where[0], sorted(set(names) - set(test_names))), (where[1], sorted(set(test_names) - set(names)))]
        only = "; ".join(f"{listed(alone)} in {part} alone" for part, alone in sides if alone)
        raise DataError(
            f"data.path: '{root}': {where[0]} and {where[1]} differ in classes: {listed(odd)} ({only}); rename or add "
            "directories, or name in data.classes those that both have"
        )


def _labelled(classes: Sequence[Tree]) -> tuple[list[Path], Tensor]:
    files = [path for tree in classes for path in tree.all_pictures]
    return files, torch.tensor([label for label, tree in enumerate(classes) for _ in tree.all_pictures])


def _about_others(classes: Sequence[Tree]) -> list[str]:
    """Return a note with the numbers of files that are not pictures, by kind."""
    others = [path for tree in classes for path in tree.all_others]
    if not others:
        return []
    names = sorted({tree.name for tree in classes if tree.all_others})
    where = f"class '{names[0]}'" if len(names) == 1 else f"{len(names)} classes"
    files = "file is" if len(others) == 1 else "files are"
    return [f"{len(others)} {files} left out of {where}, since Pillow reads no picture from them: {kinds(others)}"]
