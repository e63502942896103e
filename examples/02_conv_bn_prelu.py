"""A Conv-BatchNorm-PReLU block from 3 to 16 channels: one shared slope, then one slope per channel.

The gradient of the shared slope is the mean over all 16 channels. With the sum, as in PyTorch, one step would take it
16 times as far.
"""

import torch

import slopewise as sw


def show(title: str, block: sw.ConvBNPReLU, images: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(sw.param_groups(block, lr=0.5))
    output = block(images)
    print(f"{title}: slopes {tuple(block.bn.slope.shape)}")
    print(f"  input {tuple(images.shape)} -> output {tuple(output.shape)}")
    print(f"  slopes before the step: {rounded(block.bn.slope)}")
    output.square().mean().backward()  # small outputs are rewarded, so slopes shrink
    optimizer.step()
    print(f"  slopes after the step:  {rounded(block.bn.slope)}")


def rounded(slopes: torch.Tensor) -> list[float]:
    return [round(slope, 4) for slope in slopes.tolist()]


torch.manual_seed(0)
images = torch.randn(1, 3, 32, 32)
show("shared", sw.ConvBNPReLU(3, 16, num_parameters=1, shared_gradient="mean"), images)
show("per channel", sw.ConvBNPReLU(3, 16), images)
