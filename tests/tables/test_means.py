"""Tables with a mean for each arm, and what is asked of a table that says too little."""

import pytest

from slopewise.analysis import Published
from slopewise.errors import TableError
from slopewise.tables import Table, judge, means_in


def table(**columns):
    return Table("paper.csv", tuple(columns), columns.__getitem__, ("line 2", "line 3"))


ARMS = {"activation": ["relu", "prelu"]}
KNOWN = {"relu": Published(90.6, 0.3, 3), "prelu": Published(91.2, 0.4, 3)}


@pytest.mark.parametrize(
    "names",
    [("mean", "std", "n"), ("acc_mean", "acc_std", "runs"), ("Mean", "SD", "seeds"), ("avg acc", "std acc", "n")],
)
def test_usual_names_are_known(names):
    printed = table(**ARMS, **dict(zip(names, (["90.6", "91.2"], [0.3, 0.4], [3, 3.0]), strict=True)))
    assert means_in(printed) == means_in(printed, "activation") == KNOWN


def test_an_arm_is_bare_without_spread_or_number_and_other_tables_have_none():
    bare = {"relu": Published(90.6), "prelu": Published(91.2)}
    assert means_in(table(**ARMS, mean=[90.6, 91.2])) == means_in(table(**ARMS, mean=[90.6, 91.2], n=[3, 3])) == bare
    assert means_in(table(**ARMS, psnr=[31, 32])) is None
    assert means_in(table(activation=["relu", "relu"], mean=[31, 32])) is None


def test_two_metrics_are_told_apart():
    columns = {"a_mean": [1, 2], "a_std": [1, 1], "a_n": [3, 3], "b_mean": [3, 4], "b_std": [1, 1], "b_n": [5, 5]}
    assert means_in(table(**ARMS, **columns), metric="b")["prelu"] == Published(4, 1, 5)
    assert means_in(table(**ARMS, **columns), metric="c") is None


@pytest.mark.parametrize(
    ("columns", "metric", "prelu"),
    [
        ({"acc_mean": [1, 2], "acc_std": [3, 4], "param_count": [270, 280]}, None, Published(2)),
        ({"acc_mean": [1, 2], "epochs_n": [90, 90], "sd": [3, 4], "seeds": [5, 6]}, None, Published(2, 4, 6)),
        ({"n": [7, 7], "acc_n": [5, 6], "std": [3, 3], "acc_sd": [3, 4], "acc_avg": [1, 2]}, None, Published(2, 4, 6)),
        ({"Acc mean": [1, 2], "acc std": [3, 4], "acc n_runs": [5, 6]}, None, Published(2, 4, 6)),
        ({"acc_mean": [1, 2], "acc_std_dev": [3, 4], "n": [5, 6]}, "acc", Published(2, 4, 6)),
        ({"psnr_mean": [1, 2], "psnr_std": [3, 4], "n": [5, 6]}, "psnr_mean", Published(2, 4, 6)),
        ({"b_avg": [7, 8], "b_sd": [9, 9], "a_avg": [1, 2], "a_sd": [3, 4], "n": [5, 6]}, "a_avg", Published(2, 4, 6)),
        ({"mean": [1, 2], "std": [3, 4], "loss_std": [9, 9], "n": [5, 6]}, "psnr", Published(2, 4, 6)),
        ({"mean": [1, 2], "loss_mean": [7, 8], "std": [3, 4], "n": [5, 6]}, "psnr", Published(2, 4, 6)),
    ],
)  # fmt: skip
def test_deviation_and_number_are_those_of_the_metric_whose_mean_is_read(columns, metric, prelu):
    assert means_in(table(**ARMS, **columns), metric=metric)["prelu"] == prelu


def test_means_of_several_metrics_ask_for_one():
    columns = {"acc_mean": [1, 2], "loss_mean": [3, 4], "loss_std": [5, 6], "n": [3, 3]}
    with pytest.raises(TableError, match=r"is the metric \(--metric\)\? There are acc_mean, loss_mean$"):
        means_in(table(**ARMS, **columns))
    assert means_in(table(**ARMS, **columns), metric="acc")["prelu"] == Published(2)
    assert means_in(table(activation=["relu", "relu"], **columns)) is None  # rows of runs
    assert means_in(table(**ARMS, psnr=[1, 2], mean=[3, 4]), metric="psnr") is None  # the column, and no other


@pytest.mark.parametrize("runs", ["inf", float("-inf"), 2.5])
def test_a_number_of_runs_is_whole(runs):
    with pytest.raises(TableError, match=r"'n' must be a whole number of runs, but is \S+ in line 3"):
        means_in(table(**ARMS, mean=[1, 2], std=[3, 4], n=[5, runs]))


def test_one_row_of_an_arm_hints_at_means():
    rows = ARMS | {"psnr": [31.0, 32.0]}
    with pytest.raises(TableError, match="see `slopewise means`"):
        judge(rows, arm="activation", metric="psnr", better="higher", control="relu", margin=1)


def test_the_command_judges_means_and_asks_with_the_columns(cli, tmp_path):
    (tmp_path / "paper.csv").write_text("activation,mean,std,n\nrelu,90.6,0.3,3\nprelu,91.2,0.4,3\n")
    asked = ("judge", "paper.csv", "--control", "relu", "--better", "higher")
    judged = cli(*asked, "--margin", "0.5")
    assert (
        judged.stdout
        == cli("means", "relu=90.6,0.3,3", "prelu=91.2,0.4,3", "--control", "relu", "--margin", "0.5").stdout
    )
    assert (judged.returncode, judged.stdout.startswith("prelu is inconclusive: +0.6")) == (0, True)
    assert "no margin is given" in cli(*asked).stderr
    for option in (
        ["--out", "a.html"],
        ["--paragraph"],
        ["--take", "best"],
        ["--floor", "0"],
        ["--metric", "acc,loss"],
    ):
        refused = cli(*asked, "--margin", "1", *option)
        named = " ".join(option[: 1 + (option[0] == "--metric")])
        assert f"a mean for each arm: {named} is for tables with a row for each run" in refused.stderr
        assert (refused.returncode, refused.stdout) == (2, "")
    for option, words in (
        (["--runs", "{arm}"], "for folders of runs"),
        (["--paragraph", "--json"], "give one of them"),
    ):
        refused = cli(*asked, "--margin", "1", *option)
        assert (refused.returncode, refused.stdout, words in refused.stderr) == (2, "", True)
    assert cli("judge", "absent.csv").stderr == "error: 'absent.csv' does not exist\n"
    (tmp_path / "mine.csv").write_text("act,seed,psnr\nrelu,0,31\n")
    full = ("judge", "mine.csv", "--arm", "act", "--metric", "psnr", "--better", "higher", "--control", "relu")
    assert "--paragraph and --json: give one of them" in cli(*full, "--margin", "1", "--paragraph", "--json").stderr
    assert "a table has one value a run" in cli(*full, "--margin", "1", "--take", "best").stderr
    unasked = cli("judge", "mine.csv", "--better", "higher")
    assert unasked.returncode == 2
    assert unasked.stderr == (
        "error: mine.csv: which column is the metric (--metric); which arm is the control (--control)? Its columns: "
        "act, seed, psnr\n"
    )
