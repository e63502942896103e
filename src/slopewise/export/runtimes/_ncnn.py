"""ncnn, through pnnx, which converts an ONNX file: float32 weights, one sample at a time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from slopewise.errors import ExportError
from slopewise.export._call import Call
from slopewise.export.runtimes._base import Exported, Loaded, Runtime, arrays, one_sample

_DTYPES = {torch.float32: "f32", torch.float16: "f16", torch.int64: "i64", torch.int32: "i32"}


class Ncnn(Runtime):
    """Ncnn, whose arrays have no batch dimension: each sample is a run of its own."""

    name, title, packages = "ncnn", "ncnn", {"ncnn": "ncnn", "pnnx": "pnnx"}
    doubt = "it takes slopes for those of dimension 1: pass keep_transpositions=True where channels are elsewhere"
    reads_onnx = True

    def load(self, exported: Exported) -> Loaded:
        """Convert once for each shape of the inputs, for which pnnx lays out the network."""
        nets: dict[str, Any] = {}

        def sample(call: Call) -> Sequence[Tensor]:
            shapes = _shapes(call)
            if shapes not in nets:
                nets[shapes] = _converted(exported, shapes, len(nets))
            return _outputs(nets[shapes], call)

        def run(call: Call) -> list[Tensor]:
            rows = [sample(one) for one in one_sample(call, self)]
            return [torch.stack(list(row)) for row in zip(*rows, strict=True)]

        return Loaded(run)


def _shapes(call: Call) -> str:
    unknown = {tensor.dtype for tensor in call.tensors} - set(_DTYPES)
    if unknown:
        raise ExportError(f"pnnx takes no inputs of {', '.join(map(str, unknown))}")
    return ",".join(f"[{','.join(map(str, tensor.shape))}]{_DTYPES[tensor.dtype]}" for tensor in call.tensors)


def _converted(exported: Exported, shapes: str, number: int) -> Any:
    import ncnn
    import pnnx

    given, folder = exported.onnx(), exported.folder / f"ncnn{number}"
    folder.mkdir()
    for file in given.parent.glob(f"{given.name}*"):  # the weights may be in a second file; pnnx writes into the folder
        shutil.copy(file, folder)
    path = folder / given.name
    command = [pnnx.EXEC_PATH, path.name, f"inputshape={shapes}", "fp16=0"]
    process = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)  # noqa: S603
    param, weights = (path.with_suffix(f".ncnn.{suffix}") for suffix in ("param", "bin"))
    unknown = [line for line in process.stderr.splitlines() if "not supported" in line or "ignore" in line]
    if process.returncode or not param.exists() or unknown:
        raise ExportError(f"pnnx cannot convert it: {unknown[0] if unknown else f'exit {process.returncode}'}")
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise ExportError("it cannot load what pnnx made")
    return net


def _outputs(net: Any, call: Call) -> list[Tensor]:
    import ncnn
    import numpy as np

    tensors = []
    with net.create_extractor() as extractor:
        for place, array in enumerate(arrays(call)):
            row = array[0] if array.ndim and len(array) == 1 else array
            extractor.input(f"in{place}", ncnn.Mat(row).clone())  # without clone it is a view of memory that is freed
        for place in range(len(net.output_names())):
            status, output = extractor.extract(f"out{place}")
            if status:
                raise ExportError(f"it cannot compute output {place} (status {status})")
            tensors.append(torch.from_numpy(np.array(output)))
    return tensors
