"""The callback for transformers' Trainer, in real runs of it."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from slopewise.monitor import Monitor, read_recording
from slopewise.monitor.sinks import JsonLines

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from slopewise.monitor.huggingface import WatchCallback  # noqa: E402

START = f"""
import os, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]}
import conftest  # operators of torchvision's by name
import test_huggingface as t
callback = t.WatchCallback(every=1, sinks=[t.JsonLines("run.jsonl")])
"""


class Net(nn.Module):
    """As the Trainer wants it: labels in, loss out. With dropout, which a stray draw of random numbers would change."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.calls, self.fails_at = 0, fails_at
        self.hidden, self.act, self.drop = nn.Linear(8, 16), nn.PReLU(16), nn.Dropout(0.3)
        self.head = nn.Linear(16, 1)

    def forward(self, x, labels):
        if self.calls == self.fails_at:
            raise RuntimeError("out of luck")
        self.calls += 1
        output = self.head(torch.relu(self.drop(self.act(self.hidden(x)))))
        return {"loss": (output - labels).square().mean(), "logits": output}


def images():
    generator = torch.Generator().manual_seed(1)
    return [{"x": x, "labels": x.sum(0, keepdim=True)} for x in torch.randn(64, 8, generator=generator)]


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train for one epoch of eight steps."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")

    def run(model, callback=None, *, checkpoint=None, **settings):
        settings = {"num_train_epochs": 1, "save_strategy": "no", "report_to": "none", **settings}
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=8,
            learning_rate=0.05,
            logging_steps=2,
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=3,
            **settings,
        )
        trainer = transformers.Trainer(
            model, arguments, train_dataset=images(), eval_dataset=images(), callbacks=[callback] if callback else None
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer

    return run


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_training_is_the_same_to_the_bit(train):
    plain, watched = Net(), Net()
    train(plain)
    train(watched, callback := WatchCallback(every=3))
    assert torch.equal(weights(plain), weights(watched))
    assert [sample.step for sample in callback.monitor.samples] == [1, 4, 7]
    assert [sample.passes for sample in callback.monitor.samples] == [1, 1, 1]
    assert callback.monitor.recording.end.step == 8


def test_measurements_are_those_of_a_plain_loop(train):
    batches = []
    net = Net()
    net.drop.p = 0.0
    net.register_forward_pre_hook(lambda _, args, batch: batches.append(batch), with_kwargs=True)
    train(net, callback := WatchCallback(every=1), optim="sgd", max_grad_norm=0.0, lr_scheduler_type="constant")

    net = Net()
    net.drop.p = 0.0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    with Monitor(net, every=1) as monitor:
        for batch in batches:
            optimizer.zero_grad()
            net(**batch)["loss"].backward()
            optimizer.step()
    assert len(batches) == 8
    for sample, expected in zip(callback.monitor.samples, monitor.samples, strict=True):
        assert (sample.sites, sample.slopes, sample.layers) == (expected.sites, expected.slopes, expected.layers)


def test_accumulated_gradients_are_one_step_and_evaluation_does_not_count(train):
    callback = WatchCallback(every=1)
    train(Net(), callback, gradient_accumulation_steps=4, eval_strategy="steps", eval_steps=1)
    assert [(sample.step, sample.passes) for sample in callback.monitor.samples] == [(1, 4), (2, 4)]
    assert callback.monitor.samples[0].sites[0].values == 4 * 8  # of each unit: four batches of eight


def test_a_resumed_run_counts_on(train, tmp_path):
    train(Net(), save_strategy="steps", save_steps=4)
    callback = WatchCallback(every=2, sinks=[JsonLines(tmp_path / "run.jsonl")])
    train(Net(), callback, checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    recording = read_recording(tmp_path / "run.jsonl")
    assert [sample.step for sample in recording.samples] == [5, 7]
    assert recording.end.step == 8


def test_tensorboard(train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(Net(), WatchCallback(every=2), report_to="tensorboard")
    (own,) = tmp_path.rglob("slopewise")
    events = EventAccumulator(str(own)).Reload()
    assert [event.step for event in events.Scalars("slopewise/dead_max")] == [1, 3, 5, 7]
    assert events.Images("slopewise/slopes")
    assert "train/loss" in EventAccumulator(str(own.parent)).Reload().Tags()["scalars"]  # a run of the same folder


def test_mlflow(train, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    train(Net(), WatchCallback(every=2), report_to="mlflow")
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert {"loss", "slopewise/dead_max", "slopewise_layers/slope/act"} <= set(run.data.metrics)
    assert [m.step for m in client.get_metric_history(run.info.run_id, "slopewise/dead_max")] == [1, 3, 5, 7]
    assert "slopewise/recording.jsonl" in {f.path for f in client.list_artifacts(run.info.run_id, "slopewise")}
    mlflow.set_tracking_uri(before)


def test_wandb(train, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "DIR": str(tmp_path), "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    train(Net(), WatchCallback(every=2), report_to="wandb")
    summary = dict(wandb.run.summary)
    wandb.finish()
    wandb.teardown()
    assert summary["slopewise/step"] == 7
    assert summary["train/global_step"] == 8


def test_trackers_are_left_alone_when_asked(train, tmp_path):
    train(Net(), WatchCallback(trackers=False), report_to="tensorboard")
    assert not list(tmp_path.rglob("slopewise"))


def test_a_run_broken_off_is_closed_by_the_next(train, tmp_path):
    callback = WatchCallback(every=1, sinks=[JsonLines(tmp_path / "run.jsonl")])
    with pytest.raises(RuntimeError, match="out of luck"):
        train(Net(fails_at=3), callback)
    first = callback.monitor
    assert read_recording(tmp_path / "run.jsonl").end is None
    assert len(read_recording(tmp_path / "run.jsonl").samples) == 3  # nothing of it is lost
    train(Net(), callback)
    assert first.recording.end.error == "RuntimeError: training was broken off"
    assert len(read_recording(tmp_path / "run.jsonl").samples) == 8


@pytest.mark.slow
def test_a_run_broken_off_is_closed_with_the_process(tmp_path, start_script):
    script = tmp_path / "train.py"
    script.write_text(
        START
        + """
settings = dict(output_dir="out", use_cpu=True, disable_tqdm=True, report_to="none", dataloader_pin_memory=False)
arguments = t.transformers.TrainingArguments(per_device_train_batch_size=8, **settings)
t.transformers.Trainer(t.Net(fails_at=3), arguments, train_dataset=t.images(), callbacks=[callback]).train()
"""
    )
    process = start_script(script, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _, complaints = process.communicate()
    assert process.returncode == 1
    assert "out of luck" in complaints
    end = read_recording(tmp_path / "run.jsonl").end
    assert (end.step, end.error) == (3, "RuntimeError: the process ended before training did")


@pytest.mark.slow
def test_two_ranks_are_counted_together(tmp_path, start_script):
    """With the variables that torchrun sets."""
    script = tmp_path / "train.py"
    script.write_text(
        START
        + """
settings = dict(output_dir="out", use_cpu=True, disable_tqdm=True, report_to="none", dataloader_pin_memory=False)
arguments = t.transformers.TrainingArguments(
    per_device_train_batch_size=8, num_train_epochs=1, save_strategy="no", ddp_backend="gloo", **settings
)
t.transformers.Trainer(t.Net(), arguments, train_dataset=t.images(), callbacks=[callback]).train()
t.torch.distributed.barrier()
os._exit(0)  # gloo's threads now and then abort a process that ends in the ordinary way
"""
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    processes = [
        start_script(script, cwd=tmp_path, env={**os.environ, **group, "RANK": rank, "LOCAL_RANK": rank}, **streams)
        for rank in ("0", "1")
    ]
    for process in processes:
        _, complaints = process.communicate()
        assert process.returncode == 0, complaints
    recording = read_recording(tmp_path / "run.jsonl")  # which rank 0 alone writes
    assert [sample.step for sample in recording.samples] == [1, 2, 3, 4]  # 64 images by two ranks in batches of eight
    assert all(sample.sites[0].values == 16 for sample in recording.samples)


def test_nothing_stays_behind(train, monkeypatch):
    registered = []
    monkeypatch.setattr(atexit, "register", lambda call, *_: registered.append(call))
    monkeypatch.setattr(atexit, "unregister", lambda call: registered.remove(call) if call in registered else None)
    train(Net(), WatchCallback())
    assert not any("Watch" in repr(call) for call in registered)
