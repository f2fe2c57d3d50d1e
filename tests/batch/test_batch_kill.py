"""Killed with -9 at any moment, and started again: one answer a row, and few rows are asked twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path
from time import sleep

from helpers.batch_support import lines, texts
from helpers.command_line import command
from helpers.servers import Received, Server, answering_by, completion, json_answer

ROWS = 2000
AT_ONCE = 8
KILLS = 5


def ids_in(out: Path) -> set[str]:
    """The ids of the whole lines of an output that is being written."""
    whole = out.read_bytes().rpartition(b"\n")[0] if out.exists() else b""
    return {json.loads(line)["id"] for line in whole.split(b"\n") if line}


def test_2000_rows_killed_five_times_have_one_answer_each(tmp_path: Path) -> None:
    """Asked twice are at most the rows that were in flight when the process was killed."""
    asked: Counter[str] = Counter()

    def answer(received: Received) -> bytes:
        prompt = received.json["messages"][0]["content"]
        asked[prompt] += 1
        return json_answer(completion(prompt.upper()))

    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"id": f"r{n}", "prompt": f"row {n}"}) + "\n" for n in range(ROWS)))
    chance = random.Random(13)
    with Server(answering_by(answer)) as server:
        config = {
            "providers": {"p": {"type": "http", "base_url": server.url}},
            "roles": {"r": {"provider": "p", "model": "m"}},
            "trace": {"dir": str(tmp_path / "traces")},
        }
        (tmp_path / "c.json").write_text(json.dumps({"llm": config}))
        line = command(
            "batch", str(rows), "-o", str(out), "--role", "r", "--concurrency", str(AT_ONCE), "--config",
            str(tmp_path / "c.json"),
        )  # fmt: skip
        in_flight: Counter[str] = Counter()
        for kill in range(KILLS):
            wanted = (kill + chance.random()) * ROWS / (KILLS + 1)
            with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
                while child.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < wanted):
                    sleep(0.002)
                child.send_signal(signal.SIGKILL)
                child.wait()
            sleep(0.05)  # what was sent just before the kill is counted too
            written = {f"row {id_[1:]}" for id_ in ids_in(out)}
            in_flight.update(prompt for prompt in asked if prompt not in written and asked[prompt] > in_flight[prompt])
            assert sum(asked.values()) - len(written) <= AT_ONCE * (kill + 1)
        done = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert texts(out) == {f"r{n}": f"ROW {n}" for n in range(ROWS)}
    twice = {prompt: count - 1 for prompt, count in asked.items() if count > 1}
    assert twice == dict(in_flight)
    assert sum(twice.values()) <= AT_ONCE * KILLS
    assert not lines(tmp_path / "out.errors.jsonl")
    assert os.fspath(out) in done.stderr.decode()
