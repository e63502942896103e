"""Classes of an image folder: which directories they are, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slopewise.errors import DataError
from slopewise.study.data._parts import SHOWN, listed
from slopewise.study.data._tree import Tree, kinds


def class_directories(part: Tree, names: tuple[str, ...] | None) -> list[Tree]:
    """Return the directories of a part that are its classes, in the order of their labels.

    Args:
        part: Directory of the classes.
        names: Names of the classes in order; None takes every directory, sorted by name as text, which is the order
            of torchvision and Keras.

    Raises:
        DataError: A class has no directory, or its directory has no picture.
    """
    by_name = {tree.name: tree for tree in part.below}
    if names is not None and (missing := [name for name in names if name not in by_name]):
        raise DataError(
            f"data.classes: '{part.path}' has no directory '{missing[0]}'; it has {listed(sorted(by_name))}"
        )
    classes = list(by_name.values()) if names is None else [by_name[name] for name in names]
    for tree in classes:
        if not tree.all_pictures:
            raise DataError(
                f"data.path: class '{tree.name}' has no picture{_instead(tree)} in '{tree.path}': add some, remove the "
                "directory, or name in data.classes the directories that are classes"
            )
    return classes


def about_classes(part: Tree, classes: Sequence[Tree], *, ordered: bool) -> list[str]:
    """Return notes about the classes: their order unless it was given, and directories and pictures left out."""
    notes = []
    names = [tree.name for tree in classes]
    by_value = sorted(names, key=natural_key)
    if not ordered and by_value != names:
        notes.append(
            f"classes are numbered in the order of their names as text ({_quoted(names)}), as torchvision and Keras "
            f"do, not by value ({_quoted(by_value)}): a checkpoint's head that was trained in another order needs that "
            "as data.classes"
        )
    if unused := [tree.name for tree in part.with_pictures if tree.name not in names]:
        notes.append(f"data.classes leaves out {listed(unused)} of '{part.path}'")
    if part.pictures:
        notes.append(
            f"{len(part.pictures)} pictures lie beside the classes in '{part.path}', not in one, and are left out"
        )
    if nested := [tree for tree in classes if len(tree.with_pictures) > 1]:
        inner = listed([below.name for below in nested[0].with_pictures])
        notes.append(
            f"classes are the directories of '{part.path}', and all pictures below one are of that class "
            f"('{nested[0].name}' holds {inner})"
        )
    return notes


def natural_key(name: str) -> str:
    """Return a key that sorts the numbers in names by value and all else as text.

    Example:
        >>> sorted(["class10", "class9", "class", "b"], key=natural_key)
        ['b', 'class', 'class9', 'class10']
    """
    return re.sub(r"\d+", lambda digits: digits[0].zfill(30), name)


def _instead(tree: Tree) -> str:
    return f" that Pillow reads, but {kinds(tree.all_others)}," if tree.all_others else ""


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
