"""Tables judged as studies are: long and wide ones, frames of three libraries, files, and what is missing in them."""

import datetime
import decimal
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats

import slopewise as sw
from slopewise.analysis import analyse
from slopewise.errors import TableError
from slopewise.tables import judge

FRAMES = {
    "pandas": pd.DataFrame,
    "pandas-arrow": lambda rows: pd.DataFrame(rows).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda rows: pl.DataFrame(rows, infer_schema_length=None),
    "pyarrow": pa.Table.from_pylist,
}


@pytest.fixture(params=FRAMES)
def frame(request):
    return FRAMES[request.param]


def test_a_long_table_is_compared_pair_by_pair(rows, judged, frame):
    table = rows()
    prelu, elu = judged(frame(table)).contrasts()
    values = {arm: np.array([row["psnr"] for row in table if row["activation"] == arm]) for arm in ("relu", "prelu")}
    difference = values["prelu"] - values["relu"]
    reference = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert (prelu.arm, prelu.verdict, prelu.paired, prelu.seeds) == ("prelu", "helps", True, tuple(range(8)))
    assert prelu.difference == pytest.approx(difference.mean())
    assert prelu.p == pytest.approx(reference.pvalue)
    assert (prelu.metric, prelu.title, prelu.unit, prelu.margin) == ("psnr", "psnr", "dB", 0.1)
    assert (elu.verdict, elu.tests) == ("no practical effect", 2)


def test_without_seeds_runs_are_unpaired(rows, judged, frame):
    table = rows(seeds=6) + rows({"prelu": 0.4}, seeds=2)
    prelu, _ = judged(frame(table), seed=None).contrasts()
    control = [row["psnr"] for row in table if row["activation"] == "relu"]
    arm = [row["psnr"] for row in table if row["activation"] == "prelu"]
    reference = stats.permutation_test(
        (arm, control), lambda a, b: np.mean(a) - np.mean(b), n_resamples=np.inf, vectorized=False
    )
    far = np.abs(reference.null_distribution) >= abs(reference.statistic) * (1 - 1e-12)
    assert (prelu.paired, len(prelu.seeds), len(prelu.control_seeds)) == (False, 8, 6)
    assert prelu.p == far.mean()


def test_a_wide_table_is_that_of_its_long_form(rows, judged, frame, same):
    table = rows()
    wide = [
        {"seed": seed, **{row["activation"]: row["psnr"] for row in table if row["seed"] == seed}} for seed in range(8)
    ]
    for seed in ("seed", None):
        long, other = (
            judged(frame(table), seed=seed),
            judged(frame(wide), arm=None, seed=seed, arms=["relu", "prelu", "elu"]),
        )
        for one, another in zip(long.contrasts(), other.contrasts(), strict=True):
            same(one, another)


def test_arms_of_a_long_table_can_be_chosen(rows, judged):
    (contrast,) = judged(pd.DataFrame(rows()), arms=["elu", "relu"]).contrasts()
    assert (contrast.arm, contrast.tests) == ("elu", 1)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_files_hold_the_same_table_to_the_last_digit(rows, judged, save, same, suffix):
    one, other = judged(pl.DataFrame(rows())), judged(save(rows(), suffix))
    for a, b in zip(one.contrasts(), other.contrasts(), strict=True):
        same(a, b)
    assert other.record.spec["name"] == f"psnr in results{suffix}"


def test_a_csv_of_a_spreadsheet(tmp_path, judged):
    path = tmp_path / "sheet.csv"
    lines = [
        f"{arm};{seed};{31 + shift + seed % 3 / 50}" for arm, shift in (("relu", 0), ("elu", 1)) for seed in range(6)
    ]
    path.write_text("\ufeffactivation;seed;psnr\r\n" + "\r\n".join(lines) + "\r\n;;\r\n\r\n", encoding="utf-8")
    (contrast,) = judged(path).contrasts()
    assert (contrast.verdict, len(contrast.seeds)) == ("helps", 6)


def test_several_metrics(rows, judged):
    table = [row | {"loss": 1 / row["psnr"], "loss_2": 5.0} for row in rows()]
    results = judged(pd.DataFrame(table), metric=["psnr", "loss"], better={"psnr": "higher", "loss": "lower"})
    primary, secondary = results.contrasts()[0], results.contrasts()[2]
    assert (secondary.arm, secondary.metric, secondary.verdict, secondary.margin) == ("prelu", "loss", "helps", None)
    assert primary.verdict == "helps"
    text = judged(pd.DataFrame(table), metric=["psnr", "loss"], better="psnr=higher,loss=lower")
    assert text.contrasts() == results.contrasts()


def test_scale_and_points(rows, judged):
    table = [row | {"psnr": row["psnr"] / 100} for row in rows()]
    results = judged(pl.DataFrame(table), scale=100, unit="points", margin=0.5)
    assert "accuracy" not in str(results)
    assert results.contrasts()[0].difference == pytest.approx(judged(pl.DataFrame(rows())).contrasts()[0].difference)
    assert results.record.primary.value_unit == "%"
    with pytest.raises(TableError, match="unit: 'psnr' is to be in percent or points, but all its values lie between"):
        judged(pl.DataFrame(table), unit="points", margin=0.5)
    assert judged(pl.DataFrame(table), unit="points", margin=0.5, scale=1).record.primary.scale == 1


NOT_FINITE = {"NaN": math.nan, "null": None, "infinity": math.inf}


@pytest.mark.parametrize("cell", NOT_FINITE.values(), ids=NOT_FINITE)
def test_what_is_not_finite_is_never_silent(rows, judged, frame, cell):
    table = rows()
    table[9]["psnr"] = cell  # prelu, seed 1
    with pytest.raises(
        TableError, match=r"'psnr' is empty, NaN or infinite in prelu seed 1 \(row 10\).*--floor X.*--missing"
    ):
        judged(frame(table))
    floored, left = judged(frame(table), floor=8.0), judged(frame(table), missing=True)
    contrast = floored.contrasts()[0]
    assert (contrast.diverged, contrast.arm_values[1], len(contrast.seeds)) == (1, 8.0, 8)
    assert (left.contrasts()[0].seeds, left.contrasts()[0].diverged) == ((0, 2, 3, 4, 5, 6, 7), 0)
    (failed,) = left.to_json()["failed"]
    assert (failed["arm"], failed["seed"]) == ("prelu", 1)
    assert "row 10" in failed["error"]
    assert "Without a value, left out: prelu seed 1." in str(left)


def test_a_secondary_metric_that_is_not_finite_is_named(rows, judged):
    table = [row | {"loss": 1 / row["psnr"]} for row in rows()]
    table[0]["loss"] = None
    settings = {"metric": ["psnr", "loss"], "better": "psnr=higher,loss=lower"}
    with pytest.raises(TableError, match="'loss' is empty, NaN or infinite in relu seed 0"):
        judged(pd.DataFrame(table), **settings)
    results = judged(pd.DataFrame(table), missing=True, **settings)
    assert [len(contrast.seeds) for contrast in results.contrasts()] == [8, 8, 7, 7]
    assert "loss of relu, seed 0, is nan" in str(results).replace("\n", " ")


def test_rows_that_miss_a_seed_are_named(rows, judged, frame):
    table = [row for row in rows() if (row["activation"], row["seed"]) not in {("elu", 3), ("elu", 7), ("prelu", 0)}]
    results = judged(frame(table))
    assert [contrast.seeds for contrast in results.contrasts()] == [(1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 4, 5, 6)]
    assert "Missing: prelu seed 0; elu seeds 3 and 7." in " ".join(str(results).split())
    missing = [(trial["arm"], trial["seed"]) for trial in results.to_json()["missing"]]
    assert missing == [("prelu", 0), ("elu", 3), ("elu", 7)]


def test_seeds_that_are_text_are_named(rows, judged, frame):
    table = [row | {"seed": f"fold-{'abcdefgh'[row['seed']]}"} for row in rows()][:-1]
    results = judged(frame(table))
    assert results.contrasts()[0].seeds == tuple(range(8))
    assert "Missing: elu seed fold-h." in " ".join(str(results).split())
    with pytest.raises(TableError, match=r"several of relu, seed fold-b \(row 2, row 24\)"):
        judged(frame([*table, table[1]]))


COLUMNS = {
    "categorical": lambda t: t.assign(activation=t.activation.astype("category")),
    "integer arms": lambda t: t.assign(activation=t.activation.map({"relu": 0, "prelu": 1, "elu": 2})),
    "boolean arms": lambda t: t[t.activation != "elu"].assign(activation=lambda t: t.activation == "relu"),
    "decimal": lambda t: t.assign(psnr=[decimal.Decimal(repr(value)) for value in t.psnr]),
    "text numbers": lambda t: t.assign(psnr=[repr(value) for value in t.psnr]),
    "float seeds": lambda t: t.assign(seed=t.seed.astype(float)),
    "text seeds": lambda t: t.assign(seed=t.seed.astype(str)),
    "duplicate index": lambda t: t.set_index(t.seed * 0),
    "32 bits": lambda t: t.assign(psnr=t.psnr.astype("float32")),
}


@pytest.mark.parametrize("change", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("form", ["pandas", "polars", "pyarrow"])
def test_columns_of_all_types(rows, judged, change, form):
    table = change(pd.DataFrame(rows()))
    control = {"relu": "relu", 0: "0", True: "True"}[table.activation.iloc[0]]
    convert = {"pandas": lambda t: t, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}[form]
    first = judged(convert(table), control=control).contrasts()[0]
    expected = judged(pd.DataFrame(rows())).contrasts()[0]
    assert first.difference == pytest.approx(expected.difference, abs=1e-5)
    assert first.seeds == expected.seeds


def test_a_dictionary_of_arrow(rows, judged):
    table = pa.Table.from_pylist(rows())
    coded = table.set_column(0, "activation", table["activation"].dictionary_encode())
    assert judged(coded).contrasts() == judged(table).contrasts()


def changed(rows, **cells):
    return [rows[0] | cells, *rows[1:]]


WRONG = {
    "no column": ({"metric": "pnsr"}, "table: no column 'pnsr'; did you mean 'psnr'?"),
    "no arm column": ({"arm": "activatoin"}, "no column 'activatoin'; did you mean 'activation'?"),
    "no seed column": ({"seed": "sed"}, "no column 'sed'; did you mean 'seed'?"),
    "no control": ({"control": "rulu"}, "the control 'rulu' is none of the arms; did you mean 'relu'?"),
    "no such arm": ({"arms": ["relu", "selu"]}, "no arm 'selu' in column 'activation'; did you mean 'elu'?"),
    "one arm": ({"arms": ["relu"]}, "there is only one arm, 'relu': a comparison needs two"),
    "control is none of the chosen": (
        {"arms": ["prelu", "elu"]},
        "the control 'relu' is not among the arms to compare: add it, --arms relu,prelu,elu",
    ),
    "no margin": ({"margin": None}, "no margin is given: choose the smallest difference in 'psnr' that would matter"),
    "negative margin": ({"margin": -1}, "the margin must be positive, not -1"),
    "margin in words": ({"margin": "small"}, "the margin must be positive, not 'small'"),
    "images of percentages": (
        {"images": 100},
        "'psnr' must be the share of test images that are right, from 0 to 1, but",
    ),
    "images of errors": ({"images": 100, "better": "lower"}, "images: 'psnr' is better lower"),
    "no direction": ({"better": "up"}, "better: 'up' of 'psnr'; known: higher, lower"),
    "direction of another": ({"better": "ssim=higher"}, "better of 'ssim', which is none of the metrics"),
    "direction of one": (
        {"metric": ["psnr", "seed"]},
        "better: is 'seed' better higher or lower? Say it of each, higher or lower: psnr=...,seed=...",
    ),
    "metric twice": ({"metric": ["psnr", "psnr"]}, "metric: name at least one column, and each once"),
    "text": ({"metric": "activation"}, "column 'activation' must hold numbers, but has 'relu' in row 1"),
    "floor and missing": ({"floor": 1.0, "missing": True}, "either what runs without a value count with, or"),
    "scale": ({"scale": "a lot"}, "scale: expected a positive number, got 'a lot'"),
    "take": ({"take": "first"}, "take: 'first'; "),
    "no arms at all": ({"arm": None}, "which column holds the arms (--arm), or which columns are the arms (--arms)?"),
    "wide metrics": (
        {"arm": None, "arms": ["seed", "psnr"], "metric": ["a", "b"], "better": "a=higher,b=higher"},
        "a table with a column for each arm holds one metric",
    ),
    "wide twice": ({"arm": None, "arms": ["psnr", "psnr"]}, "arms: 'psnr' is given twice"),
}


@pytest.mark.parametrize(("settings", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_judged_is_one_clear_line(rows, judged, settings, message):
    with pytest.raises(TableError) as error:
        judged(pd.DataFrame(rows()), **settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


BAD_ROWS = {
    "an arm with one seed": (lambda r: [*r, r[0] | {"activation": "gelu"}], "arm 'gelu' has one run only"),
    "a run twice": (lambda r: [*r, r[0]], "several of relu, seed 0 (row 1, row 25): keep one of them"),
    "no name": (lambda r: changed(r, activation=None), "column 'activation' is empty in row 1"),
    "no seed": (lambda r: changed(r, seed=None), "column 'seed' is empty in row 1"),
    "comma": (
        lambda r: [row | {"psnr": str(row["psnr"]).replace(".", ",")} for row in r],
        "must hold numbers, but has '3",
    ),
    "boolean": (lambda r: [row | {"psnr": row["psnr"] > 31} for row in r], "must hold numbers, but has "),
    "date": (lambda r: [row | {"psnr": datetime.date(2026, 1, 1)} for row in r], "must hold numbers, but has "),
    "no seed in common": (
        lambda r: [row | {"seed": row["seed"] + 10 * (row["activation"] == "relu")} for row in r],
        "no arm has a seed in common with the control 'relu'",
    ),
    "not the arms": (
        lambda r: [row | {"activation": f"{row['activation']}{k}"} for k, row in enumerate(r * 10)],
        "column 'activation' has 240 different values; a comparison has at most 100 arms",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
@pytest.mark.parametrize("form", FRAMES)
def test_rows_that_cannot_be_judged(rows, judged, change, message, form):
    with pytest.raises(TableError) as error:
        judged(FRAMES[form](change(rows())))
    assert message in str(error.value)


def test_what_is_no_frame(rows, judged):
    with pytest.raises(TableError, match=r"a lazy frame holds no rows yet; pass what its .collect\(\) returns"):
        judged(pl.DataFrame(rows()).lazy())
    for other in (["relu"], np.zeros(3), pd.Series([1.0]), 3):
        with pytest.raises(TableError, match="expected a path, a frame of pandas, polars or pyarrow, or a mapping"):
            judged(other)
    twice = pd.DataFrame(rows()).rename(columns={"seed": "psnr"})
    with pytest.raises(TableError, match="two columns are named 'psnr'; rename one"):
        judged(twice)


def test_a_mapping_of_columns_is_a_table(rows, judged, same):
    table = rows()
    columns = {name: [row[name] for row in table] for name in table[0]}
    for one, other in zip(judged(columns).contrasts(), judged(pd.DataFrame(table)).contrasts(), strict=True):
        same(one, other)
    with pytest.raises(TableError, match="columns must be of one length, but 'psnr' has 23 values and 'activation' 24"):
        judged(columns | {"psnr": columns["psnr"][1:]})
    with pytest.raises(TableError, match="column 'psnr' must be a list of values, got 'high'"):
        judged(columns | {"psnr": "high"})


FILES = {
    "text.csv": ("activation,seed,psnr\nrelu,0,x\n", "'x' in line 2"),
    "short.csv": ("activation,seed,psnr\nrelu,0\n", "line 2 has 2 cells, and the first line names 3 columns"),
    "empty.csv": ("", "no rows below the names of the columns"),
    "twice.csv": ("activation,psnr,psnr\nrelu,0,1\n", "two columns are named 'psnr'"),
    "quote.csv": ('activation,seed,psnr\nrelu,0,"1\n', "is not CSV"),
    "bad.jsonl": ('{"activation": "relu"}\n{', "line 2 is not JSON"),
    "list.jsonl": ("[1]\n", "line 1 is no JSON object"),
    "none.jsonl": ("\n", "no rows"),
    "bad.parquet": ("no parquet", "not a Parquet file that pyarrow reads"),
    "table.xlsx": ("", "is no table that slopewise reads: CSV (.csv, .tsv), Parquet"),
}


@pytest.mark.parametrize(("name", "text", "message"), [(k, *v) for k, v in FILES.items()], ids=FILES)
def test_files_that_cannot_be_read(tmp_path, judged, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(TableError) as error:
        judged(tmp_path / name)
    assert message in str(error.value)


def test_a_file_that_is_not_there(judged, tmp_path):
    with pytest.raises(TableError, match=r"absent.csv' does not exist"):
        judged(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes("activation,seed,psnr\nré".encode("latin-1"))
    with pytest.raises(TableError, match="not UTF-8 text"):
        judged(tmp_path / "latin.csv")
    with pytest.raises(TableError, match="these options are for folders of runs"):
        judged(tmp_path / "latin.csv", runs="{arm}")


def test_images_make_a_metric_a_share_of_them(rows, judged):
    table = [row | {"psnr": round(row["psnr"]) / 100} for row in rows(spread=0.001)]
    (prelu, _) = judged(pd.DataFrame(table), scale=100, unit="points", images=100, margin=0.5, floor=0.1).contrasts()
    record = judged(pd.DataFrame(table), scale=100, unit="points", images=100, margin=0.5, floor=0.1).record
    assert (record.primary.per_image, record.primary.span, record.data["test_images"]) == (True, 1.0, 100)
    assert "coarse-test-set" in {caution.id for caution in prelu.cautions}
    assert prelu.interval[1] - prelu.interval[0] > 1  # one image is one point


@pytest.mark.parametrize("digits", [2, 3, 4, 16])
def test_shares_are_multiples_of_one_image_as_far_as_their_digits_tell(rows, judged, digits):
    table = [row | {"psnr": round((400 + index) / 808, digits)} for index, row in enumerate(rows())]
    judged(pd.DataFrame(table), images=808)
    judged(pd.DataFrame(table).astype({"psnr": "float32"}), images=808)
    if digits > 3:
        with pytest.raises(TableError, match=r"are no multiples of 1/360: 0\.495\d* in row 1 would be 178\.2. of 360"):
            judged(pd.DataFrame(table), images=360)


def test_equal_columns_are_not_called_one_function(rows, judged):
    table = [row | {"psnr": 31.0} for row in rows()]
    (prelu, _) = judged(pd.DataFrame(table)).contrasts()
    assert {caution.id for caution in prelu.cautions} == {"no-spread"}


def test_the_table_is_judged_as_a_study_of_the_same_records(rows, judged):
    record = judged(pd.DataFrame(rows())).record
    assert analyse(replace(record, paired=False)).primary == judged(pd.DataFrame(rows()), seed=None).analysis.primary


@pytest.mark.slow
def test_nothing_on_this_path_imports_torch(rows, save, tmp_path):
    save(rows(), ".csv")
    program = (
        "import sys; sys.argv[0] = 'slopewise'\n"
        "from slopewise.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
    )
    options = "--arm activation --seed seed --metric psnr --better higher --control relu --margin 0.1 --out page.html"
    command = [sys.executable, "-c", program, "judge", "results.csv", *options.split()]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "prelu helps" in ended.stdout
    assert (tmp_path / "page.html").stat().st_size > 4e6


def test_it_is_public():
    assert sw.judge is judge
