"""A PostgreSQL server of the tests: on loopback, in a folder of its own, without privileges."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

_HOMES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_UNPRIVILEGED = "nobody"


def binaries() -> Path | None:
    """The folder of the server's programs; None if they are not installed."""
    homes = [Path(path).parent for name in ("initdb", "pg_ctl") if (path := shutil.which(name))]
    return (
        homes[0] if len(homes) == 2 else next((home for home in reversed(_HOMES) if (home / "initdb").exists()), None)
    )


class Server:
    """A server with the roles `slopewise`, which is trusted, and `guarded`, which needs a password."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.folder = Path(tempfile.mkdtemp(prefix="slopewise-pg-"))
        self._data = self.folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        if not os.geteuid():
            shutil.chown(self.folder, _UNPRIVILEGED)
        self._call("initdb", "-U", "slopewise", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{self.folder}'\n"
                "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
            )
        rules = self._data / "pg_hba.conf"
        rules.write_text("host all guarded 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._call("pg_ctl", "-w", "-s", "-l", str(self.folder / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: "fast" ends connections with a word, "immediate" as a crash does."""
        self._call("pg_ctl", "-w", "-s", "-m", mode, "stop")

    def url(self, study: str | None = None) -> str:
        """The URL of a study, by default of a new one."""
        return f"postgresql://slopewise@127.0.0.1:{self.port}/postgres?study={study or secrets.token_hex(8)}"

    def execute(self, *statements: str) -> None:
        """Execute statements of SQL, each in a transaction of its own."""
        import psycopg

        with psycopg.connect(self.url().partition("?")[0], autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def close(self) -> None:
        """End the server, and remove its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def _call(self, program: str, *arguments: str) -> None:
        user = [] if os.geteuid() else ["setpriv", f"--reuid={_UNPRIVILEGED}", "--clear-groups"]
        command = [*user, self._home / program, "-D", self._data, *arguments]
        ended = subprocess.run(
            command, cwd=self.folder, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False, timeout=60, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout
