"""One thread: two test processes on two cores would only wait for each other's."""

from collections.abc import Iterator

import pytest

from slopewise.bench import using_threads


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with using_threads(1):
        yield
