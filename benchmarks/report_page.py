"""Measure the report in Chromium: its size, how long it takes to open and search, and frames while it scrolls.

Run it with ``python benchmarks/report_page.py``. ``make test-browser`` installs Chromium.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.chromium import Browser, chromium
from helpers.trace_set import trace_set
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.report.call_rows import rows_of
from lee_llm_router.telemetry.report.page import page_text

SIZES = (100, 1_000, 10_000, 100_000)
STEP = 60
"""Pixels scrolled in a frame: 3,600 a second, a hundred rows."""
FRAMES = """new Promise(done => {
  const took = [];
  let last = performance.now();
  const step = () => {
    const now = performance.now();
    took.push(now - last);
    last = now;
    scrollBy(0, %d);
    if (took.length < 180) requestAnimationFrame(step);
    else {
      took.shift();
      took.sort((a, b) => a - b);
      done([0.5, 0.95].map(share => took[Math.floor(share * took.length)]));
    }
  };
  requestAnimationFrame(step);
})"""


def main() -> None:
    """Print a row for each size."""
    print("   calls      size    opened  a frame, p50     p95    search")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chromium(Path(folder)) as browser:
        for size in SIZES:
            print("  ".join(_measured(browser, Path(folder) / f"{size}.html", size)), flush=True)


def _measured(browser: Browser, path: Path, size: int) -> Iterator[str]:
    calls = calls_from(trace_set(size, seed=1))
    path.write_bytes(page_text(rows_of(reversed(calls)), {"made": 0}))
    page = browser.page()
    began = time.monotonic()
    page.open(path.as_uri())
    opened = time.monotonic() - began
    half, most = page.run(FRAMES % STEP)
    page.run("scrollTo(0, 0)")
    began = time.monotonic()
    page.press("/")
    page.type("bad gateway")
    page.until("document.querySelector('#shown-calls').innerText.includes(' of ')")
    found = time.monotonic() - began
    yield f"{size:>8,}"
    yield f"{path.stat().st_size / 1e6:5.1f} MB"
    yield f"{opened:6.2f} s"
    yield f"{half:9.1f} ms"
    yield f"{most:5.1f} ms"
    yield f"{found:6.2f} s"


if __name__ == "__main__":
    main()
