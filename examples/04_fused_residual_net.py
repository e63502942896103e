"""A small residual network of fused layers, trained with and without `low_memory`: same results, less kept.

A fused layer normalises, adds the shortcut and applies the PReLU in one operation. What a forward pass keeps for its
backward pass is counted by PyTorch's hooks on saved tensors. With `low_memory` a fused layer keeps its output, which
the next convolution keeps anyway, instead of its input.
"""

import torch

import slopewise as sw


class Block(torch.nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int, *, low_memory: bool) -> None:
        super().__init__()
        self.first = sw.ConvBNPReLU(channels, channels, low_memory=low_memory)
        self.second = sw.ConvBNPReLU(channels, channels, low_memory=low_memory)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The residual, which is the input, is added before the second PReLU."""
        return self.second(self.first(x), x)


def network(*, low_memory: bool) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        sw.ConvBNPReLU(3, 16, low_memory=low_memory),
        Block(16, low_memory=low_memory),
        Block(16, low_memory=low_memory),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 4),
    ).to(memory_format=torch.channels_last)


def kept_bytes(model: torch.nn.Module, images: torch.Tensor) -> int:
    """Bytes that a forward pass keeps; parameters are there anyway."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images).sum().backward()
    return sum(kept.values())


def train(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[float]:
    optimizer = torch.optim.SGD(sw.param_groups(model, lr=0.1, weight_decay=5e-4), momentum=0.9)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


torch.manual_seed(0)
labels = torch.arange(16) % 4  # four kinds of noise, which differ in their brightness
images = torch.randn(16, 3, 32, 32) + labels.view(16, 1, 1, 1) / 2
images = images.to(memory_format=torch.channels_last)

plain, low = network(low_memory=False), network(low_memory=True)
print(f"input {tuple(images.shape)} -> output {tuple(plain(images).shape)}; {plain[0].bn}")
for name, model in (("plain", plain), ("low memory", low)):
    kept = kept_bytes(model, images)
    losses = train(model, images, labels)
    print(f"{name}: MiB kept for the backward pass: {kept / 2**20:.2f}")
    print(f"{name}: loss before and after: {[round(losses[0], 4), round(losses[-1], 4)]}")

slopes = [
    torch.cat([p.flatten() for n, p in model.named_parameters() if n.endswith("slope")]) for model in (plain, low)
]
print(f"largest difference of a slope: {(slopes[0] - slopes[1]).abs().max().item():.1e}")
print(f"slopes learned: {len(slopes[0])}, from {slopes[0].min().item():.3f} to {slopes[0].max().item():.3f}")

scores = low.eval()(images)
for block in [module for module in low.modules() if isinstance(module, sw.ConvBNPReLU)]:
    block.bn = block.bn.unfuse()  # back to torch.nn.BatchNorm2d and a PReLU, for tools that know no other
print(f"largest difference after unfuse(): {(low(images) - scores).abs().max().item():.1e}")
