"""Recording, sent to a sink again."""

from __future__ import annotations

from collections import deque

from slopewise.monitor.sinks._base import Sink
from slopewise.recording import Recording


def replay(recording: Recording, sink: Sink) -> None:
    """Send a recording to a sink in its order, as the monitor would have, for instance from a file into a tracker.

    The sink is not closed if the run did not end.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> class Printed(Sink):
        ...     def sample(self, sample):
        ...         print(sample.step)
        >>> replay(synthetic_recording(samples=2), Printed())
        1
        51
    """
    sink.start(recording.header)
    alarms = deque(recording.alarms)
    for sample in recording.samples:
        sink.sample(sample)
        while alarms and alarms[0].step <= sample.step:
            sink.alarm(alarms.popleft())
    for alarm in alarms:
        sink.alarm(alarm)
    if recording.end is not None:
        sink.close(recording.end)
