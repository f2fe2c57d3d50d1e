"""The report in a browser: it shows what the traces say, obeys clicks and keys, and obeys nothing that a trace says."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser.conftest import Opened
from helpers.chromium import Page
from helpers.hostile_traces import ATTACKS, hostile_traces
from helpers.records import make
from helpers.support import EPOCH
from helpers.trace_set import trace_set
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.records import TraceRecord

pytestmark = pytest.mark.browser

ROWS = "[...document.querySelectorAll('#rows .row')].sort((a, b) => a.dataset.at - b.dataset.at)"


def _number(page: Page, title: str) -> str:
    """What the page says under one of its headings."""
    return str(
        page.run(
            "[...document.querySelectorAll('.number')].find(one => one.querySelector('h2').innerText === "
            f"'{title}').querySelector('p').innerText"
        )
    )


def _column(page: Page, place: int) -> list[str]:
    return list(page.run(f"{ROWS}.map(row => row.children[{place}].innerText)"))


def _choose(page: Page, name: str, value: str) -> None:
    page.run(
        f"(() => {{ const found = document.querySelector('#choose-{name}'); found.value = '{value}';"
        "found.dispatchEvent(new Event('change')) })()"
    )
    page.settle()


def test_the_numbers_are_those_of_the_calls(opened: Opened) -> None:
    """Calls, error rate, saved, tokens; and each call has a row, the newest first."""
    records = list(trace_set(40, seed=2))
    calls = calls_from(records)
    page = opened(records, height=2400)
    failed, saved = sum(call.outcome == "error" for call in calls), sum(call.is_saved for call in calls)
    assert _number(page, "Calls") == "40"
    assert _number(page, "Error rate") == f"{int(100 * failed / 40 + 0.5)}%"
    assert _number(page, "Saved by fallback") == str(saved)
    assert page.run("document.querySelector('#calls .calls-head p').innerText") == "40 calls"
    newest = [call.started.strftime("%H:%M:%S") for call in reversed(calls) if call.started]
    assert [text[-8:] for text in _column(page, 0)] == newest
    assert page.run("document.querySelector('#grid').getAttribute('aria-rowcount')") == "41"


def test_filters_narrow_table_numbers_and_charts(opened: Opened) -> None:
    """By role, provider, model, outcome and failure; what is chosen can be cleared."""
    records = list(trace_set(200, seed=4))
    calls = calls_from(records)
    page = opened(records)
    _choose(page, "role", "planner")
    assert _number(page, "Calls") == str(sum(call.role == "planner" for call in calls))
    _choose(page, "status", "saved")
    assert _number(page, "Calls") == str(sum(call.role == "planner" and call.is_saved for call in calls))
    page.press("x")
    _choose(page, "failure", "TIMEOUT")
    timeouts = [call for call in calls if any(record.failure_type == "TIMEOUT" for record in call.records)]
    assert _number(page, "Calls") == str(len(timeouts))
    page.click("#reset")
    _choose(page, "model", "gpt-5")
    assert _number(page, "Calls") == str(
        sum(any("gpt-5" in (record.model, record.served_model) for record in call.records) for call in calls)
    )


def test_a_search_finds_words_anywhere(opened: Opened) -> None:
    """In errors, metadata, captured texts and ids, in any case; all words must be there, quoted ones as they stand."""
    records = [
        make("first-id", error="Bad GATEWAY", outcome="error", verdict="raise", failure_type="PROVIDER_ERROR"),
        make("second", metadata={"tenant": "Acme"}, text="Bring blankets"),
        make("third", messages=({"role": "user", "content": [{"type": "text", "text": "Where is the gateway?"}]},)),
    ]
    page = opened(records)
    for text, found in (
        ("gateway", 2), ("bad gateway", 1), ('"the gateway"', 1), ("gateway the", 1), ("ACME", 1), ("blankets", 1),
        ("first-id", 1), ("nowhere", 0), ("", 3),
    ):  # fmt: skip
        page.press("/")
        page.run("document.activeElement.value = ''")
        page.type(text)
        page.run("document.activeElement.dispatchEvent(new Event('input'))")
        page.until(f"document.querySelector('#shown-calls').innerText.startsWith('{found} ')")
        page.press("Escape")
    assert page.run("document.activeElement === document.body")


def test_keys_move_open_and_close(opened: Opened) -> None:
    """j, k and arrows move; Enter opens; Escape closes, and the focus is where it was; ? shows the keys."""
    page = opened(list(trace_set(60, seed=5)))
    chosen = "document.querySelector('.row.chosen')?.dataset.at ?? null"
    for key, at in (
        ("j", "0"), ("j", "1"), ("ArrowDown", "2"), ("k", "1"), ("ArrowUp", "0"), ("k", "0"), ("G", "59"), ("g", "0"),
    ):  # fmt: skip
        page.press(key)
        assert page.run(chosen) == at, key
    page.press("Enter")
    first = page.text("#details")
    assert page.run("document.querySelector('#details').contains(document.activeElement)")
    page.press("j")
    assert page.text("#details") != first
    page.press("Escape")
    assert page.run("document.querySelector('#details').hidden")
    page.press("?")
    assert page.run("document.querySelector('#help').open")
    page.press("Escape")
    assert not page.run("document.querySelector('#help').open")


def test_a_click_on_a_row_shows_the_waterfall(opened: Opened) -> None:
    """Each attempt with its bar at its place, why it was made, what it waited for and how it ended."""
    records = [
        make(outcome="error", verdict="retry", failure_type="RATE_LIMIT", status_code=429, error="slow down",
             provider="openai", model="gpt-5", elapsed_ms=250.0, offset_ms=0.0, wait_ms=500.0,
             reason="first of the chain"),
        make(attempt=1, provider="local", model="smollm2", at=EPOCH + 0.75, offset_ms=750.0, elapsed_ms=250.0,
             waited_for="openai: a backoff", reason="fallback after openai/gpt-5: RATE_LIMIT", text="Hello there.",
             messages=({"role": "user", "content": "Say hello."},)),
    ]  # fmt: skip
    page = opened(records)
    page.click("#rows .row")
    text = page.text("#details")
    for told in (
        "openai/gpt-5", "RATE_LIMIT 429", "slow down", "first of the chain", "local/smollm2", "Say hello.",
        "fallback after openai/gpt-5: RATE_LIMIT", "waited 500 ms for openai: a backoff", "Hello there.", "1.00 s",
    ):  # fmt: skip
        assert told in text
    places = page.run(
        "[...document.querySelectorAll('.track')].map(track => { const all = track.getBoundingClientRect();"
        "return [...track.querySelectorAll('i')].map(bar => { const box = bar.getBoundingClientRect();"
        "return [bar.className, Math.round(100 * (box.left - all.left) / all.width),"
        " Math.round(100 * box.width / all.width)] }) })"
    )
    assert places == [[["error", 0, 25]], [["wait", 25, 50], ["ok", 75, 25]]]


def test_columns_sort_both_ways(opened: Opened) -> None:
    page = opened(list(trace_set(50, seed=6)), height=2400)
    page.click("#column-role button")
    roles = _column(page, 1)
    assert roles == sorted(roles)
    page.click("#column-role button")
    assert _column(page, 1) == sorted(roles, reverse=True)
    for place, name in enumerate(("start", "role", "outcome", "target", "course", "total", "first", "tokens", "cost")):
        page.click(f"#column-{name} button")
        assert page.run(f"document.querySelector('#column-{name}').getAttribute('aria-sort')") in (
            "ascending",
            "descending",
        )
        assert page.run("document.querySelectorAll('[aria-sort]').length") == 1
        assert len(_column(page, place)) == 50


def test_a_drag_over_a_chart_chooses_a_time(opened: Opened) -> None:
    """And what is chosen stands above the table, where a click clears it."""
    page = opened(list(trace_set(300, seed=8)))
    page.drag(".plot", 0.4, 0.6)
    shown = int(_number(page, "Calls"))
    assert 20 < shown < 150
    page.click("#span-chip")
    assert _number(page, "Calls") == "300"


def test_a_bar_of_a_list_chooses_what_it_stands_for(opened: Opened) -> None:
    page = opened(list(trace_set(200, seed=9)))
    page.click("article:nth-child(3) .bars button")
    assert page.run("document.querySelector('#choose-failure').value") != ""
    page.press("x")
    page.click("article:nth-child(4) .bars button")
    assert page.run("document.querySelector('#choose-role').value") != ""


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_nothing_that_a_trace_says_is_obeyed(opened: Opened, attack: str) -> None:
    """In the table, charts and details, searched for and printed it is text: no script runs, nothing is asked for."""
    page = opened([*hostile_traces([attack]), *trace_set(3)])
    elements = "document.querySelectorAll('script, img, iframe, object, embed, link, base, meta').length"
    before = page.run(elements)
    for key in ("j", "Enter", "j", "j", "Escape"):
        page.press(key)
    page.press("g")
    page.press("/")
    page.type(attack.replace('"', "")[:30])
    page.press("Enter")
    page.press("x")
    _choose(page, "role", "planner")
    page.run("window.dispatchEvent(new Event('beforeprint')); window.dispatchEvent(new Event('afterprint'))")
    page.run("document.querySelectorAll('button').forEach(one => one.dispatchEvent(new MouseEvent('mouseover')))")
    page.settle()
    assert page.run("typeof window.__hacked") == "undefined"
    assert page.run("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")
    assert page.run(elements) == before


def test_control_characters_are_shown_by_their_number(opened: Opened) -> None:
    """What would turn the direction of text or move a cursor is neither obeyed nor lost."""
    page = opened([make(error="\x1b[2J and \u202emirrored", outcome="error", verdict="raise", failure_type="UNKNOWN")])
    page.click("#rows .row")
    assert "\\x1b[2J and \\u202emirrored" in page.text("#details")


def test_ten_thousand_calls_are_few_elements(opened: Opened) -> None:
    """Wherever the page is scrolled to, the table has the rows in sight and a few more, each at its place."""
    page = opened(list(trace_set(10_000, seed=10)))
    for place in (0, 5_000, 123_456, 10**7):
        page.run(f"scrollTo(0, {place})")
        page.settle()
        assert page.run("document.querySelectorAll('*').length") < 2500
        seen = page.run(
            f"{ROWS}.filter(row => {{ const box = row.getBoundingClientRect();"
            "return box.top >= 100 && box.bottom <= innerHeight }).map(row => Number(row.dataset.at))"
        )
        assert seen == list(range(seen[0], seen[0] + len(seen))) if seen else place == 0
    assert seen[-1] == 9_999


def test_scrolling_costs_the_same_however_many_calls_there_are(opened: Opened) -> None:
    """The median time of a frame with 10,000 calls is at most some times that with 300."""
    times = [_frame_ms(opened(list(trace_set(number, seed=11)))) for number in (300, 10_000)]
    assert times[1] < 5 * times[0] + 20


def _frame_ms(page: Page) -> float:
    return float(
        page.run(
            "new Promise(done => { const took = []; let last = performance.now(); const step = () => {"
            "const now = performance.now(); took.push(now - last); last = now; scrollBy(0, 60);"
            "if (took.length < 90) requestAnimationFrame(step); else done(took.sort((a, b) => a - b)[45]) };"
            "requestAnimationFrame(step) })"
        )
    )


def test_older_calls_count_in_numbers_and_charts(opened: Opened) -> None:
    """Above the limit calls are sums; the page says so, and leaves them out where they cannot be told apart."""
    records = list(trace_set(300, seed=12))
    page = opened(records, most=100)
    assert _number(page, "Calls") == "300"
    assert page.text("#shown-calls") == "100 calls"
    assert "200 older calls are summed up" in page.text("#notes")
    _choose(page, "model", "gpt-5")
    assert int(_number(page, "Calls")) < 100
    assert "leaves them out" in page.text("#notes")


def test_what_is_unknown_is_said(opened: Opened) -> None:
    """A cost that nobody knows is a dash and no zero; where some of it is known it is a lower bound."""
    unknown, known = list(trace_set(30, seed=13)), [make("x", cost_usd=0.5)]
    page = opened(known)
    assert _number(page, "Cost") == "$0.5000"
    page = opened([record for record in unknown if record.provider == "local"])
    assert _number(page, "Cost") == "–"
    page = opened([*known, *(record for record in unknown if record.provider == "local")])
    assert _number(page, "Cost").startswith("≥ $0.50")


@pytest.mark.parametrize("about", [{}, {"filter": "role nobody"}])
def test_without_calls_the_page_says_what_to_do(opened: Opened, about: dict[str, str]) -> None:
    page = opened([], **about)
    assert "No call" in page.text("#nothing")
    page.press("j")
    page.press("Enter")


def test_odd_records_are_shown(opened: Opened) -> None:
    """Unfinished, cancelled, skipped, without a target, a time or a number, with numbers that cannot be true."""
    records = [
        make("unfinished", outcome="error", verdict="retry", failure_type="TIMEOUT"),
        make("cancelled", outcome="cancelled", verdict="raise", failure_type="CANCELLED"),
        make("skipped", None, outcome="skipped", verdict="next", provider="a", error="it takes no tools"),
        make("skipped", None, outcome="error", verdict="raise", failure_type="UNAVAILABLE", elapsed_ms=5e3),
        make("odd", elapsed_ms=-1.0, first_token_ms=1e300, status_code=-9, outcome="error", verdict="raise"),
        TraceRecord(request_id="timeless", attempt=0, role="", started_at="?", outcome="ok", verdict="return"),
        make("long", error="e" * 5000, outcome="error", verdict="raise", metadata={"m": list(range(500))}),
    ]  # fmt: skip
    page = opened(records)
    for _ in records:
        page.press("j")
        page.press("Enter")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert "it takes no tools" in " ".join(
        page.run(f"(({ROWS}).map(row => (row.click(), document.querySelector('#details').innerText)))")
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_users_colours_and_has_a_switch(opened: Opened, scheme: str) -> None:
    page = opened(list(trace_set(5)))
    theme = "document.documentElement.dataset.theme"
    page.prefer(color_scheme=scheme)
    page.settle()
    assert page.run(theme) == scheme
    seen = []
    for _ in range(3):
        page.press("t")
        seen.append(page.run(theme))
    assert seen == ["light", "dark", scheme]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(opened: Opened, theme: str) -> None:
    """By at least 4.5 to 1, as WCAG 2 asks for texts of this size."""
    page = opened(list(trace_set(60, seed=5, full=True)))
    page.prefer(color_scheme=theme)
    _choose(page, "status", "saved")
    page.press("j")
    page.press("Enter")
    assert page.run((Path(__file__).parent / "contrast.js").read_text()) == []


def test_everything_that_can_be_used_has_a_name(opened: Opened) -> None:
    """Buttons, fields, lists and pictures say what they are to those who do not see them; rows belong to a grid."""
    page = opened(list(trace_set(60, seed=5)))
    page.press("j")
    page.press("Enter")
    tree = page.ask("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "textbox", "searchbox", "combobox", "img", "image", "dialog", "grid", "columnheader", "link"}
    nameless = [
        node["role"]["value"] for node in tree
        if not node.get("ignored") and node.get("role", {}).get("value") in named
        and not node.get("name", {}).get("value")
    ]  # fmt: skip
    assert nameless == []
    assert {"grid", "dialog", "search"} <= {node.get("role", {}).get("value") for node in tree}


def test_printed_the_page_is_light_and_shows_rows_one_below_the_other(opened: Opened) -> None:
    page = opened(list(trace_set(700, seed=5)))
    page.prefer(color_scheme="dark")
    page.ask("Emulation.setEmulatedMedia", media="print")
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    page.settle()
    assert page.run("document.documentElement.dataset.theme") == "light"
    tops = page.run(f"{ROWS}.map(row => row.getBoundingClientRect().top)")
    assert len(tops) == 500
    assert tops == sorted(set(tops))
    assert page.run(f"[...{ROWS}[0].children].every(cell => cell.getClientRects().length)")
    page.ask("Emulation.setEmulatedMedia", media="")
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert page.run("document.querySelectorAll('#rows .row').length") < 100


@pytest.mark.parametrize("width", [320, 480, 768, 1024, 1280, 2200])
def test_nothing_runs_out_of_the_window(opened: Opened, width: int) -> None:
    """At the widths of telephones and of large screens, with a call opened and without."""
    page = opened(list(trace_set(80, seed=5, full=True)))
    page.resize(width, 800)
    page.settle()
    assert page.run("document.documentElement.scrollWidth") <= width
    page.press("j")
    page.press("Enter")
    assert page.run("document.querySelector('#details').getBoundingClientRect().width") <= width
    assert page.run("document.querySelector('.details-body').scrollWidth") <= width
