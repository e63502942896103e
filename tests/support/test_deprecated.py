"""Names that were renamed: each old one works and warns once, at the line that uses it."""

import warnings

import pytest
from torch import nn

from slopewise.monitor import Monitor
from slopewise.support import deprecated


def test_each_name_warns_once() -> None:
    def old(name: str) -> None:
        deprecated(name, "this.new")

    with warnings.catch_warnings(record=True, action="always") as caught:
        old("this.first")
        old("this.second")
        old("this.first")
    messages = [str(warning.message) for warning in caught]
    assert [message.partition(" ")[0] for message in messages] == ["this.first", "this.second"]
    assert all(message.endswith("use this.new") for message in messages)
    assert {warning.filename for warning in caught} == {__file__}


def test_the_records_of_a_monitor_are_its_samples() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    with Monitor(model) as monitor:
        monitor.step_done()
    with pytest.warns(DeprecationWarning, match=r"Monitor\.records is deprecated .* use Monitor\.samples"):
        records = monitor.records
    assert records == monitor.samples == monitor.records
    assert len(records) == 1
