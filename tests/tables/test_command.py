"""The command as a real process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "judge.md"
pytestmark = pytest.mark.slow

SETTINGS = ["--arm", "activation", "--seed", "seed", "--metric", "psnr", "--better", "higher", "--control", "relu"]


@pytest.fixture
def command(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "slopewise", "judge", *arguments]
        wide = os.environ | {"COLUMNS": "200"}
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=wide)

    return run


def test_table_json_and_page_agree(rows, save, command, tmp_path):
    save(rows(), ".csv")
    text = command(
        "results.csv", *SETTINGS, "--margin", "0.1", "--unit", "dB", "--title", "Our nets", "--out", "p.html"
    )
    assert text.returncode == 0, text.stderr
    assert text.stdout.startswith("Our nets: 3 arms, 8 seeds, control relu, margin 0.1 dB (chosen)")
    assert "report: p.html" in text.stderr
    ended = command("results.csv", *SETTINGS, "--margin", "0.1", "--unit", "dB", "--title", "Our nets", "--json")
    result = json.loads(ended.stdout)
    sentences = [contrast["sentence"] for contrast in result["contrasts"]]
    assert len(sentences) == 2
    page = (tmp_path / "p.html").read_text().replace("\u00a0", " ").replace("−", "-")
    assert all(sentence in page for sentence in sentences)
    assert result["metric"]["unit"] == "dB"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.csv", *SETTINGS, "--margin", "1"), "'absent.csv' does not exist"),
        (("results.csv", *SETTINGS), "no margin is given: choose the smallest difference in 'psnr'"),
        (("results.csv", *SETTINGS, "--margin", "1", "--control", "gelu"), "the control 'gelu' is none of the arms"),
        (("results.csv", *SETTINGS, "--margin", "1", "--take", "first"), "take: 'first'"),
        (("results.xls", *SETTINGS, "--margin", "1"), "is no table that slopewise reads"),
    ],
)
def test_bad_input_is_one_line_and_status_2(rows, save, command, tmp_path, arguments, message):
    save(rows(), ".csv")
    (tmp_path / "results.xls").touch()
    ended = command(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_the_options_that_the_docs_name_are_those_that_there_are(command):
    known = set(re.findall(r"--[a-z][a-z-]*", command("--help").stdout)) - {"--help"}
    named = set(re.findall(r"--[a-z][a-z-]*", DOCS.read_text())) - {
        "--format",
        "--to",
        "--no-build-isolation",
    }  # of others
    assert named - known == set()
    assert known - named == {"--title"}
