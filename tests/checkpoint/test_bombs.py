"""Checkpoints that declare more than they hold, or mean more than they say: refused before memory or time is spent."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from slopewise.checkpoint import _search as search
from slopewise.checkpoint import load_state_dict
from slopewise.errors import CheckpointError


def saved(content, *, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_storage_that_declares_more_than_the_file_holds(tmp_path: Path, zipped: bool) -> None:
    content = saved({"act.weight": torch.zeros(2**16 + 3)}, zipped=zipped)
    real, declared = (b"J" + number.to_bytes(4, "little") for number in (2**16 + 3, 2**31 - 1))
    if zipped:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(tmp_path / "x.pt", "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(real, declared))
    else:
        (tmp_path / "x.pt").write_bytes(content.replace(real, declared))
    with pytest.raises(CheckpointError, match=r"it declares 8589934588 bytes and holds at most|another size than"):
        load_state_dict(tmp_path / "x.pt")


def test_a_tensor_that_repeats_one_number_too_often(tmp_path: Path) -> None:
    torch.save({"few.weight": torch.ones(1).expand(1000)}, tmp_path / "x.pt")
    assert load_state_dict(tmp_path / "x.pt")["few.weight"].shape == (1000,)
    torch.save({"many.weight": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="a tensor of 1000000000000 elements repeats the 1 elements"):
        load_state_dict(tmp_path / "x.pt")


def test_modules_that_are_all_used_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = torch.nn.PReLU()
    for _ in range(6):
        net = torch.nn.Sequential(net, net)
    torch.save(net, tmp_path / "x.pt")
    assert len(load_state_dict(tmp_path / "x.pt")) == 64
    monkeypatch.setattr(search, "MOST_MODULES", 100)
    with pytest.raises(CheckpointError, match="a module with more than 100 modules in it"):
        load_state_dict(tmp_path / "x.pt")


def test_a_zip_that_would_span_disks_is_no_checkpoint(tmp_path: Path) -> None:
    """Python's `is_zipfile` raises for it."""
    content = saved({"act.weight": torch.zeros(2)}, zipped=True)
    place = content.rindex(b"PK\5\6") - 20  # zip64's locator; where there is none, there is nothing to damage
    locator = b"PK\6\7" + (1).to_bytes(4, "little") + (0).to_bytes(8, "little") + (2).to_bytes(4, "little")
    (tmp_path / "x.pt").write_bytes(content[: place + 20] + locator + content[place + 20 :])
    with pytest.raises(CheckpointError, match=r"x.pt' is "):
        load_state_dict(tmp_path / "x.pt")


def test_a_pickle_that_unpacks_to_far_more(tmp_path: Path) -> None:
    """Its length is declared in the archive's list; deflate cannot reach it."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({"a.weight": 1}))
    content = bytearray((tmp_path / "x.pt").read_bytes())
    entry = content.rindex(b"PK\1\2")
    content[entry + 24 : entry + 28] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"it declares 4294967294 bytes and holds at most"):
        load_state_dict(tmp_path / "x.pt")
