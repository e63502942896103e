#!/usr/bin/env bash
# Versions:   openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6
# Guess:      OpenVINO computes in bfloat16 by default where the CPU has instructions for it, which takes outputs
#             0.5 to 1 % off, whatever the batch.
# Behaviour:  A convolution with bias and a PRelu with a slope per channel behind it is tens of per cent off for one
#             sample of 1 x 1 maps with a dynamic batch, and as guessed for three samples, for 2 x 2 maps and for one
#             shared slope. With INFERENCE_PRECISION_HINT f32 all are right.
# Output:     (largest difference from float32 relative to the largest output)
#             one sample, 1 x 1, slope per channel    0.413
#             three samples, 1 x 1, slope per channel 0.002
#             one sample, 2 x 2, slope per channel    0.003
#             one sample, 1 x 1, shared slope         0.004
# For users:  Whoever runs networks for small images one by one. slopewise's check_with=["openvino"] measures the default
#             precision for one sample and several and warns (docs/export.md). CPUs without bfloat16 see nothing of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper

C = 16
core, rng = openvino.Core(), np.random.default_rng(0)
flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
if "avx512_bf16" not in flags and "amx_bf16" not in flags:
    print("this CPU has no instructions for bfloat16, so that OpenVINO computes in float32: nothing to see")
    sys.exit()


def write(path, size, slopes):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", C, size, size]) for name in "xy")
    arrays = {"w": rng.standard_normal((C, C, 3, 3)), "b": rng.standard_normal(C), "slopes": slopes}
    constants = [helper.make_tensor(n, TensorProto.FLOAT, a.shape, a.astype("f").ravel()) for n, a in arrays.items()]
    convolution = helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1])
    prelu = helper.make_node("PRelu", ["c", "slopes"], ["y"])
    graph = helper.make_graph([convolution, prelu], "block", [x], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def outputs(path, x, options):
    return core.compile_model(core.read_model(path), "CPU", options)(x)[0]


def off(batch, size, slopes):
    write("m.onnx", size, slopes)
    x = rng.standard_normal((batch, C, size, size)).astype("f")
    exact = outputs("m.onnx", x, {"INFERENCE_PRECISION_HINT": "f32"})
    return float(np.abs(outputs("m.onnx", x, {}) - exact).max() / np.abs(exact).max())


per_channel, shared = np.linspace(-0.6, 1.7, C).reshape(1, C, 1, 1), np.full((1, 1, 1, 1), 0.25)
found = {
    "one sample, 1 x 1, slope per channel": off(1, 1, per_channel),
    "three samples, 1 x 1, slope per channel": off(3, 1, per_channel),
    "one sample, 2 x 2, slope per channel": off(1, 2, per_channel),
    "one sample, 1 x 1, shared slope": off(1, 1, shared),
}
for name, value in found.items():
    print(f"{name:<39} {value:.3f}")
first, *rest = found.values()
assert first > 0.1, "a single sample is far off"
assert max(rest) < 0.02, "others are rounded"
PYTHON
"$folder/venv/bin/python" -W ignore check.py
