"""Whatever objects a file holds, its tensors are read and none of its code is run."""

import argparse
import collections
import datetime
import enum
import functools
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slopewise.checkpoint import CheckpointError, load_state_dict, read_checkpoint


class Optimiser(enum.Enum):
    SGD = "sgd"


class Slotted:
    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values = [1.0]


class Settings(dict[str, object]):
    """A dict that is an object as well, as configurations often are."""

    def __init__(self) -> None:
        super().__init__(lr=0.1)
        self.path = Path("runs")


Point = collections.namedtuple("Point", "x y")
OBJECTS = {
    "array": np.arange(6.0).reshape(2, 3),
    "array of text": np.array(["a", "bc"]),
    "array of objects": np.array([None, Path("x")], dtype=object),
    "scalar": np.float32(0.5),
    "random state": np.random.RandomState(0),
    "python's random state": random.getstate(),
    "generator of torch": torch.Generator().get_state(),
    "date": datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC),
    "enum": Optimiser.SGD,
    "partial": functools.partial(max, 1),
    "path": Path("x"),
    "namespace": argparse.Namespace(lr=0.1),
    "defaultdict": collections.defaultdict(list, loss=[1.0]),
    "deque": collections.deque([1.0], maxlen=3),
    "named tuple": Point(1, 2),
    "slots": Slotted(),
    "dict with attributes": Settings(),
    "class": nn.ReLU,
    "function": torch.relu,
    "frozen set, range, slice, complex": (frozenset({1}), range(3), slice(1), 1j),
    "sparse": torch.eye(3).to_sparse(),
    "big number": 2**100,
}
SAVE: dict[str, Callable[[object, Path], None]] = {
    "zip": torch.save,
    "protocol 5": functools.partial(torch.save, pickle_protocol=5),
    "before 1.6": functools.partial(torch.save, _use_new_zipfile_serialization=False),
}


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4))


@pytest.mark.parametrize("save", SAVE)
def test_tensors_beside_any_objects(tmp_path: Path, save: str) -> None:
    for name, item in OBJECTS.items():
        SAVE[save]({"extra": item, "more": [item, {"k": item}], "model": net().state_dict()}, tmp_path / "x.pt")
        tensors = load_state_dict(tmp_path / "x.pt")
        assert list(tensors) == list(net().state_dict()), name
        assert all(torch.equal(tensors[key], tensor) for key, tensor in net().state_dict().items()), name


class Runs:
    """An object whose unpickling, by `pickle`, makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("save", SAVE)
def test_no_code_of_the_file_runs(tmp_path: Path, save: str) -> None:
    SAVE[save]({"state_dict": net().state_dict(), "extra": Runs(tmp_path / "ran")}, tmp_path / "x.pt")
    assert list(load_state_dict(tmp_path / "x.pt")) == list(net().state_dict())
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "x.pt", weights_only=False)  # the probe works
    assert (tmp_path / "ran").exists()


CALLS = {
    "REDUCE": b"\x80\x02cslopewise_probe\ncall\n(X\x01\x00\x00\x00atR.",
    "INST": b"\x80\x02(X\x01\x00\x00\x00aislopewise_probe\ncall\n.",
    "OBJ": b"\x80\x02(cslopewise_probe\ncall\nX\x01\x00\x00\x00ao.",
    "NEWOBJ": b"\x80\x02cslopewise_probe\nKind\n)\x81}b.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x0fslopewise_probe\x8c\x04call\x93\x8c\x01a\x85R.",
    "BUILD": b"\x80\x02cslopewise_probe\nKind\n)\x81}(X\x01\x00\x00\x00aK\x01ub.",
}


@pytest.mark.parametrize("opcode", CALLS)
def test_no_opcode_imports_or_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opcode: str) -> None:
    (tmp_path / "slopewise_probe.py").write_text(
        "ran = []\ndef call(x): ran.append(x)\nclass Kind:\n    def __setstate__(self, state): ran.append(state)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "x.pkl").write_bytes(CALLS[opcode])
    with pytest.raises(CheckpointError, match="holds no state dict"):
        load_state_dict(tmp_path / "x.pkl")
    assert "slopewise_probe" not in sys.modules
    pickle.loads(CALLS[opcode])
    assert sys.modules.pop("slopewise_probe").ran


@pytest.mark.parametrize("save", [*SAVE, "plain pickle"])
def test_a_pickled_module_is_its_state_dict(tmp_path: Path, save: str) -> None:
    """Without its class: a script's own is not there to be imported."""
    model = nn.Sequential(net(), nn.PReLU())
    model.register_buffer("kept", torch.ones(2))
    model.register_buffer("not_kept", torch.ones(2), persistent=False)
    content = {"epoch": 3, "model": model}
    if save == "plain pickle":
        (tmp_path / "x.pt").write_bytes(pickle.dumps(content))
    else:
        SAVE[save](content, tmp_path / "x.pt")
    tensors = load_state_dict(tmp_path / "x.pt")
    assert list(tensors) == list(model.state_dict())
    assert all(torch.equal(tensors[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_of_a_plain_pickle_are_tensors(tmp_path: Path, protocol: int) -> None:
    """As PaddlePaddle (.pdparams) and Detectron2 (.pkl) write them."""
    arrays = {
        "conv.weight": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(4, 6)),
        "prelu.weight": np.linspace(0.1, 0.4, 4).astype(">f8"),
        "bn.steps": np.array(3),
        "bn.mask": np.array([True, False]),
    }
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(arrays, protocol=protocol))
    tensors = load_state_dict(tmp_path / "x.pdparams")
    assert list(tensors) == list(arrays)
    for name, array in arrays.items():
        assert torch.equal(tensors[name], torch.from_numpy(array.astype(array.dtype.newbyteorder("="))))


def test_every_sort_of_tensor(tmp_path: Path) -> None:
    memory = torch.randn(5, 6)
    tensors = {
        "bfloat16": torch.randn(3).bfloat16(),
        "float8": torch.randn(3).to(torch.float8_e4m3fn),
        "complex": torch.randn(3, dtype=torch.complex64),
        "view": memory[1:3, ::2].t(),
        "memory": memory,
        "parameter": nn.Parameter(torch.randn(3)),
        "with attributes": nn.Parameter(torch.randn(3)),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3),
        "expanded": torch.randn(1).expand(4),
    }
    tensors["with attributes"].note = "of FSDP"
    torch.save(tensors | {"sparse": torch.eye(2).to_sparse()}, tmp_path / "x.pt")
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    assert checkpoint.left_out == {"sparse": "a sparse tensor"}
    read = checkpoint.tensors
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].stride()) == (tensor.dtype, tensor.stride())
        assert torch.equal(read[name].to(torch.complex64), tensor.detach().to(torch.complex64)), name
    read["memory"].zero_()
    assert not read["view"].any()  # one memory, as in the file


def test_a_share_of_a_sharded_tensor_is_refused(tmp_path: Path) -> None:
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, init_device_mesh

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for placement in (Shard(0), Replicate(), Partial()):
            slopes = DTensor.from_local(torch.rand(4), mesh, [placement])
            torch.save({"act.weight": slopes}, tmp_path / f"{type(placement).__name__}.pt")
            share = DTensor.from_local(torch.rand(4), mesh, [placement], shape=torch.Size([8]), stride=(1,))
            torch.save({"act.weight": share}, tmp_path / f"half-{type(placement).__name__}.pt")
    finally:
        torch.distributed.destroy_process_group()
    for whole in ("Shard", "Replicate"):
        assert load_state_dict(tmp_path / f"{whole}.pt")["act.weight"].shape == (4,)
    for part in ("Partial", "half-Shard", "half-Partial"):
        with pytest.raises(
            CheckpointError, match=r"one process's share of 1 tensors, such as act.weight: save the whole"
        ):
            load_state_dict(tmp_path / f"{part}.pt")


def test_checksums_may_be_missing(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(net().state_dict(), tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert list(load_state_dict(tmp_path / "x.pt")) == list(net().state_dict())


def test_a_tensor_beyond_its_storage_is_damage(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pt").read_bytes()
    assert content.count(b"K\x02\x85") == 1  # the size (2,)
    (tmp_path / "x.pt").write_bytes(content.replace(b"K\x02\x85", b"K\x63\x85"))
    with pytest.raises(CheckpointError, match="reaches beyond its storage"):
        load_state_dict(tmp_path / "x.pt")
