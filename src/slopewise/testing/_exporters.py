"""Conformance kit of exporters: the contract of `slopewise.export.Exporter`, checked on small networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from slopewise.errors import ExportError
from slopewise.export import Exporter, ExportReport, export_model, exporter_of, register_exporter
from slopewise.nn import ConvBNPReLU, PReLU

_TOLERANCE = 1e-5


def check_exporter(exporter: type[Exporter], folder: Path) -> None:
    """Check that an exporter keeps its contract; it is registered if it is not yet.

    The checks are: files of networks with PReLUs (one slope, a slope per channel, after a linear layer, on tokens)
    compute in the exporter's own runtime what the network computes, also on other sizes of a free batch; the report
    names inputs, outputs and slopes as the network does; the same network gives the same facts twice; a file that
    exists is replaced when the new one is verified, and stays as it is when an export fails; nothing else is left in
    the folder; the network is unchanged.

    Args:
        exporter: Class of the exporter.
        folder: Empty folder for the files.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> import tempfile
        >>> from slopewise.export import exporter_of
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     check_exporter(type(exporter_of("net.pt2")), Path(folder))
    """
    try:
        known = type(exporter_of(f"net{exporter.suffix}"))
    except ExportError:
        register_exporter(exporter)
        known = exporter
    assert known is exporter, f"files of suffix {exporter.suffix} are written by {known.__name__}"
    path = folder / f"net{exporter.suffix}"
    for name, (network, example) in _networks().items():
        before = {key: value.clone() for key, value in network.state_dict().items()}
        report = export_model(network.train(), example, path)
        _check_report(name, network, report)
        again = export_model(network, example, path)
        facts = [(r.format, r.inputs, r.outputs, r.slopes, r.prelu_nodes) for r in (report, again)]
        assert facts[0] == facts[1], f"{name}: two exports of one network differ: {facts}"
        assert network.training, f"{name}: the network is no longer in training mode"
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[key]), f"{name}: the export changed '{key}'"
    _check_failure(exporter, path)
    left = sorted(file.name for file in folder.iterdir() if not file.name.startswith(path.name))
    assert not left, f"an export leaves other files beside {path.name}: {left}"


def _networks() -> dict[str, tuple[nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    images, tokens = torch.randn(3, 2, 6, 6), torch.randn(3, 5, 8)
    return {
        "one slope": (nn.Sequential(nn.Conv2d(2, 4, 3), PReLU()), images),
        "a slope per channel": (nn.Sequential(ConvBNPReLU(2, 4), nn.Flatten(), nn.Linear(4 * 36, 2)), images),
        "after a linear layer": (nn.Sequential(nn.Flatten(), nn.Linear(72, 4), PReLU(4, init=-0.5)), images),
        "on tokens": (nn.Sequential(nn.Linear(8, 4), PReLU(4, channel_dim=-1)), tokens),
    }


def _check_report(name: str, network: nn.Module, report: ExportReport) -> None:
    assert report.path.is_file(), f"{name}: the export left no file"
    assert report.size >= report.path.stat().st_size > 0, f"{name}: the report's size is {report.size}"
    (shape,) = report.inputs.values() or ((),)
    assert isinstance(shape[0], str), f"{name}: the batch is free, but the report's input has shape {shape}"
    assert len(report.outputs) == 1, f"{name}: the report has outputs {sorted(report.outputs)}, not one"
    slopes = {key for key in network.state_dict() if key in set(_slope_names(network))}
    assert set(report.slopes) == slopes, f"{name}: the report has slopes {sorted(report.slopes)}, not {sorted(slopes)}"
    assert report.prelu_nodes == 1, f"{name}: the report counts {report.prelu_nodes} PReLUs, not 1"
    assert len({parity.batch for parity in report.parity}) > 1, f"{name}: no other batch was tried"
    worst = max(parity.relative for parity in report.parity)
    assert worst <= _TOLERANCE, f"{name}: the file differs from the network by {worst:.1e}"


def _slope_names(network: nn.Module) -> Iterator[str]:
    for path, module in network.named_modules():
        if hasattr(module, "num_parameters"):
            yield f"{path}.{'weight' if isinstance(module, nn.PReLU) else 'slope'}"


def _check_failure(exporter: type[Exporter], path: Path) -> None:
    """An export that cannot meet its tolerance leaves the file that is there."""
    content = path.read_bytes()
    network, example = _networks()["one slope"]
    noisy = nn.Sequential(network, _Noise())
    try:
        export_model(noisy, example, path)
    except ExportError:
        assert path.read_bytes() == content, f"a failed export to {exporter.suffix} replaced the file that was there"
        return
    raise AssertionError(f"{exporter.suffix}: a network whose output is random was exported")


class _Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)
