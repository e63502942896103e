"""OpenVINO, on the CPU: in float32, and at its default precision."""

from __future__ import annotations

from typing import Any

import torch

from slopewise.export.runtimes._base import Exported, Loaded, Run, Runtime, arrays


class OpenVINO(Runtime):
    """OpenVINO, which computes in bfloat16 by default if the CPU has instructions for it."""

    name, title, packages = "openvino", "OpenVINO", {"openvino": "openvino"}
    cure = "compile the model with {'INFERENCE_PRECISION_HINT': 'f32'}"

    def load(self, exported: Exported) -> Loaded:
        """Compile the file twice, with the hint for float32 and without."""
        import openvino

        core = openvino.Core()
        model = (
            core.read_model(exported.onnx())
            if exported.file.suffix == ".onnx"
            else openvino.convert_model(exported.program())
        )
        return Loaded(_run(core, model, {"INFERENCE_PRECISION_HINT": "f32"}), _run(core, model, {}))


def _run(core: Any, model: Any, options: dict[str, str]) -> Run:
    compiled = core.compile_model(model, "CPU", options)
    return lambda call: [
        torch.from_numpy(array.copy()) for array in compiled(arrays(call), share_inputs=False).to_tuple()
    ]
