"""Killed with -9 while it speaks with the vendor, and started again: no row is sent twice, each has one answer."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

from helpers.batch_support import texts
from helpers.command_line import command
from helpers.vendor_batches import KEY, VendorServer

ROWS = 300


@pytest.mark.parametrize(
    ("vendor", "moments"),
    [
        ("openai", ["upload", "create", "results"]),
        ("anthropic", ["create"]),
        ("gemini", ["create"]),
    ],
)
def test_a_batch_that_is_killed_is_taken_up_again(
    vendor: str, moments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time after the vendor has done what was asked, and before the answer is there."""
    monkeypatch.setenv("VENDOR_KEY", KEY)
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"id": f"r{n}", "prompt": f"row {n}"}) + "\n" for n in range(ROWS)))
    children: list[subprocess.Popen[bytes]] = []
    left = [*moments]

    def kill(event: str) -> None:
        if left and event == left[0]:
            left.pop(0)
            children[-1].send_signal(signal.SIGKILL)
            raise OSError

    with VendorServer(vendor) as server:
        server.after = kill
        config = {**server.config(), "trace": {"dir": str(tmp_path / "traces")}}
        (tmp_path / "c.json").write_text(json.dumps({"llm": config}))
        line = command(
            "batch", str(rows), "-o", str(out), "--engine", "vendor", "--engine-option", "first_wait=0.01",
            "--config", str(tmp_path / "c.json"),
        )  # fmt: skip
        until = monotonic() + 60
        while monotonic() < until:
            with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
                children.append(child)
                said = child.communicate(timeout=60)[1].decode()
            if child.returncode != -signal.SIGKILL:
                break
    assert child.returncode == 0, said
    assert not left and len(children) == len(moments) + 1
    assert texts(out) == {f"r{n}": f"ROW {n}" for n in range(ROWS)}
    assert set(server.in_batches.values()) == {1} and not server.live
    assert server.times("create") == 1 and len(server.files) == (vendor == "openai")
    assert not out.with_name("out.jsonl.vendor").exists()


def test_a_batch_that_is_killed_while_results_are_written_has_one_answer_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)
    rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"id": f"r{n}", "prompt": f"row {n}"}) + "\n" for n in range(2000)))
    with VendorServer("openai") as server:
        config = {**server.config(), "trace": {"dir": str(tmp_path / "traces")}}
        (tmp_path / "c.json").write_text(json.dumps({"llm": config}))
        line = command(
            "batch", str(rows), "-o", str(out), "--engine", "vendor", "--engine-option", "first_wait=0.01",
            "--config", str(tmp_path / "c.json"),
        )  # fmt: skip
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            while child.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 100):
                sleep(0.002)
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL and 0 < out.read_bytes().count(b"\n") < 2000
        done = subprocess.run(line, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert texts(out) == {f"r{n}": f"ROW {n}" for n in range(2000)}
    assert set(server.in_batches.values()) == {1} and not server.live
