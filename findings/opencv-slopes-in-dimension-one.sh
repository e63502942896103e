#!/usr/bin/env bash
# Versions:   opencv-python-headless 5.0.0.93, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6
# Guess:      A PRelu node whose slope has as many dimensions as its input leaves nothing to guess: OpenCV's dnn module
#             applies (1, 1, C) to the last dimension of tokens (N, L, C), or refuses it.
# Behaviour:  It applies every slope to dimension 1: all channels of token i get slope i. It does so without a word, in
#             its new engine and in its classic one, and OpenCV 4.14 does it as well. A PRelu between two
#             transpositions, which means the same, is right.
# Output:     (largest difference from numpy, inputs of about 3)
#             images (N, C, H, W), slope (1, C, 1, 1)   ONNX Runtime 0.0   OpenCV new 0.0   OpenCV classic 0.0
#             tokens (N, L, C), slope (1, 1, C)         ONNX Runtime 0.0   OpenCV new 2.4   OpenCV classic 2.4
#             tokens, transposed for slope (1, C, 1)    ONNX Runtime 0.0   OpenCV new 0.0   OpenCV classic 0.0
# For users:  Whoever runs tokens, or images with channels last, in OpenCV. slopewise's exports are right there with
#             keep_transpositions=True (docs/export.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

C, L = 6, 5  # fewer tokens than slopes: every token finds a slope
SLOPES = np.linspace(-0.6, 1.7, C).astype(np.float32)


def write(shape, slope_shape, transposed):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    constant = helper.make_tensor("slopes", TensorProto.FLOAT, slope_shape, SLOPES)
    nodes = [helper.make_node("PRelu", ["x", "slopes"], ["y"])]
    if transposed:
        nodes = [
            helper.make_node("Transpose", ["x"], ["x_t"], perm=[0, 2, 1]),
            helper.make_node("PRelu", ["x_t", "slopes"], ["y_t"]),
            helper.make_node("Transpose", ["y_t"], ["y"], perm=[0, 2, 1]),
        ]
    graph = helper.make_graph(nodes, "prelu", [x], [y], [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "m.onnx")
    onnx.checker.check_model("m.onnx", full_check=True)


def in_onnxruntime(x):
    return onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def in_opencv(engine):
    def run(x):
        network = cv2.dnn.readNetFromONNX("m.onnx", engine)
        network.setInput(x)
        return network.forward()

    return run


RUNTIMES = {
    "ONNX Runtime": in_onnxruntime,
    "OpenCV new": in_opencv(cv2.dnn.ENGINE_NEW),
    "OpenCV classic": in_opencv(cv2.dnn.ENGINE_CLASSIC),
}
CASES = {  # the input's shape, the slope's, and whether the input is transposed before and after
    "images (N, C, H, W), slope (1, C, 1, 1)": ((2, C, 5, 4), (1, C, 1, 1), False),
    "tokens (N, L, C), slope (1, 1, C)": ((2, L, C), (1, 1, C), False),
    "tokens, transposed for slope (1, C, 1)": ((2, L, C), (1, C, 1), True),
}


def input_of(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def prelu(x, slopes):
    return np.where(x > 0, x, x * slopes)


found = {}
for name, (shape, slope_shape, transposed) in CASES.items():
    write(shape, slope_shape, transposed)
    x = input_of(shape)
    right = prelu(x, SLOPES if shape[-1] == C else SLOPES.reshape(slope_shape))
    found[name] = {runtime: float(np.abs(run(x) - right).max()) for runtime, run in RUNTIMES.items()}
    print(f"{name:<41}", "  ".join(f"{runtime} {value:.1f} " for runtime, value in found[name].items()))

images, tokens, transposed = found.values()
assert max(images.values()) < 1e-5 and max(transposed.values()) < 1e-5, "slopes of dimension 1"
assert tokens["ONNX Runtime"] < 1e-5, "slopes of the last dimension, in ONNX Runtime"
write(*CASES["tokens (N, L, C), slope (1, 1, C)"])
x = input_of((2, L, C))
for engine in ("OpenCV new", "OpenCV classic"):
    assert tokens[engine] > 1, engine
    assert np.abs(RUNTIMES[engine](x) - prelu(x, SLOPES[:L].reshape(1, L, 1))).max() < 1e-5, f"{engine}: token i"
print("the finding holds")
PYTHON
"$folder/venv/bin/python" -W ignore check.py 2> errors.txt || { cat errors.txt; exit 1; }
