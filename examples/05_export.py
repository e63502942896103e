"""A network with slopes as an ONNX file, as a torch.export program, and in int8: each compared with the model.

The files need neither slopewise nor the network's code.
"""

import tempfile
from pathlib import Path

import onnxruntime
import torch

import slopewise as sw
from slopewise.export import export_model, quantize_onnx


class Net(torch.nn.Module):
    """Two blocks, the second with a residual, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = sw.ConvBNPReLU(3, 16)
        self.block = sw.ConvBNPReLU(16, 16, num_parameters=1, shared_gradient="mean")
        self.head = torch.nn.Linear(16, 4)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs of the file get the names in this dict."""
        x = self.stem(images)
        x = self.block(x, x)  # the second argument is the residual
        return {"logits": self.head(x.mean((2, 3)))}


torch.manual_seed(0)
images = [torch.randn(16, 3, 16, 16) for _ in range(8)]
labels = [batch.mean((1, 2, 3)).argsort().argsort() // 4 for batch in images]  # four classes, by brightness
net = Net()
optimizer = torch.optim.SGD(sw.param_groups(net, lr=0.05), momentum=0.9)
for _ in range(5):
    for batch, label in zip(images, labels, strict=True):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(batch)["logits"], label).backward()
        optimizer.step()

with tempfile.TemporaryDirectory() as folder:
    onnx_file, program_file, int8_file = (Path(folder, name) for name in ("net.onnx", "net.pt2", "net-int8.onnx"))
    print(export_model(net, images[0], onnx_file))
    print(export_model(net, {"images": images[0]}, program_file))
    print(quantize_onnx(onnx_file, images, int8_file))

    few = torch.randn(3, 3, 16, 16)  # another batch size than the example's
    expected = net.eval()(few)["logits"].detach()
    session = onnxruntime.InferenceSession(onnx_file)
    (logits,) = session.run(["logits"], {"images": few.numpy()})
    program = torch.export.load(program_file).module()
    print(f"largest difference of the ONNX file: {(torch.from_numpy(logits) - expected).abs().max().item():.1e}")
    print(f"largest difference of the program: {(program(images=few)['logits'] - expected).abs().max().item():.1e}")
