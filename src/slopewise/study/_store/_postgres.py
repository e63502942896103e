"""Use of PostgreSQL through psycopg: connections, and errors in words.

Behaviour of PostgreSQL 15, psycopg 3.3 and SQLAlchemy 2.1 that their documentation does not suggest, as measured:

- An error of connecting has no SQLSTATE, and its text is in the server's language. `PQping` tells whether the server
  takes connections at all, so that a refusal for good (a wrong password, a missing database) is told from one that
  passes (the server is starting, or gone).
- A server that restarts ends connections with 57P01; one that is killed closes them without a word.
- `connection_invalidated` is True for the former alone, so that it is no sign of whether to repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from slopewise.errors import StoreError
from slopewise.study._store._place import study_name
from slopewise.support import need

# A network that vanishes without a word is noticed after these. A driver that is stopped in the middle of a transaction
# loses it, so that its locks do not stop the others.
_SETTINGS: dict[str, Any] = {
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 30,
    "fallback_application_name": "slopewise",
    "options": "-c lock_timeout=20s -c idle_in_transaction_session_timeout=60s -c client_min_messages=warning",
}
_PASSING = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available in time
        "53300",  # too many connections
        "57P01",  # the server is shut down
        "57P02",  # the server has crashed
        "57P03",  # the server is starting or stopping
        "57P05",  # idle session ended
        "25P03",  # idle transaction ended
    }
)
_WORDS = {  # by SQLSTATE or its class: what is wrong, and what to do
    "53100": "the disk of the server is full: make room there; the same command goes on from what is stored",
    "53": "the server is out of resources",
    "42501": "this user may not do that: its owner has to GRANT it (CREATE on the database, or on the schema)",
    "25006": "the server only reads: name the one that writes",
    "XX001": "the server finds its files damaged: restore them from a backup",
    "XX002": "the server finds an index damaged: REINDEX it",
}


def connect(url: str) -> sql.Engine:
    """Return the engine for the study that a checked URL names; its tables are those of the study's schema."""
    try:
        need("psycopg", what=f"the store '{url}'", extra="postgres")
        parsed = sql.make_url(url).set(drivername="postgresql+psycopg").difference_update_query(["study"])
        settings = {key: value for key, value in _SETTINGS.items() if key not in parsed.query}
        engine = sql.create_engine(parsed, connect_args=settings, pool_size=2, max_overflow=2)
    except ModuleNotFoundError as error:
        raise StoreError(str(error)) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(f"the store '{url}' is no URL of a database: {error}") from error
    sql.event.listen(engine, "handle_error", _close_cursor)
    return engine.execution_options(schema_translate_map={None: study_name(url)})


def _close_cursor(context: sql.engine.ExceptionContext) -> None:
    """Close a cursor of the server's whose connection has ended: its own `close` asks the server, and warns forever."""
    from psycopg import Cursor, ServerCursor

    cursor = getattr(context.execution_context, "cursor", None)
    if isinstance(cursor, ServerCursor):
        Cursor.close(cursor)


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """Turn errors of the database inside the block into a `StoreError` of one line.

    Raises:
        StoreError: The store cannot be used; the message says what is wrong and what to do.
    """
    try:
        yield
    except DBAPIError as error:
        raise StoreError(fault(url, error.orig)) from error.orig


def fault(url: str, error: BaseException | None) -> str:
    """Return the message for an error of psycopg."""
    state = _state(error)
    words = _WORDS.get(state) or _WORDS.get(state[:2]) or ""
    detail = " ".join(str(error).split())
    if not state and _is_of_connection(error):
        hint = "start the server, or correct the URL; passwords come from ~/.pgpass, a service file or PGPASSWORD"
        return f"cannot reach the store '{url}' ({detail}): {hint}"
    return f"cannot use the store '{url}': {words} ({detail})" if words else f"cannot use the store '{url}': {detail}"


class Passing:
    """Judge of errors: whether they will pass without a change to the URL, the user or the database."""

    def __init__(self, url: str) -> None:
        self._url, self._refusals = url, 0

    def __call__(self, error: StoreError) -> bool:
        """Return True if an error will pass.

        A server that takes connections, but not this one, refuses it for good if it does so twice: the first time, it
        may have been starting.
        """
        cause = error.__cause__
        refused = _is_refused(cause, self._url)
        self._refusals = self._refusals + 1 if refused else 0
        if refused:
            return self._refusals < 2
        state = _state(cause)
        return (state in _PASSING or state.startswith("08")) if state else _is_of_connection(cause)


def _is_refused(error: BaseException | None, url: str) -> bool:
    """Return True if the server takes connections, but has refused one."""
    connection = getattr(error, "pgconn", None)
    if _state(error) or connection is None or not _is_of_connection(error):
        return False
    from psycopg import pq

    parsed = sql.make_url(url)
    info = {"host": parsed.query.get("host", parsed.host), "port": parsed.query.get("port", parsed.port)}
    text = " ".join(f"{key}='{value}'" for key, value in info.items() if value is not None)
    crowded = b"too many" in connection.error_message or b"connection slots" in connection.error_message
    return not crowded and pq.PGconn.ping(f"{text} connect_timeout=5".encode()) == pq.Ping.OK


def _state(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _is_of_connection(error: BaseException | None) -> bool:
    from psycopg import InterfaceError, OperationalError

    return isinstance(error, (OperationalError, InterfaceError))
