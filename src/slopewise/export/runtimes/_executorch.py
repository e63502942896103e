"""ExecuTorch with its XNNPACK backend, as on Android and iOS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slopewise.export._call import Call
from slopewise.export.runtimes._base import Exported, Loaded, Runtime


class ExecuTorch(Runtime):
    """ExecuTorch's runtime for Python; operations that XNNPACK does not support run in the portable kernels."""

    name, title, packages = "executorch", "ExecuTorch", {"executorch": "executorch"}

    def load(self, exported: Exported) -> Loaded:
        """Lower the program to XNNPACK; once for each shape of the inputs if a free dimension has no maximum.

        ExecuTorch plans memory ahead, and takes the example's size for the maximum if none is given.
        """
        program = exported.program()
        is_bounded = all(float(interval.upper) < math.inf for interval in program.range_constraints.values())
        methods: dict[tuple[torch.Size, ...], Any] = {}

        def run(call: Call) -> list[Tensor]:
            key = () if is_bounded else tuple(tensor.shape for tensor in call.tensors)
            if key not in methods:
                one = program if is_bounded else torch.export.export(program.module(), call.args, call.kwargs)
                methods[key] = _lowered(one, exported.folder / f"model{len(methods)}.pte")
            given = [tensor.cpu().contiguous() for tensor in call.tensors]
            return [output.clone() for output in methods[key].execute(given)]

        return Loaded(run)


def _lowered(program: torch.export.ExportedProgram, path: Path) -> Any:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime as Executor

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    lowered.to_executorch().save(str(path))  # a file: the memory of bytes would have to outlive the program
    return Executor.get().load_program(path).load_method("forward")
