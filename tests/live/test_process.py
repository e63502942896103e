"""The real command: where it listens, what it prints, how it ends."""

import socket
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from slopewise.errors import SlopewiseError
from slopewise.live import serve


def listening(port: int) -> set[str]:
    """Addresses at which somebody listens on a port, as the kernel prints them."""
    addresses = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            local, _, state = line.split()[1:4]
            address, _, number = local.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                addresses.add(address)
    return addresses


@pytest.mark.slow
def test_it_listens_at_loopback_alone_and_ends_quietly(watching, tmp_path: Path) -> None:
    running = watching(tmp_path, "--port", "0")
    assert running.url == f"http://127.0.0.1:{running.port}/"
    with urllib.request.urlopen(running.url) as answer:
        assert "Nothing here yet" in answer.read().decode()
        assert "server" not in answer.headers
    if Path("/proc/net/tcp").exists():
        assert listening(running.port) == {"0100007F"}
    assert running.stop() == (0, "")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", running.port), timeout=5)


@pytest.mark.slow
def test_it_warns_when_others_can_read(watching, tmp_path: Path) -> None:
    running = watching(tmp_path, "--port", "0", "--host", "0.0.0.0")
    if Path("/proc/net/tcp").exists():
        assert listening(running.port) == {"00000000"}
    urllib.request.urlopen(running.url).close()
    status, words = running.stop()
    assert status == 0
    assert words == "warning: whoever reaches this machine at 0.0.0.0 can read what is shown; there is no password\n"


@pytest.mark.slow
def test_a_taken_port_is_one_line_and_status_2(cli, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = cli("watch", tmp_path, "--port", port)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"error: port {port} of 127.0.0.1 is taken: give another, or --port 0 for a free one\n"


def test_a_free_port_serves_if_the_default_one_is_taken(tmp_path: Path) -> None:
    urls = []

    def interrupt(url: str, reachable: bool) -> None:
        urls.append(url)
        raise KeyboardInterrupt

    with ExitStack() as stack:
        with suppress(OSError):  # another process has it: as good
            stack.enter_context(socket.create_server(("127.0.0.1", 8460)))
        serve(tmp_path, ready=interrupt)
    (url,) = urls
    assert url.startswith("http://127.0.0.1:")
    assert url != "http://127.0.0.1:8460/"


def test_bad_input_gets_a_clear_message(tmp_path: Path) -> None:
    with pytest.raises(SlopewiseError, match="absent' is no folder"):
        serve(tmp_path / "absent")
    with pytest.raises(SlopewiseError, match=r"cannot listen at 192\.0\.2\.1, port 0: "):
        serve(tmp_path, host="192.0.2.1", port=0)
    with pytest.raises(SlopewiseError, match="--host no such host: no such address"):
        serve(tmp_path, host="no such host", port=0)
