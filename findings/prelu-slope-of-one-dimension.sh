#!/usr/bin/env bash
# Versions:   openvino 2026.4.1, MNN 3.6.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6
# Guess:      A PRelu node whose slope has shape (C,) is broadcast to the last dimension, as ONNX says: tokens
#             (N, L, C) get slope c in channel c everywhere.
# Behaviour:  ONNX Runtime does so. OpenVINO applies the slope to dimension 1 where L = C, and to the last dimension
#             where it is not; MNN always applies it to dimension 1. Neither says a word. A slope of shape (1, 1, C),
#             which means the same in ONNX, is right in all three.
# Output:     (largest difference from numpy, inputs of about 3)
#             L=6 (C,)    ONNX Runtime 0.0   OpenVINO 2.3   MNN 2.3
#             L=6 (1,1,C) ONNX Runtime 0.0   OpenVINO 0.0   MNN 0.0
#             L=5 (C,)    ONNX Runtime 0.0   OpenVINO 0.0   MNN 2.4
#             L=5 (1,1,C) ONNX Runtime 0.0   OpenVINO 0.0   MNN 0.0
# For users:  Whoever writes PRelu with (C,) for tokens or images with channels last. slopewise writes slopes of the
#             input's full rank (docs/export.md; tests/export/test_slopes.py, test_runtimes.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openvino==2026.4.1 MNN==3.6.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

C = 6
SLOPES = np.linspace(-0.6, 1.7, C).astype(np.float32)


def write(path, shape, slopes):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    constant = helper.make_tensor("slopes", TensorProto.FLOAT, slopes.shape, slopes.ravel())
    node = helper.make_node("PRelu", ["x", "slopes"], ["y"])
    graph = helper.make_graph([node], "prelu", [x], [y], [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    onnx.checker.check_model(path, full_check=True)


def in_onnxruntime(path, x):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def in_openvino(path, x):
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]


def in_mnn(path, x):
    import MNN.expr as expr
    import MNN.nn

    converter = os.path.join(sys.prefix, "bin", "mnnconvert")
    options = ["-f", "ONNX", "--modelFile", path, "--MNNModel", f"{path}.mnn", "--bizCode", "x"]
    subprocess.run([converter, *options], check=True, capture_output=True)
    module = MNN.nn.load_module_from_file(f"{path}.mnn", ["x"], ["y"])
    output = module.forward([expr.const(x, list(x.shape), expr.NCHW)])
    output = output[0] if isinstance(output, list) else output
    return np.array(expr.convert(output, expr.NCHW).read()).reshape(x.shape)


RUNTIMES = {"ONNX Runtime": in_onnxruntime, "OpenVINO": in_openvino, "MNN": in_mnn}
found = {}
for length in (C, C - 1):
    x = np.random.default_rng(0).standard_normal((2, length, C)).astype(np.float32)
    right = np.where(x > 0, x, x * SLOPES)
    for form, slopes in (("(C,)", SLOPES), ("(1,1,C)", SLOPES.reshape(1, 1, C))):
        write("m.onnx", x.shape, slopes)
        apart = {name: float(np.abs(run("m.onnx", x) - right).max()) for name, run in RUNTIMES.items()}
        found[length, form] = {name: value > 1e-3 for name, value in apart.items()}
        print(f"L={length} {form:<7}", "  ".join(f"{name} {value:.1f}" for name, value in apart.items()))

nothing, both = dict.fromkeys(RUNTIMES, False), {"ONNX Runtime": False, "OpenVINO": True, "MNN": True}
assert found[C, "(C,)"] == both, "the slope of one dimension beside a dimension 1 of its length"
assert found[C - 1, "(C,)"] == {**nothing, "MNN": True}, "the slope of one dimension"
assert found[C, "(1,1,C)"] == found[C - 1, "(1,1,C)"] == nothing, "the slope of full rank"
PYTHON
"$folder/venv/bin/python" -W ignore check.py 2> errors.txt || { cat errors.txt; exit 1; }
