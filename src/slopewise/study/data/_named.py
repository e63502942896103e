"""Sources of data by name, and paths that stand for one, without torch: specs are validated before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slopewise.errors import DataError, look_up
from slopewise.study._references import is_reference, resolve
from slopewise.support import Registry

if TYPE_CHECKING:
    from slopewise.study._spec_tables import DataSpec
    from slopewise.study.data._base import RawData
    from slopewise.study.data._reader import ImageReader

    Load = Callable[[DataSpec, ImageReader], RawData]

_HERE = __name__.rpartition(".")[0]


@dataclass(frozen=True)
class Source:
    """Source of data; `_base` states the contract of its function.

    Attributes:
        load: Function `load(spec, reader)` that returns `RawData`, or its reference "module:function", which is
            imported on first use.
        suffixes: Ends of file names, such as (".npz",): a path with one of them stands for this source in a spec.
        directories: True if the path of a directory stands for this source.
    """

    load: Load | str
    suffixes: tuple[str, ...] = ()
    directories: bool = False

    def function(self) -> Load:
        """Return the function, imported if need be."""
        return resolve(self.load) if isinstance(self.load, str) else self.load

    def stands_for(self, path: Path) -> bool:
        """Return True if a path alone names this source."""
        if path.is_dir():
            return self.directories
        return any(path.name.endswith(suffix) and path.name != suffix for suffix in self.suffixes)


SOURCES: Registry[Source] = Registry(
    "slopewise.sources",
    {
        "digits": Source(f"{_HERE}._digits:load"),
        "fashion-mnist": Source(f"{_HERE}._fashion_mnist:load"),
        "folder": Source(f"{_HERE}._folder:load", directories=True),
        "npz": Source(f"{_HERE}._npz:load", suffixes=(".npz",)),
        "patches": Source(f"{_HERE}._patches:load"),
        "shapes": Source(f"{_HERE}._shapes:load"),
    },
)
WITHOUT_PATH = ("digits", "patches", "shapes")  # sources that need no file
_USERS = Source(f"{_HERE}._callable:load")  # `module:callable`


def register_source(name: str, source: Source | Load) -> None:
    """Make a source of data known by a name, as in `data.source = "NAME"`.

    An installed package does the same, also for the command line, by an entry point of the group "slopewise.sources"
    that names a `Source`. Data are read by the process that runs the study, so no other process needs the source.

    Args:
        name: Name of the source.
        source: The source, or its function.

    Raises:
        ValueError: The name is one of slopewise's own, or holds one of : / and the backslash.

    Example:
        >>> import torch
        >>> from slopewise.study import StudySpec
        >>> from slopewise.study.data import RawData, load_data
        >>> def stripes(spec, reader):
        ...     labels = torch.arange(60) % 2
        ...     images = torch.rand(60, 1, 8, 8) + labels.view(-1, 1, 1, 1) * torch.eye(8)
        ...     return RawData(images[:40], labels[:40], images[40:], labels[40:], ("plain", "striped"))
        >>> register_source("stripes", stripes)
        >>> load_data(StudySpec(data={"source": "stripes"}).data).facts()["shape"]
        [1, 8, 8]
        >>> SOURCES.unregister("stripes")
    """
    SOURCES.register(name, source if isinstance(source, Source) else Source(source))


def source_of(spec: DataSpec) -> Source:
    """Return the source that a spec names.

    Raises:
        DataError: There is no such source, or the installed package that brings it cannot be imported.
    """
    if is_reference(spec.source):
        return _USERS
    place = f"data '{spec.source}'"
    unknown = f"unknown {place}, which is no folder and no .npz file either"
    return look_up(SOURCES, spec.source, DataError, place=place, unknown=unknown, alternative="module:callable")


def source_of_path(text: str | Path) -> str | None:
    """Return the name of the source that a path stands for; None if the text is a source's name, or no such path.

    A folder that is called digits does not hide the digits.

    Raises:
        DataError: An installed package's source cannot be imported.

    Example:
        >>> source_of_path("images.npz"), source_of_path("."), source_of_path("digits"), source_of_path("no such")
        ('npz', 'folder', None, None)
    """
    if str(text) in SOURCES:
        return None
    try:
        path = Path(text).expanduser()
        return next((name for name, source in SOURCES.items() if source.stands_for(path)), None)
    except (OSError, RuntimeError, ValueError):  # name too long, no such user, a character that no path can hold
        return None
    except ImportError as error:
        raise DataError(f"data '{text}': {error}") from error
