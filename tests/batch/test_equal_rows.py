"""Equal rows are rows of their own, however far from each other they stand, and in each run anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.batch_support import Asked, texts

CHUNK = [f"row {number}" for number in range(300)]
"""More rows than are read at once."""


@pytest.mark.parametrize(
    "rows",
    [
        ["same", "same", *CHUNK, "same"],
        ["same", "same", *CHUNK, "same", "same", *CHUNK, "same"],
        ["same", *CHUNK, "same", "same", *CHUNK, "same"],
        ["same", "same", "same", *CHUNK, *CHUNK, "same", "same"],
    ],
    ids=["2+1", "2+2+1", "1+2+1", "3+2"],
)
@pytest.mark.parametrize("concurrency", [1, 500])
def test_equal_rows_near_and_far_are_each_answered_once_and_not_again(
    rows: list[str], concurrency: int, tmp_path: Path
) -> None:
    asked, out = Asked(), tmp_path / "out.jsonl"
    with asked.router() as router:
        report = router.batch(rows, out=out, concurrency=concurrency)
        assert (report.rows, report.answered, report.is_complete) == (len(rows), len(rows), True)
        assert sorted(texts(out).values()) == sorted(row.upper() for row in rows)
        again = router.batch([*rows, "same"], out=out, concurrency=concurrency, append=True)
    assert (again.already_answered, again.answered) == (len(rows), 1)
    assert len(asked.prompts) == len(rows) + 1
    assert sorted(texts(out).values()) == sorted(row.upper() for row in [*rows, "same"])
