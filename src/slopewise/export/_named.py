"""Exporters by suffix: slopewise's own, registered ones, and those of installed packages."""

from __future__ import annotations

from slopewise.errors import ExportError, look_up
from slopewise.export._base import Exporter
from slopewise.export._onnx import OnnxExporter
from slopewise.export._pt2 import ProgramExporter
from slopewise.support import Registry

EXPORTERS: Registry[type[Exporter]] = Registry(
    "slopewise.exporters", {exporter.suffix: exporter for exporter in (OnnxExporter, ProgramExporter)}
)


def register_exporter(exporter: type[Exporter]) -> None:
    """Let `export_model` write files of an exporter's suffix with it.

    An installed package does the same by an entry point of the group "slopewise.exporters" whose name is the suffix.

    Args:
        exporter: Class of the exporter, made without arguments.

    Raises:
        ValueError: The suffix does not start with a dot, or is one of slopewise's own.

    Example:
        >>> class Program(ProgramExporter):
        ...     suffix = ".program"
        >>> register_exporter(Program)
        >>> exporter_of("net.program").runtime.title
        'PyTorch'
        >>> EXPORTERS.unregister(".program")
    """
    if not exporter.suffix.startswith(".") or len(exporter.suffix) < 2:
        raise ValueError(f"suffix '{exporter.suffix}' of {exporter.__name__} must start with a dot, as in '.onnx'")
    EXPORTERS.register(exporter.suffix, exporter)


def exporter_of(name: str) -> Exporter:
    """Return the exporter for a file of that name.

    Raises:
        ExportError: No exporter writes files of its suffix, or the installed package that brings it cannot be imported.
    """
    suffix = f".{name.rpartition('.')[2]}" if "." in name else ""
    unknown = f"'{name}' must end in a suffix that says what to write"
    return look_up(EXPORTERS, suffix, ExportError, place=f"'{name}'", unknown=unknown)()
