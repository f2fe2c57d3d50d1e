"""Routers of many processes that share: do limits hold, are breakers passed on, is anything lost when Redis breaks?

Run it with ``python benchmarks/shared_state.py``: five minutes; needs redis-server and the package redis. ``--quick``
leaves out the minute over which limits are measured; ``--state sqlite`` plays on a file what can be played on one.
Exits 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from sharing.cost import cost_of_a_call
from sharing.scenes import Measured, breaker_is_passed_on, limits_hold, outages, permits_come_back

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.redis_server import RedisServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all scenes, print a table, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave out the minute of limits")
    parser.add_argument("--state", choices=("redis", "sqlite"), default="redis")
    chosen = parser.parse_args(arguments)
    missed = 0

    def show(rows: list[Measured]) -> None:
        nonlocal missed
        for row in rows:
            missed += not row.holds
            mark = "" if row.holds else "   MISSED"
            print(f"{row.what:64} {row.value:8.1f} {row.unit:8} at most {row.most:g}{mark}", flush=True)

    with TemporaryDirectory() as name, RedisServer(Path(name)) as redis:
        state: dict[str, Any] = {"type": "sqlite", "path": f"{name}/state.sqlite"}
        if chosen.state == "redis":
            state = {"type": "redis", "url": redis.url}
        show(breaker_is_passed_on(state, 3))
        show(permits_come_back(state))
        show(cost_of_a_call(state))
        if not chosen.quick:
            show(limits_hold(state, 62))
        if chosen.state == "redis":
            (folder := Path(name) / "outages").mkdir()
            show(outages(folder, at_once=200, seconds=8))
    print(f"Bars missed: {missed}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
