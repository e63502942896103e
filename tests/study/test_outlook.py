"""The pace that is measured before the first trial: on a network of one's own in two memory formats."""

import os
import signal

import pytest
from torch import nn

from slopewise import Study
from slopewise.study._trial import make_fabric

LONG = 1_000_000  # epochs: nothing is trained


def net(activation, num_classes, in_channels):
    body = nn.Conv2d(in_channels, 4, 3), activation(4), nn.Conv2d(4, 4, 3), activation(4)
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))


@pytest.mark.parametrize(
    ("model", "epochs", "compared"),
    [
        ({"name": net}, LONG, True),
        ({"name": net}, 1, False),
        ({"name": net, "memory_format": "channels_last"}, LONG, False),
        ({"name": "cnn"}, LONG, False),
    ],
)
def test_channels_last_is_tried_before_a_long_study_where_the_user_can_choose_it(model, epochs, compared):
    study = Study(arms="relu", seeds=1, model=model, train={"epochs": epochs, "batch_size": 100})
    found = study.prepare(study.plan())
    assert found.seconds_per_step > 0
    assert (found.channels_last is not None and found.channels_last > 0) == compared


class Fatal(nn.Conv2d):
    """Ends its process in channels last, as an operator of PyTorch may on some processor."""

    def forward(self, x):
        if self.weight.stride()[1] == 1:
            os.kill(os.getpid(), signal.SIGABRT)
        return super().forward(x)


def fatal_net(activation, num_classes, in_channels):
    network = net(activation, num_classes, in_channels)
    network[2] = Fatal(4, 4, 3)
    return network


def test_a_crash_in_channels_last_ends_neither_the_study_nor_the_measurement():
    study = Study(arms="relu", seeds=1, model={"name": fatal_net}, train={"epochs": LONG})
    found = study.prepare(study.plan())
    assert found.seconds_per_step > 0
    assert found.channels_last is None


def test_the_device_that_auto_stands_for_is_found():
    study = Study(arms="relu", seeds=1, hardware={"accelerator": "auto"})
    assert study.prepare(()).device == make_fabric(study.spec.hardware).device.type
