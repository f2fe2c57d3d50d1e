"""The live page in a browser: new calls appear by themselves, and no page of another site can read any."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from helpers.chromium import Browser
from helpers.records import make
from helpers.served import served
from helpers.support import EPOCH
from lee_llm_router import LocalFileTraceStore
from lee_llm_router.telemetry.query import CallFilter
from lee_llm_router.telemetry.report.feed import CallFeed
from lee_llm_router.telemetry.report.server import ReportServer

pytestmark = pytest.mark.browser


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalFileTraceStore]:
    files = LocalFileTraceStore(tmp_path)
    files.write(make("first", error="a secret", outcome="error", verdict="raise", failure_type="TIMEOUT"))
    yield files
    files.close()


@pytest.fixture
def server(store: LocalFileTraceStore) -> Iterator[ReportServer]:
    running = ReportServer(CallFeed(store, CallFilter(), 100, {}))
    yield from served(running)


def test_new_calls_appear_by_themselves(browser: Browser, server: ReportServer, store: LocalFileTraceStore) -> None:
    """Each once, with its texts; what is chosen stays, and nothing else is asked for."""
    page = browser.page()
    page.open(server.url)
    page.until("document.querySelector('#live').innerText === 'Live'")
    page.press("j")
    store.write(make("second", outcome="error", verdict="retry", failure_type="RATE_LIMIT", text="<b>half</b>"))
    page.until("document.querySelector('#shown-calls').innerText === '2 calls'")
    store.write(make("second", 1, text="an answer"))
    page.until("[...document.querySelectorAll('.outcome')].some(one => one.innerText === 'ok')")
    assert page.text("#shown-calls") == "2 calls"
    page.press("Enter")
    assert "a secret" in page.text("#details")
    assert page.errors == []
    assert {request.partition("?")[0] for request in page.requests} == {
        f"http://127.0.0.1:{server.server_port}/{path}" for path in ("", "calls")
    }


def test_new_calls_push_nothing_away(browser: Browser, server: ReportServer, store: LocalFileTraceStore) -> None:
    """What is in sight stays where it is, what is selected stays so, and an opened call shows how it goes on."""
    for number in range(80):
        store.write(make(f"old {number}", at=EPOCH + number))
    store.write(make("under way", at=EPOCH + 90, outcome="error", verdict="retry", failure_type="TIMEOUT"))
    page = browser.page()
    page.open(server.url)
    page.press("j")
    page.press("Enter")
    page.run("scrollTo(0, 1500)")
    page.settle()
    place = "[...document.querySelectorAll('#rows .row')].find(one => one.innerText.includes('08:00:40'))"
    place = f"Math.round({place}.getBoundingClientRect().top)"
    before = page.run(place)
    for number in range(7):
        store.write(make(f"new {number}", at=EPOCH + 200 + number))
    store.write(make("under way", 1, at=EPOCH + 91, error="a late answer"))
    page.until("document.querySelector('#shown-calls').innerText === '89 calls'")
    page.until("document.querySelector('#details .outcome').innerText === 'ok'")
    assert page.run(place) == before
    assert "under way" in page.text("#details")
    page.press("Escape")
    page.press("k")
    page.press("Enter")
    assert "new 0" in page.text("#details")


def test_a_server_that_has_ended_is_said(browser: Browser, store: LocalFileTraceStore) -> None:
    serving = served(ReportServer(CallFeed(store, CallFilter(), 100, {})))
    running = next(serving)
    page = browser.page()
    page.open(running.url)
    page.until("document.querySelector('#live').innerText === 'Live'")
    assert next(serving, None) is None
    page.until("document.querySelector('#live').innerText === 'Not connected'")
    assert page.text("#shown-calls") == "1 call"


def test_a_page_that_has_missed_too_much_loads_anew_with_what_was_chosen(
    browser: Browser, server: ReportServer, store: LocalFileTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lee_llm_router.telemetry.report.feed._MOST_CHANGES", 1)
    page = browser.page()
    page.open(server.url)
    page.run(
        "(() => { const found = document.querySelector('#choose-status'); found.value = 'error';"
        "found.dispatchEvent(new Event('change')) })()"
    )
    for number in range(5):
        store.write(make(f"more {number}"))
    page.until("document.querySelector('#shown-calls').innerText === '1 of 6 calls'")


def test_without_the_token_there_is_nothing_to_see(browser: Browser, server: ReportServer) -> None:
    page = browser.page()
    page.open(f"http://127.0.0.1:{server.server_port}/")
    assert "token" in page.text("body")
    assert "a secret" not in page.text("body")


def test_a_page_of_another_origin_can_read_nothing(browser: Browser, server: ReportServer) -> None:
    """By fetch in every mode, as script, frame, picture or style: even if it knows the address with its token."""

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><body>")

        def log_message(self, format: str, *args: object) -> None: ...

    serving = served(HTTPServer(("127.0.0.1", 0), Evil))
    evil = next(serving)
    page = browser.page()
    page.open(f"http://127.0.0.1:{evil.server_port}/")
    read = page.run(
        f"(async () => {{ const url = '{server.url}', found = [];"
        "for (const options of [{}, {mode: 'no-cors'}, {credentials: 'include'}, {headers: {'X-Report-Token': 'x'}}])"
        "  found.push(await fetch(url, options).then(answer => answer.text()).catch(() => ''));"
        "const frame = document.createElement('iframe'); frame.src = url; document.body.append(frame);"
        "await new Promise(done => frame.onload = done);"
        "try { found.push(frame.contentDocument?.body.innerText ?? '') } catch { found.push('') }"
        "for (const [tag, name] of [['script', 'src'], ['img', 'src'], ['link', 'href']]) {"
        "  const one = document.createElement(tag); one[name] = url; one.rel = 'stylesheet'; document.head.append(one);"
        "  found.push(await new Promise(done => { one.onload = () => done('loaded'); one.onerror = () => done('') })) }"
        "return found })()"
    )
    assert read == [""] * 8
    assert next(serving, None) is None
