"""Files of checkpoints: whole or not there, damaged ones passed over, plain data alone."""

import random
import subprocess
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from slopewise.errors import FunctionError, StoreWarning
from slopewise.study import Checkpoints


def files(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0].lstrip("0") for path in folder.iterdir())


def test_the_latest_two_are_kept_and_the_last_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "deep" / "checkpoints")
    assert checkpoints.latest() is None
    for step in range(1, 6):
        assert checkpoints.save(step, {"step": step})
    assert files(checkpoints.folder) == ["4", "5"]
    assert checkpoints.latest() == {"step": 5}
    checkpoints.save(2, {"step": 2})  # a training that has gone back
    assert files(checkpoints.folder) == ["2"]
    checkpoints.save(2, {"step": "again"})
    assert checkpoints.latest() == {"step": "again"}
    checkpoints.clear()
    assert not checkpoints.folder.exists()


def test_everything_that_a_training_needs_comes_back_bit_by_bit(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU(4))
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))
    net(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    schedule.step()
    state = {
        "net": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
        "torch": torch.get_rng_state(), "python": random.getstate(), "values": [1, 0.1, -0.0, torch.inf, 2**70, None],
        "more": OrderedDict(a=(True, "text", b"bytes", {1, 2}, torch.float32, torch.Size([2]))),
    }  # fmt: skip
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state)
    read = checkpoints.latest()
    assert repr(read) == repr(state)
    assert all(map(torch.equal, read["net"].values(), state["net"].values()))
    random.setstate(read["python"])


class Odd:
    pass


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"best": {"psnr": numpy.float64(3)}}, r"numpy.float64 as \['best'\]\['psnr'\] .*: save its float\(\.\.\.\)"),
        ({"a": [0, numpy.zeros(2)]}, r"numpy.ndarray as \['a'\]\[1\] .*: save torch.from_numpy"),
        ({"net": nn.Linear(1, 1)}, r"Linear as \['net'\] .*: save its state_dict\(\)"),
        ({"x": Odd()}, r"Odd as \['x'\] .*: save what it holds"),
        ({"x": defaultdict(int)}, r"collections.defaultdict as \['x'\]"),
        ({numpy.int64(3): 1}, r"numpy.int64 as : the key"),
        ({"p": Path("x")}, r"PosixPath as \['p'\]"),
    ],
)
def test_what_could_not_be_read_again_is_refused_with_its_key(tmp_path: Path, state: dict, words: str) -> None:
    with pytest.raises(FunctionError, match=words):
        Checkpoints(tmp_path / "new").save(1, state)
    assert not (tmp_path / "new").exists()
    with pytest.raises(FunctionError, match="steps are whole numbers"):
        Checkpoints(tmp_path).save(1.5, {})  # type: ignore[arg-type]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut, empty])
def test_a_damaged_file_is_passed_over_for_the_one_before(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"step": step, "weights": torch.randn(5000)})
    latest, before = sorted(tmp_path.iterdir(), reverse=True)
    damage(latest)
    with pytest.warns(StoreWarning, match="'.*000002-.*' is damaged: the training goes back to the one before"):
        assert checkpoints.latest()["step"] == 1
    damage(before)
    with pytest.warns(StoreWarning) as warned:
        assert checkpoints.latest() is None
    assert len(warned) == 2
    checkpoints.save(1, {"step": 1})
    assert checkpoints.latest() == {"step": 1}  # and the damaged ones are gone
    assert files(tmp_path) == ["1"]


def test_a_checkpoint_of_another_training_is_passed_over(tmp_path: Path) -> None:
    Checkpoints(tmp_path, identity="one").save(9, {"of": "one"})
    other = Checkpoints(tmp_path, identity="other")
    with pytest.warns(StoreWarning, match="is of another training, or of other code or settings"):
        assert other.latest() is None
    other.save(1, {"of": "other"})
    assert other.latest() == {"of": "other"}


def test_a_file_that_runs_code_is_not_loaded(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "run",)

    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(1, {})
    (path,) = checkpoints.folder.iterdir()
    torch.save({"identity": "", "state": Harmful()}, path)
    import hashlib

    path.rename(path.with_name(f"2-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.pt"))
    with pytest.warns(StoreWarning, match="the checkpoint"):
        assert checkpoints.latest() is None
    assert not (tmp_path / "run").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        sys.platform != "linux"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a file system of 1 MiB can be mounted by root alone, on Linux")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_costs_a_checkpoint_and_leaves_the_one_before(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk / "checkpoints")
    assert checkpoints.save(1, {"step": 1, "weights": torch.zeros(1000)})
    for step in (2, 3):
        with pytest.warns(StoreWarning, match="cannot save a checkpoint in .*: No space left on device"):
            assert not checkpoints.save(step, {"step": step, "weights": torch.randn(10**6)})
    assert files(checkpoints.folder) == ["1"]
    assert checkpoints.latest()["step"] == 1
    assert checkpoints.save(4, {"step": 4, "weights": torch.zeros(1000)})
    assert checkpoints.latest()["step"] == 4


def test_what_a_killed_process_leaves_is_removed_by_the_next_save(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    code = (
        "import os, sys, torch; from slopewise.study import Checkpoints\n"
        "os.fsync = lambda number: os._exit(9)\n"
        "Checkpoints(sys.argv[1]).save(1, {'weights': torch.zeros(10)})\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".unfinished")
    assert checkpoints.latest() is None
    checkpoints.save(1, {})
    assert files(tmp_path) == ["1"]
