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
    wrong = table(**ARMS, mean=[90.6, 91.2], std=[0.3, 0.4], n=[3, 3.5])
    with pytest.raises(TableError, match=r"'n' must be a whole number of runs, but is 3.5 in line 3"):
        means_in(wrong)


def test_two_metrics_are_told_apart():
    columns = {"a_mean": [1, 2], "a_std": [1, 1], "a_n": [3, 3], "b_mean": [3, 4], "b_std": [1, 1], "b_n": [5, 5]}
    assert means_in(table(**ARMS, **columns), metric="b")["prelu"] == Published(4, 1, 5)
    assert means_in(table(**ARMS, **columns), metric="c") is None


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
    assert "--out is for tables with a row for each run" in cli(*asked, "--margin", "1", "--out", "a.html").stderr
    (tmp_path / "mine.csv").write_text("act,seed,psnr\nrelu,0,31\n")
    unasked = cli("judge", "mine.csv", "--better", "higher")
    assert unasked.returncode == 2
    assert unasked.stderr == (
        "error: mine.csv: which column is the metric (--metric); which arm is the control (--control)? Its columns: "
        "act, seed, psnr\n"
    )
