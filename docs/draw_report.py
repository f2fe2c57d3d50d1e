"""Take the pictures of the report, light and dark, from a seeded set of traces, in Chromium.

Run it with ``python docs/draw_report.py`` after a change of the page. ``make test-browser`` installs
Chromium.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.chromium import chromium
from helpers.trace_set import WEEK_START, trace_set
from lee_llm_router.telemetry.calls import calls_from
from lee_llm_router.telemetry.report.call_rows import rows_of
from lee_llm_router.telemetry.report.page import page_text

DOCS = Path(__file__).parent
MADE = round((WEEK_START + 7 * 86_400) * 1000)
OPEN_A_SAVED_CALL = """(() => {
  const found = document.querySelector("#choose-status");
  found.value = "saved";
  found.dispatchEvent(new Event("change"));
})()"""


def main() -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, chromium(Path(folder)) as browser:
        report = Path(folder) / "report.html"
        calls = calls_from(trace_set(600, seed=21, full=True))
        report.write_bytes(page_text(rows_of(reversed(calls)), {"made": MADE}))
        for theme in ("light", "dark"):
            page = browser.page()
            page.resize(1320, 900, scale=1.5)
            page.prefer(color_scheme=theme, reduced_motion="reduce")
            page.open(report.as_uri())
            if theme == "dark":
                page.run(OPEN_A_SAVED_CALL)
                page.press("j")
                page.press("j")
                page.press("Enter")
            page.screenshot(DOCS / f"report-{theme}.png")


if __name__ == "__main__":
    main()
