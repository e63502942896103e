"""Watched folder and the pages of its runs, which are rendered again only if something has changed."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock

from slopewise.live._folder import Entry, find_runs
from slopewise.live._loop import Loop
from slopewise.live._pages import index_page, loop_page, study_page
from slopewise.live._study import Study, report_of

_KEPT = 8  # runs whose pages are held at once
_SAMPLES = 250  # at least so many of a longer recording are drawn from; a chart has 200 columns
_BUDGET = 0.5  # seconds of reading for one answer
_REST, _MOST_REST = 9.0, 15.0  # times what making a page took before it is made again, and seconds


class Page:
    """Page with its entity tag, which is the same as long as its text is, also after a restart."""

    def __init__(self) -> None:
        self.text = self.tag = ""
        self._key: Hashable = None
        self._cost, self._made = 0.0, 0.0
        self.lock = Lock()

    def refresh(self, key: Hashable, make: Callable[[], str]) -> Page:
        """Render the page again if its key has changed, but not too soon after the last time."""
        start = time.monotonic()
        if not self.text or (key != self._key and start >= self._made + min(_REST * self._cost, _MOST_REST)):
            first = not self.text  # which loads what all others find loaded
            self.text, self._key = make(), key
            self.tag = f'"{hashlib.sha256(self.text.encode()).hexdigest()[:32]}"'
            self._made = time.monotonic()
            self._cost = 0.0 if first else self._made - start
        return self


class Watched:
    """Studies and recordings below a folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self._clock = folder, clock
        self._lock = Lock()
        self._entries: dict[str, Entry] = {}
        self._cut = False
        self._cost, self._scanned = 0.0, -float("inf")
        self._rows: dict[str, Loop | Study] = {}
        self._index = Page()
        self._runs: OrderedDict[str, tuple[Loop | Study, Page]] = OrderedDict()

    def index(self) -> Page:
        """Return the listing."""
        with self._lock:
            self._scan()
            deadline = time.monotonic() + _BUDGET
            self._rows = {key: self._rows.get(key) or _follow(entry) for key, entry in self._entries.items()}
            for row in self._rows.values():
                if (left := deadline - time.monotonic()) > 0:
                    row.update(left)
            now = self._clock()
            rows = [(entry, self._rows[key].summary(now)) for key, entry in self._entries.items()]
            there = self.folder.is_dir()
            return self._index.refresh(
                (tuple(rows), self._cut, there), lambda: index_page(self.folder, rows, cut=self._cut, there=there)
            )

    def run(self, key: str) -> Page | None:
        """Return the page of a run; None if there is no such run (any more)."""
        with self._lock:
            if key not in self._entries:
                self._scan()
            entry = self._entries.get(key)
            if entry is None or not entry.path.exists():
                self._runs.pop(key, None)
                return None
            run, page = self._runs.setdefault(key, (_follow(entry, _SAMPLES), Page()))
            self._runs.move_to_end(key)
            while len(self._runs) > _KEPT:
                self._runs.popitem(last=False)
        with page.lock:
            run.update(_BUDGET)
            now = self._clock()
            state = run.state(now)
            return page.refresh(
                (run.key, state),
                lambda: study_page(entry, run, now) if isinstance(run, Study) else loop_page(entry, run, now),
            )

    def report(self, key: str) -> bytes | None:
        """Return the report that a run of the study has written; None if there is none."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or not entry.study:
            return None
        path = report_of(entry.path)
        try:
            return path.read_bytes() if path else None
        except OSError:
            return None

    def _scan(self) -> None:
        """Look for runs, unless the last look was a moment ago."""
        start = time.monotonic()
        if start >= self._scanned + max(1.0, 20 * self._cost):
            self._entries, self._cut = find_runs(self.folder)
            self._scanned = time.monotonic()
            self._cost = self._scanned - start


def _follow(entry: Entry, keep: int = 0) -> Loop | Study:
    return Study(entry.path) if entry.study else Loop(entry.path, keep)
