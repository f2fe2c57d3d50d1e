"""Options and metadata that a row brings: they hold for the row, and wrong ones fail the row and not the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, lines, texts
from lee_llm_router import BatchRow


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p", "options": {"metadata": "abc"}}, "options.metadata is not an object"),
        ({"prompt": "p", "options": {"metadata": [["a", 1]]}}, "options.metadata is not an object"),
        ({"prompt": "p", "options": {1: 2}}, "options has a name that is not text"),
        (BatchRow(id="a", messages="p", options={"metadata": "abc"}), "options.metadata is not an object"),
        (BatchRow(id="a", messages="p", options={"role": "r"}), "role is not an option of a call"),
        (BatchRow(id="a", messages="p", options=["x"]), "options is not an object"),  # type: ignore[arg-type]
        (BatchRow(id=7, messages="p"), "id is not text"),  # type: ignore[arg-type]
        (BatchRow(id="", messages="p"), "id is not text, or is empty"),
        (BatchRow(id="\ud800", messages="p"), "id holds half a character"),
    ],
)
def test_a_row_with_options_that_no_call_takes_is_told_and_the_others_are_asked(
    row: Any, reason: str, tmp_path: Path
) -> None:
    asked, out = Asked(), tmp_path / "out.jsonl"
    with asked.router() as router:
        report = router.batch(["before", row, "after"], out=out)
    assert sorted(texts(out).values()) == ["AFTER", "BEFORE"]
    (failure,) = lines(report.errors)
    assert (failure["line"], failure["error"]) == (2, "BROKEN_ROW")
    assert failure["message"].startswith(reason)


def test_metadata_of_a_row_replaces_that_of_its_batch_but_not_what_it_is_found_by(tmp_path: Path) -> None:
    own = {"customer": 7, "batch": "mine", "row": "mine"}
    asked = Asked()
    with asked.router() as router:
        report = router.batch(
            [{"id": "a", "prompt": "p", "metadata": own}],
            out=tmp_path / "out.jsonl",
            metadata={"customer": 1, "job": "j"},
        )
    (request,) = asked.requests
    assert request.metadata == {"customer": 7, "job": "j", "batch": report.batch_id, "row": "a"}
