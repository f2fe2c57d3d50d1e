"""The processes of a run: the server and the workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent
PIECES = 2000
"""Events with text in a streamed answer."""


class FailedError(Exception):
    """A worker could not do what it was asked."""


class Child:
    """A running worker."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, **order: Any) -> dict[str, Any]:
        """Send one order, and wait for the answer.

        Raises:
            FailedError: the subject raised, or its process is gone.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps(order), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer


@contextmanager
def _process(*arguments: str, quiet: bool) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEE_LLM_ROUTER_")}
    environment = {**kept, "PYTHONPATH": str(HERE), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else None,
        text=True,
        env=environment,
    ) as child:
        try:
            yield child
        finally:
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()


@contextmanager
def server() -> Iterator[str]:
    """A server; its address."""
    with _process("speed.server", str(PIECES), quiet=False) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"


@contextmanager
def worker(subject: str, case: str, url: str, *, quiet: bool) -> Iterator[Child]:
    """A process that measures `subject` in the way `case`."""
    with _process("speed.worker", subject, case, url, quiet=quiet) as child:
        yield Child(child)
