"""Batches of the engine `dbos` in tests: rows, a server that counts them, workers, and Postgres."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from helpers.servers import Conversation, Server, json_answer
from lee_llm_router import LeeLLMRouter, LLMRouterError
from lee_llm_router.batch.answers import RowOutcome
from lee_llm_router.batch.durable.engine import DbosEngine
from lee_llm_router.batch.engine import BatchJob
from lee_llm_router.batch.figures import BatchReport
from lee_llm_router.batch.rows import BatchRow, RowForm
from lee_llm_router.batch.settings import BatchSettings

HANG = 300.0
"""Seconds after which something counts as hanging; nothing comes near."""


class CountingServer:
    """Answers chat completions after `delay` seconds, and counts by prompt."""

    def __init__(self, delay: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.under_way = 0
        self.most_under_way = 0
        self._delay = delay
        self._lock = threading.Lock()
        self._server = Server(self._converse)

    def __enter__(self) -> CountingServer:
        self._server.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)

    def config(self, **provider: Any) -> dict[str, Any]:
        """A configuration with one role, `r`, that asks this server."""
        http = {"type": "openai", "base_url": f"http://127.0.0.1:{self._server.port}/v1", "api_key_env": None}
        role = {"provider": "p", "model": "m"}
        return {"llm": {"providers": {"p": {**http, **provider}}, "default_role": "r", "roles": {"r": role}}}

    def wait_for(self, rows: int) -> None:
        """Return when so many have been asked."""
        wait_until(lambda: self.asked.total() >= rows)

    def _converse(self, conversation: Conversation) -> None:
        while (request := conversation.receive()) is not None:
            prompt = request.json["messages"][-1]["content"]
            with self._lock:
                self.asked[prompt] += 1
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
            sleep(self._delay)
            with self._lock:
                self.under_way -= 1
            message = {"role": "assistant", "content": f"answer to {prompt}"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            conversation.send(json_answer({"model": "m", "choices": [choice]}))


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when `holds` does; fail if it hangs."""
    until = monotonic() + HANG
    while not holds():
        assert monotonic() < until, "it hangs"
        sleep(0.02)


def rows_of(values: Sequence[Any]) -> list[BatchRow]:
    """The rows of these values."""
    rows = [RowForm().row(value, line) for line, value in enumerate(values, 1)]
    assert all(isinstance(row, BatchRow) for row in rows)
    return [row for row in rows if isinstance(row, BatchRow)]


class Run:
    """One run of a batch by the engine `dbos`, without the rest of `LeeLLMRouter.batch`."""

    def __init__(
        self, router: LeeLLMRouter, rows: Sequence[BatchRow], db: str, *, batch_id: str = "b1", concurrency: int = 16,
        options: Mapping[str, Any] | None = None, **engine_options: Any,
    ) -> None:  # fmt: skip
        self.outcomes: dict[str, RowOutcome] = {}
        self.errors: list[LLMRouterError | None] = []
        self._rows = iter(rows)
        settings = BatchSettings(
            role="r", out=Path("out.jsonl"), options=options or {}, engine_options={"db": db, **engine_options}
        )
        self.job = BatchJob(
            router=router, settings=settings, batch_id=batch_id, concurrency=concurrency, figures=BatchReport(),
            next_row=self._next, put=self._put, stop=self.errors.append, is_stopped=lambda: bool(self.errors),
            stopping=self._stopping,
        )  # fmt: skip

    async def run(self) -> dict[str, RowOutcome]:
        """Run it to its end, and return the outcomes by row id."""
        await DbosEngine(self.job).run()
        return self.outcomes

    async def _next(self) -> BatchRow | None:
        return None if self.errors else next(self._rows, None)

    def _put(self, row: BatchRow, outcome: RowOutcome) -> None:
        assert row.id not in self.outcomes, "a second outcome"
        assert outcome.id == row.id
        self.outcomes[row.id] = outcome

    async def _stopping(self) -> None:
        raise NotImplementedError


@contextmanager
def worker_process(
    config: Mapping[str, Any], db: str, folder: Path, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, killed at the end if it still runs."""
    path = folder / "llm.json"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "lee_llm_router", "worker", "--config", str(path), *arguments]
    environment = {**os.environ, "LEE_LLM_ROUTER_DB": db}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            yield process
        finally:
            process.kill()


class Postgres:
    """A Postgres of its own, on a free port of loopback, while it is entered."""

    def __init__(self) -> None:
        programs = postgres_programs()
        assert programs is not None
        self._programs = programs
        # A short path: a socket's may have a hundred characters.
        self._folder = tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp")
        self._path = Path(self._folder.name)
        # Postgres refuses to run as root.
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        with Server(lambda _: None) as free:
            self._port = free.port

    def __enter__(self) -> Postgres:
        if self._as_user:
            shutil.chown(self._path, "postgres")
        self._run("initdb", "-A", "trust", "-U", "batch", "--no-sync")
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()
        self._folder.cleanup()

    def address(self, database: str) -> str:
        """The address of a database in it, which need not be there yet."""
        return f"postgresql://batch@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        options = f"-k {self._path} -p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self._path / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it as if it had crashed."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._programs / program), "-D", str(self._path / "data"), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._path)


def postgres_programs() -> Path | None:
    """The folder of Postgres's programs, Debian's or on the PATH; None where there are none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    found = shutil.which("initdb")
    return None if found is None else Path(found).parent


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill it with -9."""
    process.send_signal(signal.SIGKILL)
    process.wait()
