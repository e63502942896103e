"""Place of a study: a SQLite file in its folder, or a database named by a URL, to which a file in the folder points.

The folder is where commands look. With a database, it holds a small pointer file with the URL, never with a password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from slopewise.errors import StoreError, nearest

FILE = "study.db"
POINTER = "store.url"
_SCHEMES = ("postgresql", "postgresql+psycopg", "postgres")
_LONGEST, _URL = 63, 4000  # bytes of a name in PostgreSQL, and characters of a URL
_MISUSED = re.compile(r"^postgres(ql)?(\+\w+)?:/?[^/]")  # a URL that was taken for a path lacks a slash
_EXAMPLE = "postgresql://user@host:5432/database?study=name"


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a study.

    Attributes:
        folder: Folder of the study; None for a study that is named by its URL alone.
        url: URL of the study's database, without a password; empty for a file in the folder.
    """

    folder: Path | None
    url: str = ""

    @property
    def file(self) -> Path:
        """File of a study that is stored in one."""
        if self.folder is None:
            raise StoreError(f"the study '{self.url}' has no file: it is stored in a database")
        return self.folder / FILE

    def __str__(self) -> str:
        return self.url if self.folder is None else str(self.folder)


def place_of(place: str | os.PathLike[str] | Place, store: str | None = None) -> Place:
    """Return the place that a user names.

    Args:
        place: Folder of the study, or the URL of its database.
        store: URL of the database that the folder's study is stored in. None stands for the one that the folder's
            pointer names, and without a pointer for the file in the folder.

    Raises:
        StoreError: The URL cannot be used, or the folder's study is stored elsewhere.

    Example:
        >>> place_of("studies/first")
        Place(folder=PosixPath('studies/first'), url='')
        >>> place_of("studies/first", "postgresql://me@db/lab").url
        'postgresql://me@db/lab?study=first'
    """
    if isinstance(place, Place):
        return place
    text = os.fspath(place)
    if is_url(text):
        if store is not None:
            raise StoreError(f"'{_shown(text)}' is a URL: name a folder for the report, and the URL as the store")
        return Place(None, _checked(text, ""))
    folder = Path(text)
    pointed = _pointer(folder)
    if store is None:
        return Place(folder, pointed)
    url = _checked(store, folder.resolve().name)
    if pointed and _names(pointed) != _names(url):
        raise StoreError(
            f"the study in '{folder}' is stored in '{pointed}', not in '{url}': leave the store out, or choose another "
            "folder"
        )
    if not pointed and (folder / FILE).exists():
        raise StoreError(
            f"'{folder}' holds a study in its own file, '{FILE}': choose another folder for one that is in '{url}'"
        )
    return Place(folder, pointed or url)


def is_url(text: str) -> bool:
    """Return True if a text names a database and not a folder, even if `pathlib` has made its slashes one."""
    return text.partition("://")[0] in _SCHEMES or bool(_MISUSED.match(text))


def point(place: Place) -> None:
    """Write the pointer of a folder whose study is stored in a database.

    Raises:
        StoreError: It cannot be written.
    """
    if place.folder is None or not place.url:
        return
    path = place.folder / POINTER
    unfinished = path.with_name(f".{POINTER}")
    try:
        unfinished.write_text(f"{place.url}\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write '{path}': {error.strerror}") from error


def unpoint(place: Place) -> None:
    """Remove the pointer of a folder whose study is no longer in the database."""
    if place.folder is not None:
        (place.folder / POINTER).unlink(missing_ok=True)


def study_name(url: str) -> str:
    """Return the name of the study that a checked URL names.

    Example:
        >>> study_name("postgresql://db/lab?study=my%20first&sslmode=require")
        'my first'
    """
    return dict(parse_qsl(urlsplit(url).query))["study"]


def renamed(url: str, name: str) -> str:
    """Return a checked URL with another name of the study.

    Example:
        >>> renamed("postgresql://db/lab?study=a&sslmode=require", "b")
        'postgresql://db/lab?study=b&sslmode=require'
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query)) | {"study": name}
    return parts._replace(query=urlencode(options, quote_via=quote)).geturl()


def _pointer(folder: Path) -> str:
    """Return the URL that a folder's pointer holds; empty without a pointer."""
    path = folder / POINTER
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_URL + 1).strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise StoreError(f"cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not is_url(text):
        raise StoreError(f"'{path}' names no database: write its URL there, as in {_EXAMPLE}, or remove the file")
    return _checked(text, "")


def _checked(url: str, name: str) -> str:
    """Return a URL with the name of its study, in one form.

    Args:
        url: URL as a user has written it.
        name: Name of the study if the URL has none.
    """
    text = re.sub(r"^(postgres\w*(?:\+\w+)?):/(?=[^/])", r"\1://", url)  # a path has one slash where a URL has two
    try:
        parts = urlsplit(text)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise StoreError(f"the store is no URL ({error}): write it as in {_EXAMPLE}") from error
    if parts.scheme not in _SCHEMES:
        raise StoreError(f"unknown store '{_shown(url)}'; {nearest(parts.scheme, _SCHEMES[:1])}, as in {_EXAMPLE}")
    if len(text) > _URL or not text.isprintable():
        raise StoreError(
            f"the store's URL is too long or has characters that cannot be printed: write it as in {_EXAMPLE}"
        )
    if parts.password is not None or "password" in options:
        raise StoreError(
            f"the store's URL contains a password, which lists of processes would show: write '{_shown(url)}', and put "
            "the password into ~/.pgpass, into a service file, or into the environment variable PGPASSWORD"
        )
    options = {"study": options.pop("study", name)} | options
    _check_name(options["study"])
    host = _host(parts) + (f":{port}" if port is not None else "")
    return f"postgresql://{host}/{parts.path.strip('/')}?{urlencode(options, quote_via=quote)}"


def _host(parts: SplitResult) -> str:
    """Return user and host of a URL, as they are written there."""
    return parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc


def _check_name(name: str) -> None:
    """Refuse a name of a study that cannot name a schema of PostgreSQL, or names one of the server's own."""
    reason = ""
    if not name:
        reason = "it is empty"
    elif len(name.encode(errors="replace")) > _LONGEST:
        reason = f"it has more than {_LONGEST} bytes"
    elif not name.isprintable():
        reason = "it has characters that cannot be printed"
    elif name.startswith("pg_") or name in ("public", "information_schema"):
        reason = "the database has a use of its own for it"
    if reason:
        raise StoreError(
            f"a study in a database cannot be named '{name}', because {reason}: add ?study=NAME to the URL"
        )


def _names(url: str) -> tuple[str | None, int, str, str]:
    """Return what tells two studies apart: host, port, database, and name. Users of one study may differ."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    return options.get("host", parts.hostname), parts.port or 5432, parts.path.strip("/"), options["study"]


def _shown(url: str) -> str:
    """Return a URL as a message may show it, without its password."""
    hidden = re.sub(r"(//[^/@]*?):[^/]*@", r"\1@", url)
    return re.sub(r"([?&])password=[^&]*&?", r"\1", hidden).rstrip("?&")
