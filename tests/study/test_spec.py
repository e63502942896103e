"""The spec: shorthands, refusals that name the place, round trips."""

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import SpecError
from slopewise.study import StudySpec, override, parse_spec, preflight, read_spec


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [(3, (0, 1, 2)), ("3", (0, 1, 2)), ([4, 9], (4, 9)), ("4,9", (4, 9)), ("4-6,9", (4, 5, 6, 9)), ("7,", None)],
)
def test_seeds_are_a_count_a_list_or_a_range(seeds: object, expected: tuple[int, ...] | None) -> None:
    if expected is None:
        with pytest.raises(SpecError, match="seeds"):
            parse_spec({"seeds": seeds})
    else:
        assert parse_spec({"seeds": seeds}).seeds == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(24, (24, 24)), ([24, 16], (24, 16)), (True, None), (0, None), ("24", None)]
)
def test_one_number_is_a_square(size: object, expected: tuple[int, int] | None) -> None:
    if expected is None:
        with pytest.raises(SpecError, match=r"data\.image_size"):
            parse_spec({"data": {"image_size": size}})
    else:
        assert parse_spec({"data": {"image_size": size}}).data.image_size == expected


def test_arms_have_shorthands() -> None:
    spec = parse_spec({"arms": "relu, relu, other=relu, prelu_shared"})
    assert [(arm.name, arm.activation) for arm in spec.arms] == [
        ("relu", "relu"),
        ("relu_2", "relu"),
        ("other", "relu"),
        ("prelu_shared", "prelu_shared"),
    ]
    table = parse_spec({"arms": ["relu", {"activation": "leaky_relu", "options": {"negative_slope": 0.3}}]})
    assert table.arms[1].name == "leaky_relu"
    assert table.control == "relu"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 3}, "unknown key 'epochs'"),
        ({"train": {"epoch": 3}}, "unknown key 'train.epoch'; did you mean 'epochs'?"),
        ({"data": {"augment": {"flips": True}}}, "unknown key 'data.augment.flips'; did you mean 'flip'?"),
        ({"arms": [{"activation": "relu", "slope_lr": 1}]}, "did you mean 'slope_lr_scale'?"),
        ({"train": {"lr": -1}}, "train.lr: input should be greater than 0, but it is -1"),
        ({"arms": "relu,x=elu,x=silu"}, "two are called 'x'"),
        ({"control": "prelu"}, "control: no arm is called 'prelu'; did you mean 'prelu_shared' or 'prelu_channel'?"),
        ({"seeds": [1, 1]}, "the same seed stands twice"),
        ({"arms": ""}, "arms"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 10**25}, "as a number is a count of seeds, 1 to 10,000"),
        ({"seeds": [2**63]}, "seeds.0: input should be less than or equal to"),
        ({"margin": float("inf")}, "margin: input should be a finite number"),
        ({"hardware": {"devices": 2}}, "hardware.strategy: several devices a trial need 'ddp' or 'fsdp2'"),
        (
            {"hardware": {"devices": 2, "strategy": "fsdp2", "precision": "16-mixed", "accelerator": "cuda"}},
            "hardware.precision: '16-mixed' scales the loss, which 'fsdp2' cannot; take 'bf16-mixed'",
        ),
        (
            {"train": {"batch_size": 9}, "hardware": {"devices": 2, "strategy": "ddp_spawn"}},
            "multiple of hardware.devices",
        ),
        ({"hardware": {"precision": "16-mixed"}}, "a CPU takes 'bf16-mixed'"),
        ({"hardware": {"accelerator": "gpu"}}, "hardware.accelerator: did you mean 'cuda'?"),
        ({"train": {"optimizer": "adam"}}, "train.optimizer: did you mean 'adamw'?"),
        ({"margin": "much"}, "margin: input should be a valid number"),
    ],
)
def test_a_fault_is_one_line_that_says_where(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        parse_spec(fields)
    assert "\n" not in str(caught.value)


def test_a_list_with_a_faulty_value_is_not_called_too_short_as_well() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec({"map": {"lr": [0.1], "init": [float("nan")]}})
    assert str(caught.value) == "map.init.0: input should be a finite number, but it is nan"


def test_the_template_holds_every_key_at_its_default() -> None:
    text = resources.files("slopewise.study").joinpath("templates/study.toml").read_text(encoding="utf-8")
    assert parse_spec(tomllib.loads(text)) == StudySpec()
    for table in ("data", "model", "train", "hardware"):
        for key in StudySpec.model_fields[table].annotation.model_fields:  # type: ignore[union-attr]
            assert re.search(rf"^(# )?{key} = |^\[{table}\.{key}\]", text, re.MULTILINE), f"{table}.{key} is missing"


def test_a_spec_survives_the_store() -> None:
    spec = parse_spec({"arms": ["relu", {"name": "a", "activation": "elu", "lr": 0.1}], "seeds": "5-7"})
    assert parse_spec(spec.model_dump(mode="json")) == spec


@given(st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3), st.integers())
def test_override_sets_one_key_and_changes_nothing_else(inner: dict[str, int], value: int) -> None:
    fields = {"train": inner, "seeds": 1}
    changed = override(fields, "train.a", value)
    assert changed == {"train": {**inner, "a": value}, "seeds": 1}
    assert fields == {"train": inner, "seeds": 1}


def test_override_of_what_is_no_table_is_refused() -> None:
    with pytest.raises(SpecError, match="'seeds' is not a table"):
        override({"seeds": 1}, "seeds.x", 1)


def test_callables_become_references() -> None:
    from torch.nn import Hardswish

    assert parse_spec({"arms": [{"name": "h", "activation": Hardswish}]}).arms[0].activation.endswith(":Hardswish")
    assert [arm.name for arm in parse_spec({"arms": ["relu", Hardswish]}).arms] == ["relu", "Hardswish"]
    with pytest.raises(SpecError, match="top level of a module"):
        parse_spec({"model": {"name": lambda activation: None}})


def test_a_path_stands_for_its_kind_of_source(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_spec({"data": {"source": "photos"}}).data.source == "folder"
    archive = parse_spec({"data": {"source": "a/b.npz"}}).data
    assert (archive.source, archive.path) == ("npz", "a/b.npz")


def test_unreadable_files_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpecError, match="cannot read the spec"):
        read_spec(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("seeds = = 3")
    with pytest.raises(SpecError, match="is not TOML"):
        read_spec(tmp_path / "bad.toml")


def test_a_path_alone_stands_for_the_source_that_reads_it(tmp_path: Path) -> None:
    assert parse_spec({"data": {"path": str(tmp_path)}}).data.source == "folder"
    assert parse_spec({"data": {"path": "a.npz"}, "task": {"kind": "segmentation"}}).data.source == "npz"
    with pytest.raises(SpecError, match=r"data\.path: '/no/such/photos' is no folder and no \.npz file"):
        parse_spec({"data": {"path": "/no/such/photos"}})
    with pytest.raises(SpecError, match=r"data\.path: data 'digits' have none"):
        preflight(parse_spec({"data": {"source": "digits", "path": str(tmp_path)}}))
