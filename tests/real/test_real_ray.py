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
from helpers.redis_server import RedisServer, redis_program

pytestmark = pytest.mark.real

PROGRAM = Path(__file__).with_name("ray_dataset.py")
HANG = 300


def answered(folder: Path, rows: list[Any], config: Any, batch_format: str, **stage: Any) -> list[dict[str, Any]]:
    """The rows of a dataset, answered by two actors. `folder` is on their path, as the current one is."""
    python = os.environ.get("LEE_REAL_RAY", "")
    if not python or shutil.which(python) is None:
        pytest.skip("LEE_REAL_RAY does not name a Python with Ray")
    told = {"config": config, "rows": rows, "batch_format": batch_format, "batch_size": 10, "stage": stage}
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [python, str(PROGRAM), json.dumps(told)],
        check=False, capture_output=True, text=True, timeout=HANG, env=environment, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("batch_format", ["numpy", "pandas", "pyarrow"])
def test_two_actors_answer_each_row_once_in_every_form_of_batch(batch_format: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"say {number}", "number": number} for number in range(60)] + [{"prompt": "", "number": 60}]
    with CountingServer(delay=0.05) as server:
        found = answered(tmp_path, rows, server.config(), batch_format, role="r", id="number")
        assert server.asked == {f"say {number}": 1 for number in range(60)}
    assert len(found) == 61
    for row in found:
        if row["prompt"]:
            assert row["answer_text"] == f"answer to {row['prompt']}"
        else:
            assert row["answer_error"] == "BROKEN_ROW"


def test_two_actors_that_share_their_state_by_redis_hold_the_limits_together(tmp_path: Path) -> None:
    """Each asks up to 16 rows at once, and the provider takes 4."""
    if redis_program() is None:
        pytest.skip("redis-server is not installed")
    rows = [{"prompt": f"say {number}"} for number in range(80)]
    with RedisServer(tmp_path) as redis, CountingServer(delay=0.1) as server:
        config = server.config(max_concurrency=4)
        config["llm"]["state"] = {"type": "redis", "url": redis.url}
        found = answered(tmp_path, rows, config, "numpy", role="r", concurrency=16)
        assert server.asked == {row["prompt"]: 1 for row in rows}
        assert server.most_under_way <= 4
    assert [row["answer_error"] for row in found] == [None] * 80
