"""Server that answers at an address until Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import uvicorn

from slopewise.errors import SlopewiseError
from slopewise.live._app import make_app

PORT = 8460
_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    ready: Callable[[str, bool], None] | None = None,
) -> None:
    """Serve the pages of a folder until interrupted.

    Args:
        folder: Folder of studies and recordings.
        host: Address or name of this machine to listen at; the default can be reached from this machine alone.
        port: Port to listen at; 0 takes a free one, None takes 8460, or a free one if that is taken.
        ready: Called with the URL, and True if other machines may reach it, as soon as requests are answered.

    Raises:
        SlopewiseError: The folder does not exist, or the address cannot be listened at.
    """
    if not Path(folder).is_dir():
        raise SlopewiseError(f"'{folder}' is no folder: give the one that holds studies or recordings")
    with closing(listen(host, port)) as heard:
        address, port = heard.getsockname()[:2]
        loopback = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        app = make_app(folder, hosts=own_names(host, address))
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        shown = "127.0.0.1" if address == "0.0.0.0" else "::1" if address == "::" else address  # noqa: S104
        with suppress(KeyboardInterrupt):  # uvicorn closes its connections, then raises it again
            if ready:
                ready(f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/", not loopback)
            uvicorn.Server(config).run(sockets=[heard])


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        SlopewiseError: The address is unknown or not this machine's, or the port is taken or reserved.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise SlopewiseError(f"--host {host}: no such address: {error}") from error
    try:
        return _bound(family, (where[0], PORT if port is None else port, *where[2:]))
    except OSError as error:
        if port is None and error.errno == errno.EADDRINUSE:
            return _bound(family, (where[0], 0, *where[2:]))
        if error.errno == errno.EADDRINUSE:
            raise SlopewiseError(f"port {port} of {host} is taken: give another, or --port 0 for a free one") from error
        raise SlopewiseError(
            f"cannot listen at {host}, port {PORT if port is None else port}: {error.strerror}"
        ) from error


def _bound(family: int, where: tuple[object, ...]) -> socket.socket:
    heard = socket.socket(family, socket.SOCK_STREAM)
    try:
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        heard.bind(where)
        heard.listen(128)  # who follows the printed URL at once is heard
    except OSError:
        heard.close()
        raise
    return heard


def own_names(host: str, address: str) -> tuple[str, ...]:
    """Return the names by which requests may address a server at this address.

    Example:
        >>> own_names("127.0.0.1", "127.0.0.1")
        ('127.0.0.1', 'localhost', '::1', '[::1]')
    """
    names = [host, address]
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        names += [socket.gethostname(), socket.getfqdn()]
        with suppress(OSError):
            names += [str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)]
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
            towards.connect(("192.0.2.1", 9))  # sends nothing: asks which address would
            names.append(towards.getsockname()[0])
        names += _LOOPBACK
    elif ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        names += _LOOPBACK
    bracketed = [f"[{name}]" if ":" in name and not name.startswith("[") else name for name in names]
    return tuple(dict.fromkeys(name for pair in zip(names, bracketed, strict=True) for name in pair))
