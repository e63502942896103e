"""Names that were renamed: each old one works and warns once, at the line that uses it."""

import warnings
from pathlib import Path

import pytest
from torch import nn

from slopewise.monitor import Monitor
from slopewise.support import deprecated, need_not_warn, warn_once


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


def test_a_topic_is_warned_of_once_and_not_at_all_where_that_is_not_needed() -> None:
    def check(topic: str, layer: int) -> None:
        warn_once(topic, f"layer {layer}", UserWarning)

    need_not_warn("this.known")
    with warnings.catch_warnings(record=True, action="always") as caught:
        check("this.known", 1)
        check("this.topic", 2)
        check("this.topic", 3)
    assert [(str(warning.message), warning.category) for warning in caught] == [("layer 2", UserWarning)]
    assert caught[0].filename == __file__
    assert "check" in Path(__file__).read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]


def test_the_records_of_a_monitor_are_its_samples() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    with Monitor(model) as monitor:
        monitor.step_done()
    with pytest.warns(DeprecationWarning, match=r"Monitor\.records is deprecated .* use Monitor\.samples"):
        records = monitor.records
    assert records == monitor.samples == monitor.records
    assert len(records) == 1
