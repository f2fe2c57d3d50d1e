"""The pytest fixture: it makes routers, closes them, and fails a test whose application hides an unscripted call."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def fresh_run(folder: Path, **files: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a new process over `files`, with warnings as errors and the fixture switched on."""
    texts = {"conftest": 'pytest_plugins = ["lee_llm_router.pytest_plugin"]\n', **files}
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, timeout=120)


def test_the_fixture_works_as_the_document_says(tmp_path: Path) -> None:
    """The pytest blocks of docs/testing.md pass in a new pytest run."""
    document = Path(__file__).parents[2] / "docs" / "testing.md"
    blocks = re.findall(r"```python\n# (\S+)\.py\n(.*?)```", document.read_text(), re.DOTALL)
    (tmp_path / "llm.yaml").write_text(
        "llm: {providers: {a: {type: mock, response_text: Paris.}}, roles: {guide: {provider: a, model: m}}}"
    )
    run = fresh_run(tmp_path, **dict(blocks))
    assert run.returncode == 0 and "4 passed" in run.stdout, run.stdout + run.stderr


def test_an_application_that_swallows_an_unscripted_call_still_fails(tmp_path: Path) -> None:
    """By `gather(return_exceptions=True)`, or a thread that is not joined: the fixture reports it after the test."""
    run = fresh_run(
        tmp_path,
        test_app="""
import asyncio

def test_it(llm_router):
    router = llm_router(planner=["only one"])

    async def main():
        calls = [router.complete_async("planner", "x") for _ in range(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(main())
""",
    )
    assert run.returncode == 1 and "asked without an answer left: planner" in run.stdout, run.stdout + run.stderr


def test_the_fixture_closes_what_it_made(llm_router: Any) -> None:
    """It makes any number of routers."""
    first, second = llm_router(a="1"), llm_router(b=["2"])
    assert (first.complete("a", "x").text, second.complete(None, "x").text) == ("1", "2")
    config = {"llm": {"providers": {"one": {"type": "mock"}}, "roles": {"r": {"provider": "one", "model": "m"}}}}
    third = llm_router(config, {"policy": "simple", "trace_store": False}, one="yes")
    assert third.complete("r", "x").text == "yes" and third.recorder.records == []
