"""Processes of their own that write traces with the helpers of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def start_writer(script: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    """Start `script` with `args` in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", script, *args], env=_env(), text=True, **options)


def run_writer(script: str, *args: str) -> str:
    """Run `script` with `args` to its end, without an error; return what it prints."""
    command = [sys.executable, "-W", "ignore", "-c", script, *args]
    return subprocess.run(command, env=_env(), stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout


def four_at_once(script: str, *args: str) -> None:
    """Run `script` in four processes at once, with `args` and one of the letters ``a`` to ``d``, without an error."""
    children = [start_writer(script, *args, letter) for letter in "abcd"]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
