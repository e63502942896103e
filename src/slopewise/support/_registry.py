"""Extensions by name: those of the package, those registered while a program runs, and those of installed packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Extensions of one kind by name.

    An installed package adds an extension by an entry point of `group`; the entry point is loaded when its name is
    first looked up.

    Args:
        group: Group of entry points, such as "slopewise.engines".
        own: Extensions of slopewise itself, whose names cannot be taken by others.

    Example:
        >>> shapes = Registry("example.shapes", {"circle": 0})
        >>> shapes.register("square", 4)
        >>> shapes.find("square"), shapes.find("cube"), shapes.names()
        (4, None, ('circle', 'square'))
    """

    def __init__(self, group: str, own: Mapping[str, T]) -> None:
        self.group = group
        self._own, self._registered = dict(own), dict[str, T]()

    def register(self, name: str, extension: T) -> None:
        r"""Add an extension; a second one of the same name replaces the first, so that a notebook's cell can run again.

        Raises:
            ValueError: The name is empty, is one of slopewise's own, or holds ":", "/" or "\".
        """
        if not name or name in self._own or any(mark in name for mark in ":/\\"):
            raise ValueError(
                f"{self.group}: {name!r} cannot be registered: choose a name without : / \\ that is none of "
                f"{', '.join(self._own)}"
            )
        self._registered[name] = extension

    def unregister(self, name: str) -> None:
        """Remove an extension that was registered.

        Raises:
            ValueError: There is none of that name.
        """
        if name not in self._registered:
            raise ValueError(f"{self.group}: nothing is registered as {name!r}")
        del self._registered[name]

    def find(self, name: str) -> T | None:
        """Return the extension of a name, or None if there is none.

        Raises:
            ImportError: An installed package has an entry point of that name that cannot be loaded.
        """
        if name in self._own:
            return self._own[name]
        if name not in self._registered and (entry := self._installed().get(name)):
            try:
                self._registered[name] = entry.load()
            except Exception as error:  # a foreign module can raise anything while it is imported
                raise ImportError(f"{entry.value} ({self.group}) cannot be imported: {error!r}") from error
        return self._registered.get(name)

    def names(self) -> tuple[str, ...]:
        """Return all names: slopewise's own first, the others sorted."""
        return (*self._own, *sorted({*self._registered, *self._installed()} - {*self._own}))

    def __contains__(self, name: str) -> bool:
        return name in self._own or name in self._registered or name in self._installed()

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield names and extensions in the order of `names`; those of installed packages are loaded one by one.

        Raises:
            ImportError: An installed package's extension cannot be loaded.
        """
        for name in self.names():
            if (extension := self.find(name)) is not None:
                yield name, extension

    def _installed(self) -> dict[str, EntryPoint]:
        return _entries(self.group, _import_path())


def _import_path() -> tuple[tuple[str, int], ...]:
    """Return the folders that packages are imported from, with the times of their last change."""
    return tuple((folder, Path(folder).stat().st_mtime_ns) for folder in sys.path if Path(folder).is_dir())


@lru_cache(64)  # reading the metadata of all installed packages takes 10 ms or more, and a trial looks up several names
def _entries(group: str, _: tuple[tuple[str, int], ...]) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, in the state of the import path."""
    return {entry.name: entry for entry in entry_points(group=group)}
