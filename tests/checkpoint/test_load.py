"""Files as training scripts and model hubs write them, read back against the model they were saved from."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

import slopewise as sw
from slopewise.checkpoint import load_state_dict, read_checkpoint, strip_prefixes


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(sw.ConvBNPReLU(3, 4), nn.Conv2d(4, 6, 1), nn.PReLU(6))


def same(tensors: dict[str, torch.Tensor], model: nn.Module, *, ordered: bool = True) -> None:
    expected = model.state_dict()
    assert (list(tensors) if ordered else sorted(tensors)) == (list(expected) if ordered else sorted(expected))
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].device.type == "cpu"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_torch_save(tmp_path: Path, zipped: bool) -> None:
    torch.save(net().state_dict(), tmp_path / "x.bin", _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(tmp_path / "x.bin")
    assert checkpoint.key == ""
    same(checkpoint.tensors, net())


@pytest.mark.parametrize("name", ["x.safetensors", "renamed.pt"])
def test_safetensors_is_recognised_by_its_content(tmp_path: Path, name: str) -> None:
    save_file(net().state_dict(), tmp_path / name)
    same(load_state_dict(str(tmp_path / name)), net(), ordered=False)


def test_names_of_safetensors_come_in_the_order_of_numbers(tmp_path: Path) -> None:
    deep = nn.Sequential(*(nn.PReLU() for _ in range(12)))
    save_file(deep.state_dict(), tmp_path / "x.safetensors")
    same(load_state_dict(tmp_path / "x.safetensors"), deep)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_checkpoint_in_parts(tmp_path: Path, suffix: str) -> None:
    tensors = net().state_dict()
    parts = {f"model-{part}-of-2.{suffix}": dict(list(tensors.items())[part - 1 :: 2]) for part in (1, 2)}
    for file, content in parts.items():
        save_file(content, tmp_path / file) if suffix == "safetensors" else torch.save(content, tmp_path / file)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file in parts for name in parts[file]}}))
    same(load_state_dict(index), net(), ordered=False)


def lightning(model: nn.Module) -> dict[str, object]:
    """The keys of a Lightning checkpoint, among them tensors that are no network's."""
    scores = {"best_model_score": torch.tensor(0.1), "best_k_models": {"a.ckpt": torch.tensor(0.1)}}
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "global_step": 12,
        "callbacks": {"ModelCheckpoint{'monitor': None}": scores},
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"base_lrs": [0.1]}],
        "hyper_parameters": {"width": 4, "folder": Path("data"), "class_weights": torch.ones(3), "lr": 0.1, "x": None},
        "state_dict": model.state_dict(),
    }


def timm(model: nn.Module) -> dict[str, object]:
    """timm's and torchvision's keep their arguments, and many a script NumPy's best accuracy."""
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    args = argparse.Namespace(lr=0.1, output=Path("out"))
    return {"arch": "r", "model": model.state_dict(), "optimizer": optimizer.state_dict(), "args": args,
            "best": np.float64(0.9), "epoch": np.int64(3), "amp_scaler": {"scale": 1.0}}  # fmt: skip


NESTED = {
    "state_dict": lightning,
    "model": timm,
    "model_state_dict": lambda model: {"model_state_dict": model.state_dict(), "loss": torch.tensor(0.3)},
    "ema": lambda model: {"ema": model.state_dict(), "updates": 7, "rng": {"torch": torch.get_rng_state()}},
    "trainer.ema.shadow": lambda model: {"trainer": {"ema": {"shadow": model.state_dict(), "decay": 0.99}}},
    "net": lambda model: {  # FSDP names the parameters in the optimizer's state
        "net": model.state_dict(),
        "optimizer": {"state": {"0.weight": {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    },
}


@pytest.mark.parametrize("key", NESTED)
def test_finds_the_state_dict_and_says_where(tmp_path: Path, key: str) -> None:
    model = net()
    saved = NESTED[key](model)
    torch.save(saved, tmp_path / "x.ckpt")
    checkpoint = read_checkpoint(tmp_path / "x.ckpt")
    assert checkpoint.key == key
    same(checkpoint.tensors, model)


BESIDE = {
    "class weights": lambda model: {"state_dict": model.state_dict(), "class_weights": torch.ones(3)},
    "statistics as arrays": lambda model: {"state_dict": model.state_dict(), "mean": np.zeros(3), "std": np.ones(3)},
    "a history": lambda model: {"state_dict": model.state_dict(), "history": {"loss": torch.rand(9)}},
    "modules among the arguments": lambda model: {"state_dict": model.state_dict(), "hyper_parameters": {"net": model}},
    "an optimizer by names": lambda model: {
        "state_dict": model.state_dict(), "optim": {"state.0.weight.exp_avg": torch.ones(3)},
    },
}  # fmt: skip


@pytest.mark.parametrize("what", BESIDE)
def test_other_tensors_beside_a_state_dict_are_none(tmp_path: Path, what: str) -> None:
    torch.save(BESIDE[what](net()), tmp_path / "x.pt")
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    assert checkpoint.key == "state_dict"
    same(checkpoint.tensors, net())


def test_another_state_dict_of_the_file_can_be_picked_by_its_key(tmp_path: Path) -> None:
    torch.save(BESIDE["a history"](net()), tmp_path / "x.pt")
    assert list(load_state_dict(tmp_path / "x.pt", "history")) == ["loss"]


def test_lists_are_searched(tmp_path: Path) -> None:
    torch.save([net().state_dict(), {"discriminator": nn.Linear(2, 2).state_dict()}], tmp_path / "x.pt")
    same(load_state_dict(tmp_path / "x.pt", "0"), net())
    assert read_checkpoint(tmp_path / "x.pt", "1").key == "1.discriminator"


def test_versions_of_modules_are_kept(tmp_path: Path) -> None:
    for name, content in {"x": net().state_dict(), "y": {"ema": net().state_dict()}}.items():
        for zipped in (True, False):
            torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
            assert load_state_dict(tmp_path / name)._metadata == net().state_dict()._metadata
    torch.save(dict(net().state_dict()), tmp_path / "x")
    assert not hasattr(load_state_dict(tmp_path / "x"), "_metadata")


def tied() -> nn.Module:
    act = nn.PReLU()
    return nn.Sequential(nn.Conv2d(3, 3, 1), act, nn.Conv2d(3, 3, 1), act, nn.Sequential(act))


def test_names_that_safetensors_left_out_are_read(tmp_path: Path) -> None:
    save_model(tied(), str(tmp_path / "x.safetensors"))
    tensors = load_state_dict(tmp_path / "x.safetensors")
    assert sorted(tensors) == sorted(tied().state_dict())
    assert tensors["1.weight"] is tensors["3.weight"] is tensors["4.0.weight"]


def test_one_tensor_is_one_in_memory(tmp_path: Path) -> None:
    torch.save(tied().state_dict(), tmp_path / "x.pt")
    tensors = load_state_dict(tmp_path / "x.pt")
    assert len({tensors[name].data_ptr() for name in ("1.weight", "3.weight", "4.0.weight")}) == 1
    assert tensors["0.weight"].data_ptr() != tensors["2.weight"].data_ptr()


def test_a_key_picks_one_of_several(tmp_path: Path) -> None:
    average = net()
    nn.init.zeros_(average[2].weight)
    torch.save({"model": net().state_dict(), "ema": {"module": average.state_dict()}}, tmp_path / "x.pt")
    same(load_state_dict(tmp_path / "x.pt", "model"), net())
    same(load_state_dict(tmp_path / "x.pt", "ema.module"), average)
    same(load_state_dict(tmp_path / "x.pt", "ema"), average)


def test_entries_that_are_no_tensors_are_left_out(tmp_path: Path) -> None:
    torch.save({**net().state_dict(), "2._extra_state": {"note": torch.ones(2)}}, tmp_path / "x.pt")
    same(load_state_dict(tmp_path / "x.pt"), net())


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


WRAPPED = {
    "DataParallel": nn.DataParallel,
    "compiled": compiled,
    "compiled inside": lambda model: nn.Sequential(*map(compiled, model)),
    "compiled, then DataParallel": lambda model: nn.DataParallel(compiled(model)),
    "averaged": torch.optim.swa_utils.AveragedModel,
    "averaged twice wrapped": lambda model: torch.optim.swa_utils.AveragedModel(nn.DataParallel(model)),
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_strip_prefixes_undoes_wrappers(wrapper: str) -> None:
    wrapped = WRAPPED[wrapper](net()).state_dict()
    assert set(wrapped) != set(net().state_dict())
    same(strip_prefixes(wrapped), net())
    assert dict(strip_prefixes(wrapped)._metadata) == dict(net().state_dict()._metadata)


def test_a_prefix_that_only_some_names_have_stays() -> None:
    tensors = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert strip_prefixes(tensors) == tensors
    assert list(strip_prefixes({"model.act.weight": torch.ones(1)})) == ["model.act.weight"]
    assert list(strip_prefixes({"model.act.weight": torch.ones(1)}, ("module.", "model."))) == ["act.weight"]
    assert strip_prefixes({}) == {}


def test_two_names_never_become_one() -> None:
    with pytest.raises(sw.errors.SlopewiseError, match="keep one"):
        strip_prefixes({"a._orig_mod.weight": torch.ones(1), "a.weight": torch.zeros(1)})
