"""Directory trees: their pictures and their other files, without hidden and system folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from slopewise.study.data._picture import is_picture

# Folders that operating systems, file servers, archives and tools leave beside data. Other hidden ones start with ".".
_SYSTEM_FOLDERS = {
    "__macosx",
    "__pycache__",
    "@eadir",
    "$recycle.bin",
    "#recycle",
    "#snapshot",
    "lost+found",
    "recycler",
    "system volume information",
}
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}

_KINDS = 10  # kinds of files that a message lists

Identity = tuple[int, int]  # device and inode: the same for a directory and all links to it


@dataclass(frozen=True, eq=False)  # compared as objects, since they can be large
class Tree:
    """One directory.

    Attributes:
        path: Path of the directory.
        identity: Device and inode, which a link shares with its target.
        pictures: Files directly in it that are pictures by their suffix, or else by their first bytes.
        others: Other files directly in it; broken links and links back to a directory above are among them.
        below: Directories directly in it, sorted by name. Links are followed.
    """

    path: Path
    identity: Identity
    pictures: tuple[Path, ...]
    others: tuple[Path, ...]
    below: tuple[Tree, ...]

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name

    @cached_property
    def all_pictures(self) -> list[Path]:
        """Pictures in it and below, sorted; those of a directory that is linked twice count once."""
        return sorted(path for tree in self.walk() for path in tree.pictures)

    @cached_property
    def all_others(self) -> list[Path]:
        """Files in it and below that are no pictures."""
        return [path for tree in self.walk() for path in tree.others]

    @cached_property
    def with_pictures(self) -> list[Tree]:
        """Directories directly in it that hold pictures at any depth."""
        return [tree for tree in self.below if tree.all_pictures]

    def walk(self, seen: set[Identity] | None = None) -> Iterator[Tree]:
        """Yield this directory and all below it, each once, regardless of the number of links to it."""
        seen = set() if seen is None else seen
        if self.identity not in seen:
            seen.add(self.identity)
            yield self
            for tree in self.below:
                yield from tree.walk(seen)


def scan(path: Path, above: frozenset[Identity] = frozenset()) -> Tree:
    """Read the names below a directory; `above` are the identities of the directories on the path down to it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "cat" / "@eaDir").mkdir(parents=True)
        ...     _ = (Path(folder) / "cat" / "tom.webp").write_bytes(b"")
        ...     tree = scan(Path(folder))
        >>> [cat.name for cat in tree.below], [tom.name for tom in tree.all_pictures], tree.below[0].below
        (['cat'], ['tom.webp'], ())
    """
    status = path.stat()
    here = (status.st_dev, status.st_ino)
    inside = above | {here}
    pictures, others, below = [], [], []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FOLDERS | _SYSTEM_FILES:
            continue
        child = path / entry.name
        if entry.is_dir():
            status = child.stat()
            if (status.st_dev, status.st_ino) in inside:
                others.append(child)
            else:
                below.append(scan(child, inside))
        elif entry.is_file() and is_picture(child):
            pictures.append(child)
        else:
            others.append(child)
    return Tree(path, here, tuple(pictures), tuple(others), tuple(below))


def not_a_folder(path: Path) -> str:
    """Return words about a path that is no folder, with the folder that a relative path starts from."""
    if path.is_file():
        return f"'{path}' is a file, not a folder"
    return f"'{path}' is not a folder{'' if path.is_absolute() else f' in {Path.cwd()}'}"


def kinds(files: Iterable[Path]) -> str:
    """Return the number of files of each kind as text, the most frequent first; rare ones of many are added up.

    Example:
        >>> kinds([Path("a.svg"), Path("LICENSE"), Path("b.SVG")])
        '2 .svg, 1 without a suffix'
    """
    counted = Counter(map(_kind, files)).most_common()
    rest = sum(count for _, count in counted[_KINDS:])
    return ", ".join(f"{count} {kind}" for kind, count in counted[:_KINDS]) + (f", {rest} others" if rest else "")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "linked directories that lead back up"
    if path.is_symlink() and not path.exists():
        return "broken links"
    return path.suffix.lower() or "without a suffix"
