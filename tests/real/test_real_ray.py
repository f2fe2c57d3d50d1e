"""`RouterStage` in Ray Data: two actors, each row once, limits held by both together where they share their state.

`LEE_REAL_RAY` names a Python that has Ray and this package (`make test-ray`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from helpers.durable_batch import CountingServer

pytestmark = pytest.mark.real

PROGRAM = Path(__file__).with_name("ray_dataset.py")
HANG = 300


def answered(rows: list[Any], config: Any, batch_format: str, **stage: Any) -> list[dict[str, Any]]:
    """The rows of a dataset, answered by two actors."""
    python = os.environ.get("LEE_REAL_RAY", "")
    if not python or shutil.which(python) is None:
        pytest.skip("LEE_REAL_RAY does not name a Python with Ray")
    told = {"config": config, "rows": rows, "batch_format": batch_format, "batch_size": 10, "stage": stage}
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [python, str(PROGRAM), json.dumps(told)],
        check=False, capture_output=True, text=True, timeout=HANG, env=environment, cwd="/tmp",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("batch_format", ["numpy", "pandas", "pyarrow"])
def test_two_actors_answer_each_row_once_in_every_form_of_batch(batch_format: str) -> None:
    rows = [{"prompt": f"say {number}", "number": number} for number in range(60)] + [{"prompt": "", "number": 60}]
    with CountingServer(delay=0.05) as server:
        found = answered(rows, server.config(), batch_format, role="r", id="number")
        assert server.asked == {f"say {number}": 1 for number in range(60)}
    assert len(found) == 61
    for row in found:
        if row["prompt"]:
            assert row["answer_text"] == f"answer to {row['prompt']}"
        else:
            assert row["answer_error"] == "BROKEN_ROW"
