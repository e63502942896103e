"""ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slopewise.errors import ExportError
from slopewise.export._call import Call
from slopewise.export._error import reason
from slopewise.export.runtimes._base import Exported, Loaded, Runtime, arrays


class OnnxRuntime(Runtime):
    """ONNX Runtime, whose CPU kernels compute in the dtypes of the file."""

    name, title, packages = "onnxruntime", "ONNX Runtime", {"onnxruntime": "onnxruntime"}
    reads_onnx = True

    def load(self, exported: Exported) -> Loaded:
        """Return a run that opens a session each time, so that its memory is freed in between."""
        path = exported.onnx()
        return Loaded(lambda call: _run(path, call))


def _run(path: Path, call: Call) -> list[Tensor]:
    try:
        running = session(path)
        names = [value.name for value in running.get_inputs()]
        return [torch.from_numpy(array) for array in running.run(None, dict(zip(names, arrays(call), strict=True)))]
    except Exception as error:  # of many classes
        dtypes = {tensor.dtype for tensor in call.tensors if tensor.is_floating_point()} - {torch.float32}
        hint = ""
        if dtypes:
            hint = (
                f" (the inputs are {', '.join(map(str, dtypes))}, of which its CPU kernels take few: export "
                "model.float() with float32 inputs, and convert the file)"
            )
        raise ExportError(f"ONNX Runtime cannot run the file: {reason(error)}{hint}") from error


def session(path: Path) -> Any:
    """Open an ONNX Runtime session of a file, on the CPU, that logs only errors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
