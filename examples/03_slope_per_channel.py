"""One slope per input channel: each channel learns its own."""

import torch

import slopewise as sw

torch.manual_seed(0)
images = torch.randn(8, 3, 32, 32)
wanted = torch.tensor([-0.1, 0.1, 0.6])  # one slope for each channel
target = torch.where(images > 0, images, wanted.view(3, 1, 1) * images)

layer = sw.PReLU(num_parameters=3, init=0.25)
optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)


def rounded(slopes: torch.Tensor) -> list[float]:
    return [round(slope, 4) for slope in slopes.tolist()]


output = layer(images)
print(layer)
print(f"input {tuple(images.shape)} -> output {tuple(output.shape)}, slopes {tuple(layer.weight.shape)}")
print(f"slopes before the step: {rounded(layer.weight)}")

torch.nn.functional.mse_loss(output, target).backward()
optimizer.step()
print(f"slopes after the step:  {rounded(layer.weight)}")

for _ in range(30):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(layer(images), target).backward()
    optimizer.step()
print(f"slopes after 31 steps:  {rounded(layer.weight)}")
