"""Nothing lost in an outage? Plays outages with this router, litellm's Router and the openai SDK, sync and async.

Run it with ``python benchmarks/outage.py``: a quarter of an hour. ``--ours`` measures this router alone (six minutes),
``--quick`` too, in smaller batches (two minutes). It prints one table, and exits 1 if a bar of this router is missed.
Libraries that are not installed are left out (``make bench`` installs them into ``.bench``). All have five retries,
where the table does not say otherwise. Each play has a process and a server of its own; the server takes 50 ms for
each request. The scenes:

- restart: the server is gone for 2.5 s, its open connections are reset;
- flap: it is there for a second and gone for a second, for as long as the batch lasts;
- shaky: a fifth of its answers are 503s;
- each of them with a fallback that is well, beside the same calls without an outage;
- busy: it answers 503 for 8 s, while 16 calls wait; with ``patience: 0`` a call then ends at once;
- dead key: it answers 401, its fallback is well: 50 calls, one every 1.2 s, in real time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent))  # for `python -m benchmarks.outage`

from outages import report
from outages.libraries import PEERS, can_be_impatient, installed_peers
from outages.play import Result
from outages.scenes import Play, dead_key_plays, plays

LONGEST = 300.0
"""Seconds after which a play is stopped."""


def played(play: Play) -> Result:
    """Play in a process of its own."""
    command = [sys.executable, "-m", "outages.play", json.dumps(asdict(play.scene)), play.library, play.way]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEE_LLM_ROUTER_")}
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**kept, "PYTHONPATH": path, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return Result(stopped=f"stopped after {LONGEST:.0f} s")
    if not done.stdout:
        return Result(stopped=f"its process ended: {done.stderr.strip()[-300:]}")
    return Result(**json.loads(done.stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all scenes, print the table, and return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller batches, and only this router")
    parser.add_argument("--ours", action="store_true", help="only this router")
    chosen = parser.parse_args(arguments)
    quick, alone = chosen.quick, chosen.quick or chosen.ours
    peers = [] if alone else installed_peers()
    for name in PEERS:
        if name not in peers and not alone:
            print(f"{name} is not installed and not measured")
    if not can_be_impatient():
        print("this router has no setting retry.patience: that scene is left out")
    began = perf_counter()
    results: dict[Play, Result] = {}
    print(report.heading(), flush=True)

    def show(group: Sequence[Play], futures: Sequence[Future[Result]]) -> None:
        for play, future in zip(group, futures, strict=True):
            results[play] = future.result()
            print(report.row(play, results), flush=True)

    with ThreadPoolExecutor(8) as threads:
        slow = dead_key_plays(quick, peers)
        beside = [threads.submit(played, play) for play in slow]
        for group in plays(quick, peers):
            show(group, [threads.submit(played, play) for play in group])
        show(slow, beside)
    missed = [(play, bar) for play in results for bar in report.missed_bars(play, results)]
    print(f"\n{perf_counter() - began:.0f} s. Bars missed: {len(missed)}")
    for play, bar in missed:
        print(f"  {play.scene.title}, {play.library}, {play.way}: {bar}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
