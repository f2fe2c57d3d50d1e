"""A real Redis for the tests that need one. `make test-state` installs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.redis_server import RedisServer, redis_program


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for a module, which its tests may kill, as long as it runs again afterwards."""
    with RedisServer(redis_folder(tmp_path_factory), unix_socket=True) as server:
        yield server


def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a server; where none is installed the test is skipped."""
    if redis_program() is None:
        pytest.skip("there is no redis-server: make test-state installs it")
    return tmp_path_factory.mktemp("redis")
