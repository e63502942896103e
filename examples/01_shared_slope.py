"""One slope for a whole layer, learned from images that another slope made."""

import torch

import slopewise as sw

torch.manual_seed(0)
images = torch.randn(1, 3, 64, 64)
target = torch.where(images > 0, images, 0.1 * images)  # what a layer of slope 0.1 gives

layer = sw.PReLU()  # one shared slope, initially 0.25
optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)

output = layer(images)
print(layer)
print(f"input {tuple(images.shape)} -> output {tuple(output.shape)}, slopes {tuple(layer.weight.shape)}")
print(f"slope before the step: {layer.weight.item():.4f}")

loss = torch.nn.functional.mse_loss(output, target)
loss.backward()
optimizer.step()
print(f"its gradient, summed over {images.numel()} elements: {layer.weight.grad.item():.4f}")
print(f"slope after the step:  {layer.weight.item():.4f}")

for _ in range(20):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(layer(images), target).backward()
    optimizer.step()
print(f"slope after 21 steps:  {layer.weight.item():.4f}")
