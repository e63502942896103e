"""The callback for Lightning, in real runs of its Trainer."""

from __future__ import annotations

import csv
import json
import math
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks
from torch.utils.data import DataLoader, TensorDataset

from slopewise.monitor import Monitor, read_recording
from slopewise.monitor.sinks import JsonLines, Sink

pl = pytest.importorskip("lightning.pytorch")
from lightning.pytorch import loggers as pl_loggers  # noqa: E402

from slopewise.monitor.lightning import WatchCallback, sink_of  # noqa: E402

pytestmark = [
    # Advice of Lightning's, and what it still calls of PyTorch's.
    pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]


class Parts:
    """Two activations, and dropout, which a stray draw of random numbers would change."""

    def __init__(self, *, parts: bool = False, fails_at: int = -1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.parts, self.fails_at = parts, fails_at
        self.hidden = nn.Linear(8, 16)
        self.act = nn.PReLU(16)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(torch.relu(self.drop(self.act(self.hidden(x)))))

    def training_step(self, batch, index):
        if self.global_step == self.fails_at:
            raise RuntimeError("out of luck")
        x, y = batch
        output = self.head(torch.relu(self.drop(self.act(self.hidden(x))))) if self.parts else self(x)
        loss = (output - y).square().mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", (self(batch[0]) - batch[1]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class Net(Parts, pl.LightningModule):
    pass


def batches(size=8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 8, generator=generator)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=size)


def fit(model, callback=None, *, lightning=pl, checkpoint=None, **settings):
    torch.manual_seed(2)
    settings = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, **settings}
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=[] if callback is None else [callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **settings,
    )
    trainer.fit(model, batches(), batches(), ckpt_path=checkpoint)
    return trainer


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("parts", [False, True], ids=["forward", "parts"])
def test_training_is_the_same_to_the_bit(parts):
    plain, watched = Net(parts=parts), Net(parts=parts)
    fit(plain, max_epochs=2)
    fit(watched, callback := WatchCallback(every=3), max_epochs=2)
    assert torch.equal(weights(plain), weights(watched))
    assert [sample.step for sample in callback.monitor.samples] == [1, 4, 7, 10, 13, 16]


def test_measurements_are_those_of_a_plain_loop():
    for parts in (False, True):  # of the module called as a whole, or by its parts
        callback = WatchCallback(every=1)
        fit(Net(parts=parts), callback)

        net = Net()
        optimizer = net.configure_optimizers()
        torch.manual_seed(2)
        with Monitor(net, every=1) as monitor:
            for x, y in batches():
                optimizer.zero_grad()
                (net(x) - y).square().mean().backward()
                optimizer.step()
        samples, expected = callback.monitor.samples, monitor.samples
        assert len(samples) == len(expected) == 8
        for one, other in zip(samples, expected, strict=True):
            assert (one.step, one.passes) == (other.step, other.passes)
            assert one.sites[0] == other.sites[0]
            assert one.slopes == other.slopes
            assert one.layers == other.layers


def test_accumulated_gradients_are_one_step():
    fit(Net(), callback := WatchCallback(every=1), accumulate_grad_batches=4)
    assert callback.monitor.step == 2
    assert [(sample.step, sample.passes) for sample in callback.monitor.samples] == [(1, 4), (2, 4)]
    assert callback.monitor.samples[0].sites[0].values == 4 * 8  # of each unit: four batches of eight


def test_neither_sanity_check_nor_validation_counts():
    seen = []
    for settings in ({"limit_val_batches": 0}, {"num_sanity_val_steps": 2, "val_check_interval": 2}):
        fit(Net(), callback := WatchCallback(every=1), **settings)
        seen.append([(sample.passes, sample.sites[0].values) for sample in callback.monitor.samples])
    assert seen[0] == seen[1] == [(1, 8)] * 8


def test_an_exception_closes_and_is_recorded(tmp_path):
    callback = WatchCallback(every=1, sinks=[JsonLines(tmp_path / "run.jsonl")])
    others = set(_global_optimizer_pre_hooks)  # of schedules whose optimizers still live
    with pytest.raises(RuntimeError, match="out of luck"):
        fit(Net(fails_at=3), callback)
    recording = read_recording(tmp_path / "run.jsonl")
    assert recording.end.error == "RuntimeError: out of luck"
    assert recording.end.step == 3
    assert [sample.step for sample in recording.samples] == [1, 2, 3, 4]  # and what the step that broke off had shown
    assert callback.monitor.recording.end is not None
    assert set(_global_optimizer_pre_hooks) <= others


def test_a_resumed_run_counts_on(tmp_path):
    trainer = fit(Net(), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    callback = WatchCallback(every=4, sinks=[JsonLines(tmp_path / "run.jsonl")])
    fit(Net(), callback, max_epochs=2, checkpoint=tmp_path / "last.ckpt")
    recording = read_recording(tmp_path / "run.jsonl")
    assert [sample.step for sample in recording.samples] == [9, 13]
    assert recording.end.step == 16
    assert [sample.step for sample in callback.monitor.samples] == [1, 5]


def test_the_trainers_loggers_are_sinks(tmp_path):
    loggers = [pl_loggers.TensorBoardLogger(tmp_path / "board"), pl_loggers.CSVLogger(tmp_path / "csv")]
    fit(Net(), WatchCallback(every=2), logger=loggers)

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(loggers[0].log_dir).Reload()
    assert len(events.Scalars("loss")) == 8
    assert [event.step for event in events.Scalars("slopewise/dead_max")] == [1, 3, 5, 7]
    assert len(events.Scalars("slopewise_layers/slope/act")) == 4
    assert events.Images("slopewise/slopes")

    rows = list(csv.DictReader((Path(loggers[1].log_dir) / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    assert [int(row["step"]) for row in rows if row["slopewise/dead_max"]] == [1, 3, 5, 7]
    assert any(row["loss"] for row in rows)


def test_loggers_are_left_alone_when_asked(tmp_path):
    logger = pl_loggers.CSVLogger(tmp_path)
    fit(Net(), WatchCallback(trackers=False), logger=logger)
    assert "slopewise" not in (Path(logger.log_dir) / "metrics.csv").read_text(encoding="utf-8")


def test_mlflow_logger(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logger = pl_loggers.MLFlowLogger(tracking_uri=(tmp_path / "mlruns").as_uri())
    fit(Net(), WatchCallback(every=2), logger=logger)
    run = logger.experiment.get_run(logger.run_id)
    assert run.info.status == "FINISHED"
    assert {"loss", "slopewise/dead_max", "slopewise_layers/slope/act"} <= set(run.data.metrics)
    history = logger.experiment.get_metric_history(logger.run_id, "slopewise/dead_max")
    assert [metric.step for metric in history] == [1, 3, 5, 7]


def test_wandb_logger(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from slopewise.monitor.sinks import WandB

    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = pl_loggers.WandbLogger(save_dir=tmp_path, offline=True)
    assert isinstance(sink_of(logger), WandB)
    fit(Net(), WatchCallback(every=2), logger=logger)
    summary = dict(logger.experiment.summary)
    wandb.finish()
    wandb.teardown()
    assert summary["slopewise/step"] == 7
    assert 0 <= summary["slopewise/positive_min"] <= 1
    assert summary["trainer/global_step"] == 7


def test_two_fits_are_two_runs():
    callback = WatchCallback(every=4)
    fit(Net(), callback)
    first = callback.monitor
    fit(Net(), callback)
    assert callback.monitor is not first
    assert [sample.step for sample in callback.monitor.samples] == [1, 5]


def test_under_its_older_name():
    older = pytest.importorskip("pytorch_lightning")

    class Older(Parts, older.LightningModule):
        pass

    callback = WatchCallback(every=4)
    fit(Older(), callback, lightning=older)
    assert [sample.step for sample in callback.monitor.samples] == [1, 5]
    assert callback.monitor.samples[0].sites[0].values == 8


def test_manual_optimization_with_two_optimizers():
    class Pair(Net):
        automatic_optimization = False

        def training_step(self, batch, index):
            x, y = batch
            for optimizer in self.optimizers():
                optimizer.zero_grad()
                self.manual_backward((self(x) - y).square().mean())
                optimizer.step()

        def configure_optimizers(self):
            return [torch.optim.SGD(part.parameters(), lr=0.05) for part in (self.hidden, self.head)]

    plain, watched = Pair(), Pair()
    fit(plain)
    fit(watched, callback := WatchCallback(every=1))
    assert torch.equal(weights(plain), weights(watched))
    assert all(sample.sites for sample in callback.monitor.samples)


def test_a_logger_that_fails_does_not_stop_training():
    class Broken(Sink):
        def sample(self, sample):
            raise OSError("no room left")

    with pytest.warns(UserWarning, match="Broken failed and gets nothing more: OSError: no room left"):
        fit(Net(), callback := WatchCallback(every=1, sinks=[Broken()]))
    assert len(callback.monitor.samples) == 8


def test_every_is_checked_where_it_is_written():
    with pytest.raises(ValueError, match="every must be 1 or more, got 0"):
        WatchCallback(every=0)


@pytest.mark.slow
def test_two_ranks_are_counted_together(tmp_path, start_script):
    """In processes of their own: Lightning starts the second one from the script."""
    script, here = tmp_path / "train.py", Path(__file__).parent
    script.write_text(
        f"""
import json, sys, warnings
sys.path.insert(0, {str(here)!r})
sys.path.insert(0, {str(here.parent)!r})
import conftest  # operators of torchvision's by name
import test_lightning as t
from slopewise.monitor.sinks import JsonLines
callback = t.WatchCallback(every=2, sinks=[JsonLines("run.jsonl")])
trainer = t.fit(t.Net(), callback, strategy="ddp", devices=2, logger=t.pl_loggers.CSVLogger("logs"))
with open(f"rank{{trainer.global_rank}}.json", "w") as file:
    json.dump([[s.step, s.sites[0].values, s.sites[0].positive] for s in callback.monitor.samples], file)
""",
        encoding="utf-8",
    )
    process = start_script(script, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _, complaints = process.communicate()
    assert process.returncode == 0, complaints
    facts = json.loads((tmp_path / "rank0.json").read_text())
    assert [step for step, _, _ in facts] == [1, 3]  # 64 images by two ranks in batches of eight: four steps
    assert all(values == 16 for _, values, _ in facts)
    assert [sample.step for sample in read_recording(tmp_path / "run.jsonl").samples] == [1, 3]
    other = json.loads((tmp_path / "rank1.json").read_text())
    assert other == facts
    assert all(math.isfinite(positive) for _, _, positive in facts)
