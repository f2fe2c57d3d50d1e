"""The command line in tests: a configuration for it, and ways to run it."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

CONFIG = """
llm:
  default_role: echo
  providers:
    echo: {type: mock, echo: true}
    busy: {type: mock, script: [{error: RATE_LIMIT, status_code: 429, message: slow down}]}
    dead: {type: mock, script: [{error: AUTH, message: no key}]}
    odd: {type: mock, response_text: aé, model: m}
  roles:
    echo: {provider: echo}
    chain: {provider: busy, fallback_providers: [echo]}
    dead: {provider: dead}
    odd: {provider: odd}
"""

Run = Callable[..., tuple[int, str, str]]


class Keyboard(io.StringIO):
    """Replace standard input by one at a terminal."""

    def isatty(self) -> bool:
        return True


def command(*args: str) -> list[str]:
    """The command with `args`, for a process of its own in which warnings are errors."""
    return [sys.executable, "-W", "error", "-m", "lee_llm_router", *args]


def run_child(*args: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    if "input" in options:
        del given["stdin"]
    return subprocess.run(command(*args), timeout=60, check=False, **given)
