"""Targets, tables and answers are read off measurements; here the measurements are made by hand."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from slopewise.bench import (
    TARGETS,
    Measurement,
    answers,
    judge,
    print_findings,
    print_measurements,
    run_jobs,
    short_jobs,
)
from slopewise.bench._machine import caches


def prelu(size="64x64x32x32", ours=(1.0, 1.0, 1.0), **case):
    case = {"size": size, "layout": "channels_last", "dtype": "float32", "slopes": "shared", "pass": "both", **case}
    values = {"F.relu": (1.0, 1.0, 1.0), "F.prelu": (8.0, 8.0, 8.0), "slopewise prelu": ours, "copy": (0.5, 0.5, 0.5)}
    return Measurement("prelu", case, values, "s")


def step(fused, layout="channels_last", network="resnet20", batch="batch 128"):
    values = {"ReLU": (0.2,), "PReLU": (0.3,), "slopewise fused low_memory": (fused,), "convolutions alone": (0.16,)}
    return Measurement("training step", {"network": network, "layout": layout, "batch": batch}, values, "s")


def verdicts(*measurements):
    return {finding.target.words: finding.holds for finding in judge(measurements)}


def shown(print_them, items, width=140):
    stream = io.StringIO()
    print_them(items, Console(file=stream, width=width, color_system=None))
    return stream.getvalue()


def test_a_target_holds_up_to_its_bound():
    assert verdicts(prelu(ours=(1.3, 1.3, 1.3))) == {"prelu / F.relu": True, "prelu / F.prelu": True}
    assert verdicts(prelu(ours=(9.0, 1.31, 1.0))) == {"prelu / F.relu": False, "prelu / F.prelu": True}
    assert verdicts(prelu(ours=(1.4, 1.4, 1.4))) == {"prelu / F.relu": False, "prelu / F.prelu": False}


def test_targets_cover_their_own_cases_alone():
    assert verdicts(prelu("8x8x8x8")) == {"prelu / F.prelu at 8x8x8x8": True}
    assert verdicts(prelu("64x16x8x8")) == {}  # neither the small one nor over a million elements
    assert verdicts(prelu("100x100x10x10")) == {}
    assert verdicts(prelu(**{"pass": "forward"})) == {}
    assert len(verdicts(prelu(dtype="bfloat16"))) == 2
    assert verdicts(step(0.17)) == {
        "ResNet-20 step, PReLU / ReLU": True,
        "ResNet-20 step, PReLU / convolutions alone": True,
    }
    assert not any(verdicts(step(0.19)).values())
    for other in (step(0.1, "contiguous"), step(0.1, network="cnn"), step(0.1, batch="batch 8")):
        assert verdicts(other) == {}


def test_every_target_of_the_table_is_there():
    assert sorted(target.at_most for target in TARGETS) == [
        1 / 6, 0.55, 0.6, 0.75, 0.75, 0.75, 0.9, 1.0, 1.0, 1.01, 1.05, 1.1, 1.15, 1.3, 2.0, 2.0, 2.6,
    ]  # fmt: skip


def test_the_table_of_targets_names_the_worst_case():
    text = shown(print_findings, judge([prelu(), prelu(ours=(1.3, 1.4, 1.5), dtype="bfloat16")]))
    (line,) = (line for line in text.splitlines() if line.startswith("prelu / F.relu"))
    assert line.split()[3:] == [
        "1.30", "1.00", "to", "1.40", "1", "of", "2", "64x64x32x32", "channels_last", "bfloat16", "shared", "both",
        "[1.35,", "1.45]",
    ]  # fmt: skip
    assert "worst case, [middle half of the rounds]" in text
    assert shown(print_findings, []) == ""


def test_few_cases_stand_beside_each_other_with_their_spread():
    text = shown(print_measurements, [step(0.18), step(0.19, "contiguous")])
    assert "resnet20 channels_last batch 128  resnet20 contiguous batch 128" in text
    rows = {line[:27].strip(): line[27:].split() for line in text.splitlines()}
    assert rows["ReLU"] == ["200", "ms", "200", "ms"]
    assert rows["slopewise fused low_memory"] == ["0.90", "0.95"]
    text = shown(print_measurements, [prelu(ours=(1.2, 1.3, 1.4))])
    assert "1.30 [1.25, 1.35]" in text


def test_many_cases_stand_under_each_other():
    cases = [prelu(size, ours=(1.25,) * 3, **{"pass": name}) for size in ("1x2x3x4", "5x6x7x8", "9x9x9x9")
             for name in ("forward", "both")]  # fmt: skip
    lines = shown(print_measurements, cases).splitlines()
    assert lines[0].split() == ["prelu", "F.relu", "F.prelu", "slopewise", "prelu", "copy"]
    (row,) = (line for line in lines if line.startswith("5x6x7x8 channels_last float32 shared forward"))
    assert row.split()[-5:] == ["1", "s", "8.00", "1.25", "0.50"]


def test_answers_are_one_sentence_a_question():
    saved = {"ReLU": (200.0,), "PReLU": (300.0,), "slopewise fused": (210.0,), "slopewise fused low_memory": (110.0,)}
    memory = Measurement("bytes saved for backward", {"network": "resnet20", "layout": "channels_last"}, saved, "B")
    assert answers([prelu(ours=(1.2, 1.3, 1.4)), step(0.18), memory, step(0.19, "contiguous")]) == [
        "PReLU costs 0.90 of ReLU here (training step, fused, resnet20, channels_last, batch 128; contiguous: 0.95); "
        "stock PReLU 1.50, convolutions alone 0.80.",
        "PReLU alone costs 1.30 of ReLU (forward and backward, 64x64x32x32, channels_last, float32, shared); "
        "stock PReLU 8.00, copying the bytes 0.50.",
        "PReLU, fused, keeps 0.55 of the bytes that ReLU keeps for backward (training step, resnet20, channels_last); "
        "stock PReLU 1.50, with low_memory=False 1.05.",
    ]
    assert answers([]) == []


def test_json_has_medians_and_quartiles_of_ratios():
    fields = json.loads(json.dumps(prelu(ours=(1.2, 1.3, 1.4)).to_json()))
    assert fields["median"]["slopewise prelu"] == 1.3
    assert fields["ratio_to_base"]["slopewise prelu"] == [1.3, 1.25, 1.35]
    assert (fields["base"], fields["rounds"], fields["unit"]) == ("F.relu", 3, "s")
    assert judge([prelu()])[0].to_json()["holds"] is True


def test_jobs_are_announced_and_done_in_order():
    announced, done = [], []
    jobs = [(word, lambda word=word: done.append(word) or [prelu(word)]) for word in ("1x1x1x1", "2x2x2x2")]
    assert [m.case["size"] for m in run_jobs(jobs, announced.append)] == done == ["1x1x1x1", "2x2x2x2"]
    assert announced == ["1/2 1x1x1x1", "2/2 2x2x2x2"]


def test_the_short_form_asks_all_three_benchmarks():
    words = " / ".join(words for words, _ in short_jobs())
    for part in ("training step resnet20 channels_last", "prelu 128x16x32x32", "batch_norm_prelu", "bytes saved"):
        assert part in words


def test_caches_are_read_as_linux_lists_them(tmp_path: Path):
    for number, facts in enumerate([("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K")]):
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, value in zip(("level", "type", "size"), facts, strict=True):
            (folder / name).write_text(value + "\n")
    assert caches(tmp_path) == {"L1 data": "48K", "L1 instruction": "32K", "L2": "2048K"}


@pytest.mark.parametrize("quick", [False, True])
def test_the_short_form_leads_with_channels_last(quick):
    first = {}
    for words, _ in short_jobs(quick=quick):
        first.setdefault(words.split()[0], words)
    assert all("channels_last" in words for words in first.values())
