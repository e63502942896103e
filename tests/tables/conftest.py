"""A table of results in every form that `judge` takes."""

import csv
import json
import math

import numpy as np
import pytest

from slopewise.tables import judge


def make_rows(effects=None, seeds=8, spread=0.05):
    """Make rows of results whose arms share the noise of their seed."""
    rng = np.random.default_rng(0)
    shared = rng.normal(31, 0.5, seeds)
    return [
        {"activation": arm, "seed": seed, "psnr": float(shared[seed] + effect + spread * rng.standard_normal())}
        for arm, effect in (effects or {"relu": 0.0, "prelu": 0.4, "elu": 0.0}).items()
        for seed in range(seeds)
    ]


@pytest.fixture
def rows():
    return make_rows


@pytest.fixture
def judged():
    """Judge a table with the arguments that most tests share."""

    def judge_it(table, **changes):
        arguments = {
            "arm": "activation",
            "seed": "seed",
            "metric": "psnr",
            "better": "higher",
            "control": "relu",
            "margin": 0.1,
            "unit": "dB",
        }
        return judge(table, **(arguments | changes))

    return judge_it


@pytest.fixture
def save(tmp_path):
    """Write rows to a file of a kind, and return its path."""

    def write(rows, suffix, name="results"):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".parquet":
            pa = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            parquet.write_table(pa.Table.from_pylist(rows), path)
        elif suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, [*rows[0]], delimiter="\t" if suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
        return path

    return write


@pytest.fixture
def same():
    """Compare two contrasts field by field, where None and NaN are equal to themselves."""

    def check(one, other, *, but=()):
        for field in one.__dataclass_fields__:
            if field not in but:
                a, b = getattr(one, field), getattr(other, field)
                assert a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)), field

    return check
