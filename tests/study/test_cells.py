"""Cells: keys that name settings, and the spec that a trial in a cell follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import SpecError
from slopewise.events import TrialKey
from slopewise.study import Study, StudySpec, parse_spec
from slopewise.study._cells import cell_key, designed_cells, settings_of, spec_of

NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8),
    st.lists(st.integers(0, 9), max_size=3),
)


@given(st.dictionaries(NAMES.map(lambda name: f"train.options.{name}"), VALUES, min_size=1, max_size=3))
def test_a_key_names_its_settings_exactly(settings: dict[str, object]) -> None:
    assert settings_of(cell_key(settings)) == settings
    assert cell_key(dict(reversed(settings.items()))) == cell_key(settings)


def test_settings_of_a_cell_reach_the_trial_alone() -> None:
    spec = StudySpec(arms="relu,prelu_shared,prelu_channel", seeds=2, tune={"lr": [0.01, 0.1]})
    own = spec_of(spec, TrialKey("prelu_shared", 0, 'arm.options.init = 0.5, train.optimizer = "adamw"'))
    assert [arm.options for arm in own.arms] == [{}, {"init": 0.5}, {}]
    assert own.train.optimizer == "adamw"
    assert (spec.train.optimizer, spec.arms[1].options) == ("sgd", {})
    assert own.tune is None
    assert spec_of(spec, TrialKey("relu", 0)) is spec


def test_tuned_rates_hold_in_a_cell_unless_it_sets_the_rate() -> None:
    spec = StudySpec(arms=[{"activation": "relu"}, {"activation": "elu", "lr": 0.5}], seeds=1)
    rates = (("relu", 0.07),)
    assert [arm.lr for arm in spec_of(spec, TrialKey("relu", 0, "", rates)).arms] == [0.07, 0.5]
    batch_norm = spec_of(spec, TrialKey("relu", 0, "model.options.batch_norm = true", rates))
    assert ([arm.lr for arm in batch_norm.arms], batch_norm.model.options) == ([0.07, 0.5], {"batch_norm": True})
    other_rate = spec_of(spec, TrialKey("elu", 0, "train.lr = 0.2", rates))
    assert ([arm.lr for arm in other_rate.arms], other_rate.train.lr) == ([None, None], 0.2)


def test_cells_of_a_map_and_of_factors() -> None:
    spec = StudySpec(
        arms="relu,leaky_relu,prelu_channel",
        seeds=12,
        map={"lr": [0.01, 0.1], "init": [0, 0.5], "seeds": 2},
        factors=[{"setting": "data.train_size", "values": [100, 200], "arms": ["relu", "prelu_channel"]}],
    )
    cells = designed_cells(spec)
    assert [(cell.key, cell.arms, len(cell.seeds)) for cell in cells] == [
        ("train.lr = 0.01", ("relu",), 2),
        ("arm.options.init = 0.0, train.lr = 0.01", ("prelu_channel",), 2),
        ("arm.options.init = 0.5, train.lr = 0.01", ("prelu_channel",), 2),
        ("train.lr = 0.1", ("relu",), 2),
        ("arm.options.init = 0.0, train.lr = 0.1", ("prelu_channel",), 2),
        ("arm.options.init = 0.5, train.lr = 0.1", ("prelu_channel",), 2),
        ("data.train_size = 100", ("relu", "prelu_channel"), 10),
        ("data.train_size = 200", ("relu", "prelu_channel"), 10),
    ]
    assert {role for cell in cells for role in cell.roles} == {"map", "factors"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"factors": [{"setting": "seeds.x", "values": [1]}]}, "'seeds.x' cannot be crossed"),
        ({"factors": [{"setting": "train.function", "values": ["a:b"]}]}, "'train.function' cannot be crossed"),
        ({"factors": [{"setting": "train.epoch", "values": [1]}]}, r"with train.epoch = 1: unknown key 'train.epoch'"),
        ({"factors": [{"setting": "train.lr", "values": [-1]}]}, "with train.lr = -1: train.lr"),
        ({"factors": [{"setting": "train.lr", "values": [1], "arms": ["rely"]}]}, "no arm is called 'rely'; did you"),
        ({"map": {"lr": [0.1], "arms": ["x"]}}, "map.arms: no arm is called 'x'"),
        ({"map": {"lrs": [0.1]}}, "unknown key 'map.lrs'; did you mean 'lr'"),
        ({"tune": {"lr": [0.1, 0.01]}}, "the lower rate must come first"),
        ({"tune": {"lr": [0.01, 0.1]}, "arms": [{"activation": "relu", "lr": 1.0}]}, "sets its own learning rate"),
        ({"tune": {"lr": [0.01, 0.1]}, "seeds": [0, 1000001]}, "1000001 is reserved for tuning"),
        ({"until_decided": {"looks": [5, 4]}}, "numbers of seeds must be ascending"),
        ({"until_decided": {"looks": [4, 9]}, "seeds": 10}, "must be after all 10 seeds of the study, got 9"),
        ({"until_decided": {"looks": []}}, "until_decided.looks: input should have at least 1 item"),
        ({"until_decided": "yes"}, "until_decided: must be true, or a table as in"),
        ({"tune": True}, "tune: input should be a table, but it is True"),
        ({"map": {"init": [0.0]}}, "map.lr: this value is missing"),
        ({"factors": [{"setting": "seeds", "values": [3]}]}, "'seeds' cannot be crossed with the arms"),
        ({"train": {"function": "m:f"}, "metrics": [{"name": "a", "better": "higher"}], "tune": {"lr": [0.1, 1]}},
         "a train.function sets its own learning rate"),
    ],
)  # fmt: skip
def test_designs_that_cannot_be_carried_out(fields: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        Study(**fields)


def test_looks_follow_the_number_of_seeds() -> None:
    adaptive = parse_spec({"until_decided": True})
    assert adaptive.model_dump()["until_decided"] == {"looks": (10, 16, 24, 40)}
    assert len(adaptive.seeds) == 40
    assert len(parse_spec({"until_decided": {"looks": [8, 12, 20]}}).seeds) == 20  # all seeds: the last look

    twenty = parse_spec({"until_decided": True, "seeds": 20})
    assert twenty.until_decided is not None
    assert twenty.until_decided.looks == (5, 8, 12, 20)
    assert parse_spec(twenty.model_dump(mode="json")) == twenty
    assert parse_spec({"until_decided": False}).until_decided is None
