"""Roles of the directories in a folder of images: parts of a data set, or classes.

Parts are recognised by their names. An ambiguous tree is an error, which `data.parts` or `data.classes` resolves.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._tree import Tree, kinds, scan

Role = Literal["train", "test", "other"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "trainvalid"), "train"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "eval", "evaluation", "dev", "development"), "other"),
    **dict.fromkeys(("holdout", "heldout"), "other"),
}
_FILLERS = r"sets?|data|datasets?|images?|imgs?|pictures?|pics?|photos?|samples?|splits?|parts?|folders?|dirs?|files?"
_GLUED = re.compile(rf"({_FILLERS})?({'|'.join(_ROLES)})({_FILLERS})?")  # Testset, imgtrain
_FILLER = re.compile(rf"({_FILLERS}|\d+|jpe?g|png|the|all|my|new|final|original|raw)")
_FOLDS = {"fold", "folds", "split", "splits", "cv"}
SHOWN = 6  # names in a message


@dataclass(frozen=True)
class Arrangement:
    """Directories whose subdirectories are the classes; without `test`, a fraction of `train` is the test set."""

    train: Tree
    test: Tree | None
    notes: tuple[str, ...] = ()


def arrange(root: Tree, spec: DataSpec) -> Arrangement:
    """Find the directories of training and test images.

    Raises:
        DataError: The tree has no classes, or could be read in two ways.
    """
    if spec.parts is not None:
        train, test = (_unwrapped(_part(root, name)) for name in spec.parts)
        return Arrangement(train, test)
    directories = root.with_pictures
    if not directories:
        raise DataError(f"data.path: '{root.path}' has no directories with pictures; {_WANTED}{_loose(root)}")
    names = [tree.name for tree in directories]
    if spec.classes is not None and set(spec.classes) <= set(names):
        return Arrangement(root, None)
    roles = part_roles([tree.name for tree in root.below])
    trains, tests = ([tree for tree in directories if roles.get(tree.name) == role] for role in ("train", "test"))
    if len(trains) == len(tests) == 1:
        return Arrangement(_unwrapped(trains[0]), _unwrapped(tests[0]), _left_out(root, trains + tests))
    if roles:
        parts = sorted([name for name in names if name in roles] or roles, key=lambda name: roles[name] != "train")
        raise DataError(
            f"data.path: '{root.path}' holds {listed(parts)}, which are parts of a data set and no classes"
            f"{_unreadable(root)}: {_ask(parts, names)}"
        )
    if len(directories) == 1:
        raise DataError(
            f"data.path: '{root.path}' has pictures in one directory alone, '{names[0]}', and one class is nothing to "
            f"tell apart{_unreadable(root)}: if the classes or parts lie in that, give '{directories[0].path}'"
        )
    _refuse_parts_below(root, directories)
    _refuse_same_below(root, directories)
    return Arrangement(root, None)


def part_roles(names: Sequence[str]) -> dict[str, Role]:
    """Return the sibling directories that are parts of a data set by their names, with the role of each.

    A name is that of a part if it consists of the word for a part and fillers (`Training Set`, `train2017`), or if a
    sibling differs from it in that word alone (`seg_train` beside `seg_test`; a single `crash test` is a class).

    Example:
        >>> part_roles(["seg_train", "seg_test", "seg_pred"])
        {'seg_train': 'train', 'seg_test': 'test'}
        >>> part_roles(["crash test", "TrainingData", "fold 1"])
        {'TrainingData': 'train', 'fold 1': 'other'}
    """
    read = {name: _role_and_rest(name) for name in names}
    siblings: dict[tuple[str, ...], set[Role]] = defaultdict(set)
    for role, rest in read.values():
        if role:
            siblings[rest].add(role)
    return {name: role for name, (role, rest) in read.items() if role and (not rest or len(siblings[rest]) > 1)}


def _role_and_rest(name: str) -> tuple[Role | None, tuple[str, ...]]:
    """Return the role that a name contains, if any, and its words that are neither roles nor fillers."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)  # TrainImages
    words = re.findall(r"[^\W\d_]+|\d+", parted.lower())
    roles: list[Role] = []
    rest: list[str] = []
    for word in words:
        if glued := _GLUED.fullmatch(word):
            roles.append(_ROLES[glued[2]])
        elif not _FILLER.fullmatch(word):
            rest.append(word)
    if set(words) & _FOLDS and any(map(str.isdecimal, words)) and set(rest) <= _FOLDS:
        return roles[0] if roles else "other", ()
    if len(set(roles)) > 1:  # train_val is for training; other mixtures are neither
        roles = ["train" if set(roles) == {"train", "other"} else "other"]
    return roles[0] if roles else None, tuple(rest)


def _part(root: Tree, name: str) -> Tree:
    path = root.path / name
    if not path.is_dir():
        names = listed([tree.name for tree in root.below]) or "none"
        raise DataError(f"data.parts: '{path}' is not a directory; those in '{root.path}' are {names}")
    return scan(path)


def _unwrapped(part: Tree) -> Tree:
    """Return the directory that holds the classes: `test/test/CLASS` has one directory too many."""
    while not part.pictures and len(part.with_pictures) == 1 and _only_below(part.with_pictures[0]):
        part = part.with_pictures[0]
    if not part.with_pictures:
        raise DataError(
            f"data.path: '{part.path}' has no directories with pictures, so that nothing tells their classes; "
            f"{_WANTED}{_loose(part)}. Name another part in data.parts, or give as data.path the part that has "
            "classes, of which a fifth will be the test set"
        )
    return part


def _only_below(tree: Tree) -> bool:
    return not tree.pictures and bool(tree.with_pictures)


def _left_out(root: Tree, used: Sequence[Tree]) -> tuple[str, ...]:
    left = [tree for tree in root.with_pictures if tree not in used]
    if not left:
        return ()
    counted = listed([f"{tree.name} ({len(tree.all_pictures)} pictures)" for tree in left])
    return (
        f"beside {used[0].name} and {used[1].name}, '{root.path}' holds {counted}, left out: validation images are "
        "drawn from the training part",
    )


def _refuse_parts_below(root: Tree, directories: Sequence[Tree]) -> None:
    for tree in directories:
        roles = part_roles([below.name for below in tree.with_pictures])
        if {"train", "test"} <= set(roles.values()) or {"train", "other"} <= set(roles.values()):
            raise DataError(
                f"data.path: directories {listed([d.name for d in directories])} of '{root.path}' hold the parts "
                f"{listed(list(roles))}: give the one whose directories are to be told apart ('{tree.path}'), or move "
                "the parts above the classes (train/CLASS/, test/CLASS/)"
            )


def _refuse_same_below(root: Tree, directories: Sequence[Tree]) -> None:
    for one, other in combinations(directories[:SHOWN], 2):
        if one.pictures or other.pictures:
            continue
        same = {tree.name for tree in one.with_pictures} & {tree.name for tree in other.with_pictures}
        if len(same) > 1:
            names = [tree.name for tree in directories]
            raise DataError(
                f"data.path: {listed([one.name, other.name])} in '{root.path}' hold the same directories "
                f"({listed(sorted(same))}), so they may be parts of a data set and no classes: "
                f"{_ask([one.name, other.name], names)}"
            )


def _ask(parts: Sequence[str], names: Sequence[str]) -> str:
    return (
        f"{ask_parts(parts)}; if all are classes, name them: data.classes = ["
        f"{', '.join(repr(name) for name in names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}]"
    )


def ask_parts(parts: Sequence[str]) -> str:
    """Return a request to name the parts in `data.parts`."""
    first, second = parts[0], parts[1] if len(parts) > 1 else "TEST"
    return f'say which one to train and which one to test on, as in --set \'data.parts=["{first}", "{second}"]\''


_WANTED = "each class needs one, with its pictures inside"


def _loose(tree: Tree) -> str:
    """Return a clause about the contents of a directory that has no directories with pictures."""
    if tree.pictures:
        return (
            f" ({len(tree.pictures)} pictures lie in it directly; labels in a table need data of your own, "
            "module:callable)"
        )
    if tree.all_others:
        return f"; Pillow reads no picture from what it holds ({kinds(tree.all_others)}): convert that to PNG or TIFF"
    return ""


def _unreadable(root: Tree) -> str:
    """Return a clause about the directories that hold files, none of which is a picture."""
    descriptions = [f"'{tree.name}': {kinds(tree.all_others)}" for tree in root.below if _holds_other_files_alone(tree)]
    return f" (Pillow reads no picture from {listed(descriptions)})" if descriptions else ""


def _holds_other_files_alone(tree: Tree) -> bool:
    return bool(tree.all_others) and not tree.all_pictures


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
