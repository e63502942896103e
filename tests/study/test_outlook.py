"""The pace that is measured before the first trial: on a network of one's own in two memory formats."""

import pytest
from torch import nn

from slopewise import Study

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
