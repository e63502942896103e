"""Bounds of a spec: each is refused at once in one short line, and stored specs are read all the same."""

import itertools
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slopewise.errors import SlopewiseWarning, SpecError, StoreError
from slopewise.report import summary_text
from slopewise.study import (
    DEFAULT_ARMS,
    ModelSpec,
    Store,
    Study,
    StudySpec,
    load_spec,
    load_study,
    override,
    parse_spec,
    preflight,
    read_spec,
    read_study,
    toml_value,
)
from slopewise.testing import synthetic_study

from .stores import edit_spec

LONG = "x" * 10**7
HUGE = 10**5000


def nested(levels: int, *, lists: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


def endless() -> dict[str, Any]:
    """A table that holds itself."""
    table: dict[str, Any] = {}
    table["a"] = table
    return table


INPUT: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    # seeds
    "range": (
        lambda: {"seeds": "0-2000000000"},
        "seeds: '0-2000000000' are 2,000,000,001 seeds; a study takes at most",
    ),
    "range in a list": (lambda: {"seeds": "5,0-99999999"}, "are 100,000,001 seeds"),
    "widest range": (lambda: {"seeds": f"0-{2**63 - 1}"}, "are 9,223,372,036,854,775,808 seeds"),
    "range beyond": (lambda: {"seeds": f"0-{2**63}"}, "is greater than 9223372036854775807, the greatest seed"),
    "downwards": (lambda: {"seeds": "10-3"}, "seeds: the range 10-3 goes down; write 3-10"),
    "one downwards": (lambda: {"seeds": "3-5,10-8"}, "the range 10-8 goes down"),
    "negative": (lambda: {"seeds": "-5"}, "seeds: '-5' is no seed and no range"),
    "negative count": (lambda: {"seeds": -5}, "seeds: -5 as a number is a count of seeds, 1 to 10,000"),
    "two dashes": (lambda: {"seeds": "1-2-3"}, "'1-2-3' is no seed"),
    "digits": (lambda: {"seeds": "9" * 10_000}, "is no seed and no range"),
    "other digits": (lambda: {"seeds": "\u00b2"}, "is no seed and no range"),
    "huge count": (lambda: {"seeds": HUGE}, "a number of about 5,000 digits as a number is a count"),
    "huge seed": (lambda: {"seeds": [HUGE]}, "seeds.0: input should be a number of at most 64 bits"),
    "range object": (lambda: {"seeds": range(10**12)}, "seeds: more than 10,000 of them"),
    "counter": (lambda: {"seeds": itertools.count()}, "seeds: more than 10,000 of them"),
    "list": (lambda: {"seeds": list(range(20_000))}, "seeds: 20,000 of them; a study takes at most 10,000"),
    "long list": (lambda: {"seeds": [0] * 300_000}, "seeds: 300,000 values; a spec takes at most 200,000"),
    "wrong list": (lambda: {"seeds": [-1] * 100_000}, "more"),
    "true": (lambda: {"seeds": [True, 0]}, "seeds.0: input should be a number, but it is True"),
    # counts of arms, trials, classes
    "arms": (
        lambda: {"arms": [f"a{n}=relu" for n in range(2_000)]},
        "arms: 2,000 of them; a study takes at most 1,000",
    ),
    "trials": (
        lambda: {"arms": [f"a{n}=relu" for n in range(1_000)], "seeds": 1_000},
        "1,000 arms with 1,000 seeds are 1,000,000 trials; a study takes at most 100,000",
    ),
    "control of many": (
        lambda: {"arms": [f"a{n}=relu" for n in range(999)], "control": "b"},
        "no arm is called 'b'; known",
    ),
    "classes": (lambda: {"data": {"classes": [f"c{n}" for n in range(300_000)]}}, "data.classes: 300,000 values"),
    "wrong classes": (lambda: {"data": {"classes": [[]] * 10_000}}, "9,99"),
    # text
    "name": (lambda: {"name": LONG}, "name: a text of 10,000,000 characters"),
    "title": (lambda: {"name": "x" * 1_000}, "name: at most 200 characters, but it has 1,000"),
    "key": (lambda: {LONG: 1}, "unknown key 'xxx"),
    "activation": (lambda: {"arms": [{"name": "a", "activation": "x" * 50_000}]}, "arm 'a': an activation has at most"),
    "arm's name": (
        lambda: {"arms": "x" * 50_000},
        "arms.0.name: string should have at most 60 characters, but it is 'xxx",
    ),
    "control": (lambda: {"control": "x" * 50_000}, "control: no arm is called 'xxx"),
    "choice": (lambda: {"train": {"optimizer": "x" * 50_000}}, "train.optimizer: input should be 'sgd' or 'adamw'"),
    "class": (lambda: {"data": {"classes": ["a" * 300, "b"]}}, "data.classes: at most 255 characters, but it has 300"),
    "path": (lambda: {"data": {"source": "folder", "path": "x" * 5_000}}, "data.path: at most 4,096 characters"),
    "no such user": (lambda: {"data": {"path": "~nobody-of-that-name/x"}}, "data.path: no home directory is known"),
    "code 0": (lambda: {"model": {"checkpoint": "x\0y"}}, "model.checkpoint: a path has no character of code 0"),
    "half a character": (lambda: {"arms": "\ud800=relu"}, "arms.0.name: input should be a valid string"),
    # numbers
    "epochs": (lambda: {"train": {"epochs": HUGE}}, "train.epochs: input should be a number of at most 64 bits"),
    "many epochs": (lambda: {"train": {"epochs": 10**9}}, "train.epochs: at most 1,000,000, but it is 1000000000"),
    "huge lr": (lambda: {"train": {"lr": HUGE}}, "train.lr: input should be a number of at most 64 bits"),
    "high lr": (lambda: {"train": {"lr": 1e300}}, "train.lr: at most 1e+30, but it is 1e+300"),
    "an arm's lr": (lambda: {"arms": [{"activation": "relu", "lr": 1e300}]}, "arms.0.lr: at most 1e+30"),
    "lr as text": (lambda: {"train": {"lr": "x" * 50_000}}, "train.lr: input should be a valid number"),
    "lr as a list": (lambda: {"train": {"lr": [1] * 100_000}}, "but it is [1, 1, 1, 1, 1, 1, ...]"),
    "image size": (lambda: {"data": {"image_size": 10**9}}, "data.image_size: at most 16,384 pixels a side"),
    "memory": (lambda: {"data": {"memory_gib": 1e308}}, "data.memory_gib: at most 1,048,576 GiB"),
    "threads": (lambda: {"hardware": {"threads": 10**6}}, "hardware.threads: at most 1,024"),
    "channel": (lambda: {"model": {"convert": {"channel_dim": HUGE}}}, "model.convert.channel_dim: input should be"),
    # depth
    "deep options": (lambda: {"model": {"options": nested(100_000)}}, "model.options.a.a"),
    "deep arm": (lambda: {"arms": [{"activation": "elu", "options": nested(40)}]}, "arms.0.options.a"),
    "deep list": (lambda: {"train": {"lr": nested(100_000, lists=True)}}, "train.lr.0.0"),
    "deep unknown key": (lambda: {"x": nested(5_000)}, "more than 32 tables or lists inside each other"),
    "endless": (lambda: {"data": {"options": endless()}}, "more than 32 tables or lists inside each other"),
    # many faults, and options that no file holds
    "unknown keys": (
        lambda: {f"k{n}": 1 for n in range(400_000)},
        "the spec: 400,000 values; a spec takes at most 200,000",
    ),
    "fewer unknown keys": (lambda: {f"k{n}": 1 for n in range(50_000)}, "more"),
    "not a number": (
        lambda: {"model": {"options": {"a": float("nan")}}},
        "model.options.a: options hold finite numbers",
    ),
    "infinite": (
        lambda: {"arms": [{"activation": "elu", "options": {"b": [float("inf")]}}]},
        "arms.0.options.b.0: options",
    ),
    "object": (lambda: {"data": {"options": {"a": object()}}}, "data.options.a: options hold text, numbers, true or"),
    "date": (lambda: {"data": {"options": {"day": date(2020, 1, 1)}}}, "(date): name it in text"),
    "number as a key": (lambda: {"model": {"options": {"a": {1: 2}}}}, "model.options.a: keys of options are text"),
    "long number": (lambda: {"model": {"options": {"a": HUGE}}}, "model.options.a: whole numbers have at most 64 bits"),
}


@pytest.mark.parametrize("case", INPUT)
def test_input_without_bounds_is_one_short_line(case: str) -> None:
    make, words = INPUT[case]
    fields = make()
    tracemalloc.start()
    with pytest.raises(SpecError) as caught:
        parse_spec(fields)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    message = str(caught.value)
    assert words in message
    assert len(message) < 500
    assert message.isprintable()
    assert most < 2**28  # bytes: nothing is made as long as the input says
    assert caught.value.__cause__ is None  # Python would print it with every fault and value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), True, HUGE], ids=["nan", "inf", "-inf", "true", "huge"]
)
@pytest.mark.parametrize(
    "key",
    [
        "margin", "data.train_size", "data.validation_fraction", "data.image_size", "data.memory_gib",
        "data.augment.shift", "data.augment.erase", "train.epochs", "train.batch_size", "train.lr", "train.momentum",
        "train.weight_decay", "train.slope_lr_scale", "train.slope_weight_decay", "hardware.devices",
        "hardware.threads", "hardware.cpus_per_trial", "hardware.gpus_per_trial", "monitor.every",
    ],
)  # fmt: skip
def test_no_number_is_endless_or_a_truth_value(key: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"^{key}") as caught:
        parse_spec(override({}, key, value))
    assert len(str(caught.value)) < 500


TOML = {
    "lists": ("[model.options]\nx = " + "[" * 900 + "]" * 900, "more than 32 tables or lists inside each other"),
    "tables": ("x = " + "{a=" * 5_000 + "1" + "}" * 5_000, "more than 32 tables or lists inside each other"),
    "names": ("[" + ".".join("a" * 100_000) + "]", "more than 32 tables or lists inside each other"),
    "inner names": (
        "x = {" + " . ".join(['"a"'] * 100_000) + " = 1}",
        "more than 32 tables or lists inside each other",
    ),
    "size": ("".join(f"k{n} = 1\n" for n in range(400_000)), "is no spec: it has more than 1,048,576 bytes"),
    "digits": ("seeds = " + "9" * 10_000, "holds a number of too many digits"),
    "twice": ("seeds = 3\nseeds = 4", "is not TOML: Cannot overwrite a value"),
    "long key": ("[" + "a" * 10**5 + "]\n" * 2, "is not TOML: "),
}


@pytest.mark.parametrize("case", TOML)
def test_a_file_without_bounds_is_one_short_line(case: str, tmp_path: Path) -> None:
    text, words = TOML[case]
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "study.toml")
    assert str(caught.value).startswith(f"'{tmp_path}/study.toml'")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_file_without_end_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'/dev/zero' is no spec"):
        read_spec("/dev/zero")
    with pytest.raises(SpecError, match=r"cannot read the spec 'a\\x00b'"):
        read_spec("a\0b")


def test_dots_in_text_are_no_deep_key(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(f'name = "{"." * 100} 1.2.3.4"\n# {"a. " * 20}\nseeds = 3\n')
    assert load_spec(tmp_path / "study.toml").spec.seeds == (0, 1, 2)


def test_settings_without_bounds_are_refused() -> None:
    assert toml_value("9" * 10_000, "--set x") == "9" * 10_000  # text, which the key's type then refuses
    with pytest.raises(SpecError, match="--set x: more than 32 tables or lists"):
        toml_value("[" * 5_000 + "]" * 5_000, "--set x")
    with pytest.raises(SpecError, match="more than 32 tables or lists inside each other") as caught:
        override({}, ".".join("a" * 100_000), 1)
    assert len(str(caught.value)) < 500


def test_bounds_are_generous() -> None:
    options = {"depths": [2, 2], "nested": {"a": {"b": [{"c": None}]}}, "wide": 2**64 - 1, "flag": True}
    spec = parse_spec({
        "arms": [{"name": f"a{n}", "activation": "relu", "options": options} for n in range(100)],
        "seeds": "0-998,2000",
        "margin": 0.001,
        "train": {"epochs": 10_000, "lr": 1e-300},
        "data": {"classes": [f"n{n:08}" for n in range(21_841)], "image_size": 1024},
    })  # fmt: skip
    assert len(spec.arms) * len(spec.seeds) == 100_000
    assert spec.seeds[-1] == 2000
    assert spec.arms[0].options == options


def test_seeds_come_in_any_kind_of_row() -> None:
    for seeds in (range(3), iter([0, 1, 2]), {0, 1, 2}, "0-1, 2"):
        assert parse_spec({"seeds": seeds}).seeds == (0, 1, 2)


def test_a_spec_made_by_its_class_has_the_same_bounds() -> None:
    with pytest.raises(SpecError, match=r"hardware\.threads: at most 1,024"):
        Study(StudySpec(hardware={"threads": 10**6}))
    with pytest.raises(SpecError, match="more than 32 tables or lists"):
        Study(StudySpec(model=ModelSpec(options=nested(100_000))))


def test_a_shift_beyond_the_images_is_refused_before_training() -> None:
    spec = parse_spec({"arms": "relu", "seeds": 1, "data": {"train_size": 100, "augment": {"shift": 8}}})
    with pytest.raises(SpecError, match=r"data\.augment\.shift: 8 pixels push all of an image of 8 x 8 out"):
        preflight(spec)


def beyond(folder: Path, **changes: object) -> None:
    """A study in a folder whose stored spec has values that are refused today."""
    record = synthetic_study(("relu", "elu"), seeds=10)
    spec = parse_spec({"arms": "relu,elu", "seeds": list(record.seeds)})
    with closing(Store.create(folder, spec, record.data)) as store:
        for trial in record.trials:
            store.add(trial, record.environments["synthetic"])
    edit_spec(folder, lambda spec: spec | changes)


@pytest.mark.parametrize("margin", [1e-12, 5e-324, 1e300])
def test_a_stored_margin_is_reported_whatever_it_is(tmp_path: Path, margin: float) -> None:
    beyond(tmp_path, margin=margin)
    results = load_study(tmp_path)
    assert results.record.margin == margin
    assert f"margin {margin:g} points (chosen)" in " ".join(summary_text(results.record).split())
    assert results.to_json()["margin"] == margin
    assert results.report(tmp_path / "page.html").stat().st_size


def test_stored_bounds_of_any_kind_are_read(tmp_path: Path) -> None:
    beyond(tmp_path, name="x" * 1_000, train={"lr": 1e9, "epochs": 10**8}, model={"options": nested(100)})
    results = load_study(tmp_path)
    assert results.record.spec["train"]["lr"] == 1e9
    assert "elu" in str(results)


def test_a_study_whose_margin_is_none_goes_on_with_another(tmp_path: Path) -> None:
    beyond(tmp_path, margin=1e-12)
    study = Study(arms="relu,elu", seeds=10, margin=0.5)
    with pytest.warns(
        SlopewiseWarning, match=r"had a margin of 1e-12 points, less than the least of 0\.001; it is 0\.5"
    ):
        assert study.missing(tmp_path) == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = StudySpec(arms="relu,elu", seeds=10, margin=1e-12)
        Store.create(tmp_path, same, read_study(tmp_path).data).close()


def test_a_margin_that_is_one_stays(tmp_path: Path) -> None:
    beyond(tmp_path, margin=0.001)
    with pytest.raises(StoreError, match=r"margin was 0\.001, now 0\.5"):
        Study(arms="relu,elu", seeds=10).missing(tmp_path)


def test_differences_of_studies_are_one_short_line(tmp_path: Path) -> None:
    old = parse_spec(
        {"arms": ",".join(f"a{n}=relu" for n in range(900)), "seeds": "0-99", "model": {"options": {"x": "y" * 9_000}}}
    )
    Store.create(tmp_path, old, {"classes": ["0", "1"]}).close()
    with pytest.raises(StoreError) as caught:
        Study(arms=DEFAULT_ARMS, seeds=1).missing(tmp_path)
    assert "; and 885 more. Only new arms and seeds" in str(caught.value)
    assert len(str(caught.value)) < 700
