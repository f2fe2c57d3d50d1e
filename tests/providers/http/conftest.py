"""Each way to carry a request, and to read a stream, for promises that all of them keep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.stream_support import READERS, Read, no_descriptor_left, reader
from helpers.transports import TRANSPORTS, under_test


@pytest.fixture(params=TRANSPORTS)
def each_transport(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make `transport_to` make transports of each kind."""
    with under_test(request.param):
        yield


@pytest.fixture(params=READERS)
def read(request: pytest.FixtureRequest) -> Read:
    """Each way to read a stream."""
    return reader(request.param)


@pytest.fixture
def no_leak() -> Iterator[None]:
    """No descriptor may be left open."""
    with no_descriptor_left():
        yield
