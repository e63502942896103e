"""Spec on the page, read back as the same study."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from slopewise.report.study.info import to_toml
from slopewise.study import parse_spec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(texts, values, max_size=5))
def test_reads_back_as_written(fields):
    assert tomllib.loads(to_toml(fields)) == fields


def test_leaves_out_what_is_none():
    assert tomllib.loads(to_toml({"a": None, "b": {"c": None}, "d": [{"e": None, "f": 1}]})) == {
        "b": {},
        "d": [{"f": 1}],
    }


def test_a_full_spec_survives():
    spec = parse_spec({"arms": ["relu", {"activation": "prelu_channel", "options": {"init": 0.1}}], "seeds": 3})
    assert parse_spec(tomllib.loads(to_toml(spec.model_dump(mode="json")))) == spec
