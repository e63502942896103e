"""Use of SQLite: reading beside a writer, locks, journals, and checks of a file's integrity.

Behaviour of SQLite 3.40 that its documentation does not suggest, as measured:

- `mode=ro` on a file in WAL mode *creates* missing `-shm` and `-wal` files, and leaves them there; if the folder is
  not writable, it fails with one of three errors.
- `mode=ro` fails on a file with the rollback journal of a writer that was killed.
- `immutable=1` ignores the log: beside a writer it silently reads an older state of the study.

So a reader that finds such a file reads a copy of it, which SQLite is free to repair.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TypeVar

from slopewise.errors import StoreError
from slopewise.study._store._patience import repeated

_T = TypeVar("_T")

# Python's sqlite3 raises the second if the message of the first would quote bytes of the file that are not text.
DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
_WAIT = 5.0  # seconds that a reader waits for a lock: a commit's is over in milliseconds
_JOURNALS = ("-wal", "-journal")
BESIDE = (*_JOURNALS, "-shm")  # suffixes of the files that SQLite keeps beside a file that is being written


def is_busy(error: BaseException | None) -> bool:
    """Return True if SQLite gave up waiting for a lock of another connection."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_damage(error: BaseException) -> bool:
    """Return True if an error means that the file, or the disk under it, is not as it was written."""
    return isinstance(error, UnicodeDecodeError) or _code(error) in _DAMAGED


_DAMAGED = frozenset(
    {
        sqlite3.SQLITE_ERROR,  # a name in the schema is another, or a text is no JSON
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    }
)


def _code(error: BaseException | None) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code, without the extended part


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that SQLite keeps beside another, by its suffix."""
    return path.with_name(path.name + suffix)


def last_change(path: Path) -> tuple[tuple[int, int], ...]:
    """Return the time (ns) and size of the file and of its log, which change with every commit.

    Raises:
        OSError: The file is not there.
    """
    status = path.stat()
    state = [(status.st_mtime_ns, status.st_size)]
    try:
        log = beside(path, "-wal").stat()
    except FileNotFoundError:
        return tuple(state)
    return (*state, (log.st_mtime_ns, log.st_size)) if log.st_size else tuple(state)


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection in a read transaction on the file's present state; text comes as bytes: it may be damaged.

    Inside the block, a writer of the file can continue if the file has a write-ahead log, and else waits for the end
    of the block. Nothing is written.
    """
    if not _is_unattended(path):
        try:
            connection = _begin(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT))
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                raise
        else:
            with closing(connection):
                yield connection
            return
    with TemporaryDirectory(prefix="slopewise-") as folder:
        copy = Path(folder, "copy.db")
        copyfile(path, copy)
        for suffix in _JOURNALS:
            if beside(path, suffix).exists():
                copyfile(beside(path, suffix), beside(copy, suffix))
        with closing(_begin(sqlite3.connect(copy))) as connection:
            yield connection


def _is_unattended(path: Path) -> bool:
    """Return True if a file is in WAL mode and no process has it open."""
    with path.open("rb") as file:
        header = file.read(20)
    return header[18:] == b"\2\2" and not beside(path, "-shm").exists()


def _begin(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Begin a transaction and take its lock at once, so that all later reads see one state of the file."""
    connection.text_factory, connection.isolation_level = bytes, None
    try:
        connection.execute("BEGIN")
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except DAMAGE as error:
            if isinstance(error, sqlite3.Error) and _code(error) != sqlite3.SQLITE_CORRUPT:
                raise
            connection.execute("PRAGMA writable_schema = ON")  # reads on past damaged definitions
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system inside the block into a `StoreError` of one line.

    Raises:
        StoreError: The store cannot be used; the message says what is wrong and what to do.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StoreError(fault(path, error)) from error
    except OSError as error:
        raise StoreError(f"cannot read the store '{path}': {error.strerror}") from error


def fault(path: Path, error: BaseException | None) -> str:
    """Return the message for an error of SQLite."""
    if is_busy(error):
        return f"the store '{path}' is locked by another program: try again when that has let go of it"
    if _code(error) == sqlite3.SQLITE_NOTADB:
        return f"'{path}' is not a SQLite file ({error}): move it away"
    if _code(error) == sqlite3.SQLITE_FULL:
        return f"the disk of '{path}' is full: make room there; the same command goes on from what is stored"
    if _code(error) == sqlite3.SQLITE_CORRUPT or isinstance(error, UnicodeDecodeError):
        return f"'{path}' is damaged ({error}): take a copy of it from before, or move it away"
    return f"cannot use the store '{path}': {error}"


def is_sound(path: Path) -> bool:
    """Check every page of a file, and return True if none is damaged.

    Raises:
        StoreError: The file cannot be read at all.
    """
    with in_words(path):
        try:
            with snapshot(path) as connection:
                return connection.execute("PRAGMA integrity_check(1)").fetchall() == [(b"ok",)]
        except DAMAGE as error:
            if not is_damage(error):
                raise
            return False


def patiently(path: Path, attempt: Callable[[], _T]) -> _T:
    """Return the result of a call, repeated until no other program has the file locked; warn once if that takes long.

    Args:
        path: File that may be locked.
        attempt: Function that raises a `StoreError` from SQLite's own error if the file is locked.

    Warns:
        StoreWarning: The file has been locked for some seconds.
    """
    return repeated(
        attempt,
        lambda error: is_busy(error.__cause__),
        f"another program has locked '{path}': waiting until it releases the file; trials that run continue, and "
        "finished ones are stored then",
    )


# File systems on which all processes that can open the file are known to share the write-ahead log's memory. Over a
# network they do not, and SQLite does not notice.
_LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "tmpfs", "ramfs", "overlay"}
)
_MOUNTS = Path("/proc/self/mountinfo")


def file_system(folder: Path, mounts: str) -> str:
    r"""Return the type of a folder's file system according to the text of Linux's `mountinfo`; "" if it is unknown.

    Example:
        >>> mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / /home rw shared:1 - nfs4 server:/home rw\n"
        >>> file_system(Path("/home/me/study"), mounts), file_system(Path("/homes"), mounts)
        ('nfs4', 'ext4')
    """
    name = longest = ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if len(fields := before.split()) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])  # a blank, for example
        if len(point) >= len(longest) and folder.is_relative_to(point):
            name, longest = after.split()[0], point
    return name


def begin_log(path: Path) -> None:
    """Switch a file to a write-ahead log, with which readers never block the writer, if its file system allows it.

    On other file systems the file gets, or keeps, a rollback journal, which works wherever locks do; a commit then
    waits for all readers to finish.

    Raises:
        StoreError: The file is locked, or cannot be written.
    """
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        mounts = ""
    local = file_system(path.parent.resolve(), mounts) in _LOCAL
    with in_words(path):
        try:
            _set_journal(path, "WAL" if local else "DELETE")
        except sqlite3.OperationalError as error:
            if is_busy(error) or not local:
                raise


def end_log(path: Path) -> None:
    """Merge the log into the file. If the file is being read or the disk is full, the log stays; no data are lost."""
    with suppress(sqlite3.OperationalError):
        _set_journal(path, "DELETE")


def _set_journal(path: Path, mode: str) -> None:
    with closing(sqlite3.connect(path, timeout=1.0)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()
