"""Lines of a file that another program is writing, each read once."""

from __future__ import annotations

from pathlib import Path

_BEGINNING = 256  # bytes that tell one file from another that was written over it


class Tail:
    r"""Reads a growing file on from where it was left.

    Attributes:
        line: Number of the last line that was returned; the first is 1.
        behind: Number of bytes that were there at the last reading and are still to be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "lines"
        ...     tail, _ = Tail(file), file.write_text("one\ntw")
        ...     first, _ = tail.read(), file.write_text("one\ntwo\n")
        ...     first, tail.read()
        ((False, [b'one']), (False, [b'two']))
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = self.behind = 0
        self._forget()

    def _forget(self) -> None:
        self.line, self._offset, self._file, self._beginning = 0, 0, (0, 0), b""

    def read(self, most: int = 1 << 22) -> tuple[bool, list[bytes]]:
        """Return the next whole lines, of about `most` bytes, and True if they are of another file than those before.

        A line without its end is left for the next call: its writer may cut it off again.

        Raises:
            OSError: The file is gone or cannot be read.
        """
        with self.path.open("rb") as file:
            beginning = file.read(_BEGINNING)
            status = self.path.stat()
            identity = (status.st_dev, status.st_ino)
            new = self._offset > 0 and (
                identity != self._file or status.st_size < self._offset or not beginning.startswith(self._beginning)
            )
            if new:
                self._forget()
            file.seek(self._offset)
            data = file.read(most)
            while b"\n" not in data and (more := file.read(most)):
                data += more
        self._file = identity
        self.behind = max(status.st_size - self._offset - len(data), 0)
        *lines, cut = data.split(b"\n")
        self._offset += len(data) - len(cut)
        self._beginning = beginning[: self._offset]
        self.line += len(lines)
        return new, lines
