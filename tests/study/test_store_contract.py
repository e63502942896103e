"""Every kind of store keeps the contract."""

import tempfile
from pathlib import Path

from slopewise.testing import check_store

from .postgres import Server


def test_a_file_keeps_the_contract(tmp_path: Path) -> None:
    check_store(lambda: tempfile.mkdtemp(dir=tmp_path))


def test_a_database_keeps_the_contract(server: Server) -> None:
    check_store(server.url)
