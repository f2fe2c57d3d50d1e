"""A Chromium for all tests of this folder, and pages in it. `make test-browser` installs it and runs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from helpers.chromium import Browser, Page, chromium
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.report.older_calls import gathered
from lee_llm_router.telemetry.report.page import page_text

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium without a window."""
    if not os.environ.get("LEE_BROWSER"):
        pytest.skip("make test-browser runs this in Chromium")
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Open the report of some records from a file. At the end no page has logged an error or asked for anything."""
    pages: list[tuple[Page, str]] = []

    def open_report(records: Sequence[TraceRecord], most: int = 100_000, height: int = 900, **about: Any) -> Page:
        path = tmp_path / f"report-{len(pages)}.html"
        rows, older = gathered(reversed(calls_from(records)), most)
        path.write_bytes(page_text(rows, {"made": 1_800_576_000_000, "older": older.rows(), **about}))
        page = browser.page(1280, height)
        page.open(path.as_uri())
        pages.append((page, path.as_uri()))
        return page

    yield open_report
    for page, uri in pages:
        page.settle()
        assert page.errors == []
        assert {request.partition("#")[0] for request in page.requests} == {uri}
