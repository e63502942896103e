"""Two real processes on gloo, each with half of the batch, against one with the whole."""

import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this PyTorch has no gloo"),
]
WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory, start_script):
    """Results that the worker saved alone and as each of two ranks, and their folder."""
    folder = tmp_path_factory.mktemp("distributed")
    places = [(rank, size) for size in (1, 2) for rank in range(size)]
    workers = [
        start_script(WORKER, rank, size, folder, options=["error"], stderr=subprocess.PIPE, text=True)
        for rank, size in places
    ]
    for worker in workers:
        _, complaints = worker.communicate(timeout=120)
        assert worker.returncode == 0, complaints
    ranks = [torch.load(folder / f"{size}-{rank}.pt", weights_only=False) for rank, size in places]
    return (*ranks, folder)


def test_counts_are_those_of_the_whole_batch_in_every_process(results):
    alone, first, second, _ = results
    for whole, *halves in zip(alone["records"][:2], first["records"], second["records"], strict=False):
        assert whole.step in (1, 3)
        for part in halves:
            for ours, theirs in zip(part.sites[:2], whole.sites[:2], strict=True):
                # Two processes average gradients that one adds up: a ratio of norms only rounds differently.
                assert ours.pass_through == pytest.approx(theirs.pass_through, rel=1e-5)
                assert replace(ours, pass_through=None) == replace(theirs, pass_through=None)
            for ours, theirs in zip((*part.layers, *part.slopes), (*whole.layers, *whole.slopes), strict=True):
                assert ours.gradient == pytest.approx(theirs.gradient, rel=1e-5)
                assert ours.update == pytest.approx(theirs.update, rel=1e-4)
    assert alone["records"][0].sites[0].dead == (2,)  # behind its PReLU is a ReLU


def test_a_site_that_only_some_processes_run_is_counted_there(results):
    alone, first, second, _ = results
    names = ["act", "relu()", "silu()"]
    for result in (alone, first, second):
        assert [[site.site for site in sample.sites] for sample in result["records"][:2]] == [names] * 2
    values = [[sample.sites[2].values for sample in result["records"][:2]] for result in (alone, first, second)]
    assert values == [[32, 32], [16, 16], [16, 16]]


def test_rank_0_alone_writes_and_closes_without_waiting_for_others(results):
    alone, first, second, folder = results
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["1-0.jsonl", "2-0.jsonl"]
    assert [[s.step for s in result["records"]] for result in (alone, first, second)] == [[1, 3, 5], [1, 3, 5], [1, 3]]
    assert all(result["notes"] == () for result in (alone, first, second))


def test_weights_are_those_of_a_run_that_is_not_watched(results):
    _, first, second, _ = results
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name])


def check_figures(actual, expected):
    """Slopes, layers and what follows from them, up to the order of sums."""
    assert (actual.step, actual.passes) == (expected.step, expected.passes)
    assert [layer.layer for layer in actual.layers] == ["first", "norm", "head", "last"]
    assert [layer.layer for layer in actual.slopes] == ["shared", "norm", "few"]
    for ours, theirs in zip(actual.layers, expected.layers, strict=True):
        assert (ours.gradient, ours.weight, ours.update) == pytest.approx(
            (theirs.gradient, theirs.weight, theirs.update), rel=1e-4
        )
    for ours, theirs in zip(actual.slopes, expected.slopes, strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-4, abs=1e-7)
        assert numbers(ours.summary) == pytest.approx(numbers(theirs.summary), rel=1e-5)


def numbers(record):
    return {name: value for name, value in asdict(record).items() if isinstance(value, (int, float))}


@pytest.mark.parametrize("which", ["sharded", "sharded, no group"])
def test_figures_of_a_sharded_model_are_those_of_the_whole_in_every_process(results, which):
    alone, first, second, _ = results
    expected = alone["sharded"]["records"]
    assert [sample.step for sample in expected] == [1, 3]
    for rank, result in enumerate((first, second)):
        records = result[which]["records"]
        assert result[which]["notes"] == ()
        for ours, theirs in zip(records[:2], expected, strict=True):
            check_figures(ours, theirs)
            counts = [(site.site, site.values * (1 if which == "sharded" else 2)) for site in ours.sites]
            assert counts == [(site.site, site.values) for site in theirs.sites]
            if which == "sharded":
                assert [site.positive for site in ours.sites] == [site.positive for site in theirs.sites]
        if rank == 0:  # closed in the middle of a step: what others would have to tell is left out
            assert [(sample.step, sample.slopes, sample.layers) for sample in records[2:]] == [(5, (), ())]
        else:
            assert not records[2:]


def test_a_sharded_model_is_trained_as_if_nobody_watched(results):
    alone, first, second, _ = results
    for name, weight in alone["sharded"]["weights"].items():
        torch.testing.assert_close(first["sharded"]["weights"][name], weight)
        assert torch.equal(first["sharded"]["weights"][name], first["sharded, no group"]["weights"][name])
        assert torch.equal(second["sharded"]["weights"][name], first["sharded"]["weights"][name])
