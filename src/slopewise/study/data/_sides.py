"""Pairs of files in a folder: images and masks, or images and images, matched by their names, before any is read."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from slopewise.errors import DataError
from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._parts import ask_parts, listed, part_roles
from slopewise.study.data._prepare import TEST_FRACTION
from slopewise.study.data._targets import TargetKind, split
from slopewise.study.data._tree import Tree, kinds, not_a_folder, scan

_FILLERS = r"(\d+)?(images?|imgs?|pngs?|pictures?|files)?"
_SIDES: dict[TargetKind, tuple[str, str]] = {
    "masks": (
        "images?|imgs?|inputs?|pictures?|photos?|scans?|volumes?|x",
        "masks?|labels?|annotations?|seg(mentation)?s?|segmentationmasks?|gt|groundtruths?|targets?|y",
    ),
    "images": (
        "lows?|lr|lrx|lowres(olution)?|inputs?|noisy|degraded|blurr?(y|ed)?|corrupted|x",
        "highs?|hr|highres(olution)?|targets?|clean|sharp|originals?|gt|groundtruths?|y",
    ),
}
_NEEDED: dict[TargetKind, str] = {
    "masks": "images/ and masks/",
    "images": "low/ and high/ (or input/ and target/, ...)",
}
_TASKS: dict[TargetKind, str] = {"masks": "segmentation", "images": "restoration"}
_SHOWN = 100  # files in a message


@dataclass(frozen=True)
class Pair:
    """File of an image and file of its target."""

    image: Path
    target: Path


@dataclass(frozen=True)
class Pairs:
    """Pairs of both parts, and notes for the user about the way they were found."""

    train: list[Pair]
    test: list[Pair]
    notes: tuple[str, ...]


def find_pairs(spec: DataSpec, kind: TargetKind) -> Pairs:
    """Find the pairs below `data.path`.

    Two directories are the sides of pairs by their names, for instance `images/` and `masks/`. The parts `train/` and
    `test/` may lie above them or in them; without parts, a fixed fifth of the pairs is the test set.

    Raises:
        DataError: There is no such folder, no such directories, or files without a partner; all of these are named.
    """
    if not spec.path:
        raise DataError(f"data.path: say which folder holds {_NEEDED[kind]}")
    root = Path(spec.path)
    if not root.is_dir():
        raise DataError(f"data.path: {not_a_folder(root)}; it should hold {_NEEDED[kind]}")
    tree = scan(root)
    sides = _sides(tree, kind)
    parts = _parts_in(sides, spec) if sides else None
    if sides and not parts:
        pairs = _matched(root, sides)
        kept, held_out = split(torch.arange(len(pairs)), kind, TEST_FRACTION, stream(0, "folder-test"))
        if not len(held_out):
            raise DataError(
                f"data.path: a fifth of the pairs in '{root}' is less than one, so there is no test set: add pairs, or "
                "make folders train/ and test/"
            )
        return Pairs([pairs[i] for i in kept], [pairs[i] for i in held_out], _about_others(sides))
    train, test, notes = parts or _parts_above(tree, spec, kind)
    return Pairs(_matched(root, train), _matched(root, test), (*notes, *_about_others((*train, *test))))


def refuse_pairs(tree: Tree) -> None:
    """Refuse directories of classes that by their names and files are the sides of pairs.

    Raises:
        DataError: They are.
    """
    directories = tree.with_pictures
    for kind, task in _TASKS.items():
        sides = _candidates(tree, kind)
        if len(directories) == len(sides[0]) + len(sides[1]) == 2 and all(sides):
            names = [{_key(path, side) for path in side.all_pictures} for side in (sides[0][0], sides[1][0])]
            if 2 * len(names[0] & names[1]) > len(names[0] | names[1]):
                one, other = sides[0][0].name, sides[1][0].name
                raise DataError(
                    f"data.path: '{one}' and '{other}' in '{tree.path}' hold files of the same names, so they may be "
                    f"pairs for --task {task}; if they are classes, name them: data.classes = ['{one}', '{other}']"
                )


Sides = tuple[Tree, Tree]


def _sides(tree: Tree, kind: TargetKind) -> Sides | None:
    """Return the directories of images and of targets directly in a tree, by their names; None if there are none."""
    sides = _candidates(tree, kind)
    if not all(sides):
        return None
    for matches in sides:
        if len(matches) > 1:
            names = listed([below.name for below in matches])
            raise DataError(
                f"data.path: each of {names} in '{tree.path}' may hold one side of the pairs: keep one of them there"
            )
    return sides[0][0], sides[1][0]


def _candidates(tree: Tree, kind: TargetKind) -> list[list[Tree]]:
    """Return the directories directly in a tree that are named as the side of the images, and of the targets."""
    plain = {below: re.sub(r"[\W_]", "", below.name.lower()) for below in tree.with_pictures}
    return [
        [below for below, name in plain.items() if re.fullmatch(f"({words}){_FILLERS}", name)] for words in _SIDES[kind]
    ]


def _key(path: Path, side: Tree) -> str:
    """Return the path of a picture below its side, without the suffix."""
    return path.relative_to(side.path).with_suffix("").as_posix()


def _parts_in(sides: Sides, spec: DataSpec) -> tuple[Sides, Sides, tuple[str, ...]] | None:
    """Return the parts that both sides hold; None if they hold no parts."""
    by_name = [{below.name: below for below in side.with_pictures} for side in sides]
    if spec.parts is not None:
        chosen = spec.parts
    else:
        roles = part_roles(list(by_name[0]))
        trains, tests = ([name for name in roles if roles[name] == role] for role in ("train", "test"))
        if not roles:
            return None
        if len(trains) != 1 or len(tests) != 1:
            raise DataError(
                f"data.path: '{sides[0].path}' holds {listed(list(roles))}, which are parts of a data set: "
                f"{ask_parts(list(roles))}"
            )
        chosen = (trains[0], tests[0])
    for side, directories in zip(sides, by_name, strict=True):
        if missing := [name for name in chosen if name not in directories]:
            raise DataError(f"data.path: '{side.path}' has no directory '{missing[0]}' with pictures, as the other has")
    train, test = ((by_name[0][name], by_name[1][name]) for name in chosen)
    return train, test, _left_out(sides[0], chosen)


def _parts_above(root: Tree, spec: DataSpec, kind: TargetKind) -> tuple[Sides, Sides, tuple[str, ...]]:
    by_name = {below.name: below for below in root.below}
    roles = part_roles(list(by_name))
    trains, tests = ([name for name in roles if roles[name] == role] for role in ("train", "test"))
    if spec.parts is not None:
        chosen = spec.parts
        if missing := [name for name in chosen if name not in by_name]:
            names = listed(list(by_name)) or "none"
            raise DataError(
                f"data.parts: '{root.path / missing[0]}' is not a directory; those in '{root.path}' are {names}"
            )
    elif len(trains) == len(tests) == 1:
        chosen = (trains[0], tests[0])
    elif roles:
        raise DataError(
            f"data.path: '{root.path}' holds {listed(list(roles))}, which are parts of a data set: "
            f"{ask_parts(list(roles))}"
        )
    else:
        raise DataError(f"data.path: '{root.path}' needs {_NEEDED[kind]}, {_contents(root)}")
    sides = [(by_name[name], _sides(by_name[name], kind)) for name in chosen]
    for tree, found in sides:
        if found is None:
            raise DataError(f"data.path: '{tree.path}' needs {_NEEDED[kind]}, {_contents(tree)}")
    train, test = (found for _, found in sides if found)
    return train, test, _left_out(root, chosen)


def _contents(tree: Tree) -> str:
    if tree.with_pictures:
        return f"but the directories with pictures in it are {listed([below.name for below in tree.with_pictures])}"
    return f"but Pillow reads no picture below it{f' ({kinds(tree.all_others)})' if tree.all_others else ''}"


def _left_out(tree: Tree, used: Sequence[str]) -> tuple[str, ...]:
    left = [
        f"{below.name} ({len(below.all_pictures)} pictures)" for below in tree.with_pictures if below.name not in used
    ]
    if not left:
        return ()
    return (
        f"beside {used[0]} and {used[1]}, '{tree.path}' holds {listed(left)}, left out: validation images are drawn "
        "from the training part",
    )


def _matched(root: Path, sides: Sides) -> list[Pair]:
    """Return the pairs of files with one name, suffixes aside, sorted by name."""
    images, targets = (_by_name(root, side) for side in sides)
    alone = [
        str(path.relative_to(root))
        for files, others in ((images, targets), (targets, images))
        for name, path in files.items()
        if name not in others
    ]
    if alone:
        more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        names = [side.path.relative_to(root) for side in sides]
        raise DataError(
            f"data.path: {len(alone)} file{'s' * (len(alone) > 1)} in '{root}' without a partner of the same name "
            f"(suffix aside) in '{names[0]}' or '{names[1]}': {', '.join(alone[:_SHOWN])}{more}"
        )
    return [Pair(images[name], targets[name]) for name in sorted(images)]


def _by_name(root: Path, side: Tree) -> dict[str, Path]:
    """Return the pictures of a side by their path below it, without the suffix."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in side.all_pictures:
        files[_key(path, side)].append(path)
    if twice := [paths for paths in files.values() if len(paths) > 1]:
        names = " and ".join(str(path.relative_to(root)) for path in twice[0])
        raise DataError(
            f"data.path: {names} in '{root}' differ in their suffix alone, so that either may be the partner: keep one"
        )
    return {name: paths[0] for name, paths in files.items()}


def _about_others(sides: Sequence[Tree]) -> tuple[str, ...]:
    others = [path for side in sides for path in side.all_others]
    if not others:
        return ()
    return (f"{len(others)} files are left out, since Pillow reads no picture from them: {kinds(others)}",)
