"""Fixtures of the tests of exported files."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
import torch


def run_onnx(path, *tensors):
    """ONNX Runtime's outputs, by way of its own Python interface alone."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return [torch.from_numpy(y) for y in session.run(None, dict(zip(names, (t.numpy() for t in tensors), strict=True)))]


class Graph:
    """Contents of an ONNX file, read with the onnx package."""

    def __init__(self, path):
        onnx.checker.check_model(str(path), full_check=True)
        proto = onnx.load(path)
        self.nodes = list(proto.graph.node)
        self.kinds = [node.op_type for node in self.nodes]
        self.domains = {node.domain for node in self.nodes}
        self.constants = {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}
        self.functions = list(proto.functions)
        self.inputs = {value.name: _dims(value) for value in proto.graph.input}
        self.outputs = {value.name: _dims(value) for value in proto.graph.output}
        self.text = proto.SerializeToString()

    @property
    def slopes(self):
        """The constant slope of each PRelu node, in the graph's order."""
        return [self.constants[node.input[1]] for node in self.nodes if node.op_type == "PRelu"]


def _dims(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.fixture
def graph():
    return Graph


@pytest.fixture
def runtime():
    return run_onnx


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def settled():
    """A model as after training: statistics and slopes that are not what they began as."""

    def settle(model, low=-0.5, high=1.5):
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                if module.running_mean is not None:
                    module.running_mean.uniform_(-0.3, 0.3)
                    module.running_var.uniform_(0.5, 1.5)
                if module.weight is not None:
                    torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                    torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            slopes = getattr(module, "slope", module.weight if isinstance(module, torch.nn.PReLU) else None)
            if isinstance(slopes, torch.Tensor):
                torch.nn.init.uniform_(slopes, low, high)
        return model.eval()

    return settle
