"""Runtimes that exported models are checked in, by their names in `check_with`."""

from slopewise.export.runtimes._base import Exported as Exported
from slopewise.export.runtimes._base import Loaded as Loaded
from slopewise.export.runtimes._base import Runtime as Runtime
from slopewise.export.runtimes._executorch import ExecuTorch
from slopewise.export.runtimes._litert import LiteRT
from slopewise.export.runtimes._ncnn import Ncnn
from slopewise.export.runtimes._onnxruntime import OnnxRuntime
from slopewise.export.runtimes._openvino import OpenVINO
from slopewise.export.runtimes._torch import Torch

RUNTIMES: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (OnnxRuntime(), OpenVINO(), Ncnn(), LiteRT(), ExecuTorch(), Torch())
}
