"""Machines for the doctor to look at: one without proxies, and an empty folder on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers import live_checks


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run without the machine's proxies and authorities."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT", "REQUESTS_CA", "CURL_CA")):
            monkeypatch.delenv(name)


@pytest.fixture
def key_to_ask(no_proxies: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the key of the server that is asked."""
    monkeypatch.setenv("MY_KEY", live_checks.KEY)


@pytest.fixture
def here(no_proxies: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, which is the home as well."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path
