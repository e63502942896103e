"""An alarm of a user, in one file: most of a layer's gradient is noise. No other file names it."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from slopewise.monitor import Monitor, Thresholds, read_recording
from slopewise.monitor.sinks import JsonLines
from slopewise.recording import SlopeSample
from slopewise.recording.alarms import Finding, Past, SlopeRule, register, threshold, unregister
from slopewise.report import print_recording, render_watch_html
from slopewise.testing import check_alarm_rule, synthetic_recording


class SlopeNoise(SlopeRule):
    """Blames slopes whose gradient has had no direction for some samples."""

    id = "slope-noise"
    raised_when = "the signal-to-noise ratio of a layer's slopes is below `noise` for `noisy` samples"
    advice = "Use larger batches, or a lower learning rate for the slopes."
    charts = ("signal",)

    noise: float = threshold(0.01, "smallest ordinary signal-to-noise ratio")
    noisy: int = threshold(3, "consecutive samples in which the ratio must be lower")

    def judge(self, layer: SlopeSample, past: Past[SlopeSample], /) -> Finding | None:
        ratio = layer.signal_to_noise
        streak = past.streak(ratio is not None and ratio < self.noise)
        if streak is None or streak.samples < self.noisy:
            return None
        return Finding(streak.since, f"signal-to-noise ratio {ratio:.1e} in {streak.samples} samples")


@pytest.fixture
def registered() -> Iterator[SlopeNoise]:
    yield register(SlopeNoise(noise=100.0))
    unregister("slope-noise")


def test_it_keeps_the_contract() -> None:
    samples = synthetic_recording(layers=3).samples
    noisy = [replace(s, slopes=tuple(replace(layer, signal_to_noise=1e-3) for layer in s.slopes)) for s in samples]
    check_alarm_rule(SlopeNoise(), noisy)


def test_monitor_file_page_and_terminal_show_it(registered: SlopeNoise, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.PReLU(8), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Monitor(model, every=1, sinks=[JsonLines(tmp_path / "run.jsonl")]) as monitor:
        for _ in range(6):
            model(torch.randn(16, 4)).square().mean().backward()
            optimizer.step()
    (alarm,) = monitor.alarms
    assert (alarm.id, alarm.where, alarm.since, alarm.step) == ("slope-noise", "1", 3, 5)

    unregister("slope-noise")  # as in another program, which reads the file
    recording = read_recording(tmp_path / "run.jsonl")
    assert recording == monitor.recording
    screen = io.StringIO()
    print_recording(recording, Console(file=screen, width=200))
    for text in (screen.getvalue(), render_watch_html(recording), str(monitor.summary())):
        assert "slope-noise" in text
        assert "Use larger batches, or a lower learning rate for the slopes." in text
    register(registered)
    assert monitor.alarms[0].charts == ("signal",)
    assert Thresholds(ignore=("slope-noise",)).ignore == ("slope-noise",)
