"""Studies of an ordinary network in worker processes, and by the command."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import slopewise as sw
from slopewise.study import run_trial
from slopewise.study.data import load_data
from slopewise.testing import untimed


@pytest.mark.slow
def test_the_same_seed_gives_the_same_records_in_any_process(own: str, tmp_path: Path) -> None:
    study = sw.Study(
        arms="relu,again=relu,as_is,prelu_channel",
        seeds=2,
        model={"name": f"{own}:net"},
        data={"train_size": 100},
        train={"epochs": 2},
    )
    results = study.run(tmp_path / "out", workers=2)
    assert results.analysis.pairing.checked == 2
    assert results.analysis.pairing.broken == ()
    for contrast in results.contrasts():  # A/A, and the network as it is, whose activations are ReLU
        if contrast.arm in ("again", "as_is") and contrast.metric != "seconds_per_step":
            assert set(contrast.differences) <= {0.0}
    data = load_data(study.spec.data)
    for trial in results.record.trials:
        assert untimed(run_trial(study.spec, trial.arm, trial.seed, data)) == untimed(trial)
    assert results.record.data["activations_replaced"] == "3 relu"
    prelu = next(trial for trial in results.record.trials if trial.arm == "prelu_channel")
    assert {site.layer for site in prelu.sites} == {"relu_1", "block.relu", "block.relu_2"}
    assert {gradient.layer for gradient in prelu.gradients} == {
        "stem", "fc", *(f"block.{layer}" for layer in ("conv1", "conv2", "norm1", "norm2")),
    }  # fmt: skip
    if sw.ops.backend().name == "kernels":
        assert [trial.operator_costs[0].reason for trial in results.record.trials if trial.operator_costs] == [None]


@pytest.mark.slow
def test_the_command_takes_a_network_and_a_checkpoint(
    own: str, cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    command = ("run", "--model", f"{own}:net", "--seeds", "2", "--epochs", "1", "--train-size", "100", "--workers", "1")
    ended = cli(*command, "--arms", "relu,prelu_channel")
    assert ended.returncode == 0, ended.stderr
    assert "prelu_channel" in ended.stdout
    page = (tmp_path / "study-digits-own_net-net" / "report.html").read_text(encoding="utf-8")
    assert "Model: own_net:net." in page
    assert "block.relu_2" in page

    from own_net import net

    torch.save(net(10, 1).state_dict(), tmp_path / "best.pt")
    other = cli(*command, "--arms", "relu,prelu_channel", "--checkpoint", "best.pt")
    assert other.returncode == 2
    assert "error: the checkpoint changed since 'study-digits-own_net-net' was begun (digest none, now " in other.stderr
