"""MONAI: a small 3-D U-Net on generated volumes, with balls to be found in noise."""

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.inferers import SimpleInferer
from monai.losses import DiceLoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import Compose, RandFlipd, RandGaussianNoised
from monai.utils import set_determinism

SIZE = 16


def volumes(count, seed):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"))
    for _ in range(count):
        centre, radius = rng.uniform(4, SIZE - 4, (3, 1, 1, 1)), rng.uniform(2, 5)
        mask = (((grid - centre) ** 2).sum(0, keepdims=True) < radius**2).astype(np.float32)
        yield {"image": (mask + rng.normal(0, 1, mask.shape)).astype(np.float32), "mask": mask}


@torch.no_grad()
def dice(model, data):
    metric, inferer = DiceMetric(), SimpleInferer()
    model.eval()
    for batch in DataLoader(data, batch_size=8):
        metric((inferer(batch["image"], model) > 0).float(), batch["mask"])
    model.train()
    return metric.aggregate().item()


def train(trial, epochs=4, lr=0.01):
    set_determinism(trial.seed)
    both = ["image", "mask"]
    augment = Compose([RandFlipd(both, prob=0.5, spatial_axis=0), RandGaussianNoised("image", prob=0.5)])
    fit = Dataset(list(volumes(48, seed=0)), augment)
    validation, test = Dataset(list(volumes(8, seed=1))), Dataset(list(volumes(16, seed=2)))
    model = UNet(spatial_dims=3, in_channels=1, out_channels=1, channels=(8, 16, 32), strides=(2, 2))  # with PReLUs
    model = trial.apply(model, torch.zeros(1, 1, SIZE, SIZE, SIZE))
    trial.watch(model)
    loss_function = DiceLoss(sigmoid=True)
    optimizer = torch.optim.Adam(trial.param_groups(model, lr=lr))
    batches = DataLoader(fit, batch_size=8, shuffle=True, generator=trial.stream("order"))
    for epoch in range(1, epochs + 1):
        for batch in batches:
            loss = loss_function(model(batch["image"]), batch["mask"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.log(epoch * len(batches), loss=loss, val_dice=dice(model, validation))
    return {"dice": dice(model, test)}
