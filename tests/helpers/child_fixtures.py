"""The check after every test of `providers/child_process/`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from helpers.child_support import HANG, descriptors


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    """Check that a test leaves no child, dead or alive, no descriptor and no thread."""
    before, threads = descriptors(), set(threading.enumerate())
    yield
    until = monotonic() + HANG
    while set(threading.enumerate()) - threads and monotonic() < until:
        sleep(0.01)
    assert not set(threading.enumerate()) - threads
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    # One may be new: listing the folder opens a descriptor.
    assert len(descriptors() - before) <= 1
