"""What starting costs: programs run again and again, by the CPU time of each process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from speed.samples import Samples

FIVE_MODELS = """
import asyncio
import logging
from pydantic import BaseModel, Field
class A(BaseModel):
    name: str
    size: int = 0
class B(BaseModel):
    items: list[A] = Field(default_factory=list)
    limit: float | None = None
class C(BaseModel):
    key: str = Field(min_length=1)
    values: dict[str, float] = Field(default_factory=dict)
class D(BaseModel):
    first: A
    second: B | None = None
class E(BaseModel):
    parts: dict[str, D]
    names: tuple[str, ...] = ()
"""
IMPORTS: Mapping[str, str] = {
    "import": "from lee_llm_router import LeeLLMRouter, load_config",
    "five models": FIVE_MODELS,
    "python": "pass",
    "httpx": "import httpx",
    "httpx2": "import httpx2",
    "openai": "import openai",
    "pydantic-ai": "from pydantic_ai.models.openai import OpenAIChatModel; from pydantic_ai.models.fallback import *",
    "langchain": "from langchain_openai import ChatOpenAI",
    "litellm": "from litellm import Router",
    "any-llm": "from any_llm import AnyLLM",
}
OWN = ("import", "five models", "python", "httpx")
"""Those that are measured in each round; the others take seconds."""
_NEEDS = {"pydantic-ai": "pydantic_ai", "langchain": "langchain_openai", "any-llm": "any_llm"}
STEPS = ("import", "make ready", "first call", "second call")
ROUNDS_OF_OTHERS = 3
_RESIDENT = "\nfrom speed.limits import resident_bytes\nprint(resident_bytes())"


class BrokenProgramError(Exception):
    """A program ended with a failure."""


def cpu_seconds(command: Sequence[str]) -> float:
    """Run a program, its output thrown away; the CPU time of it and its children.

    Raises:
        BrokenProgramError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment(), text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise BrokenProgramError(f"{command[:3]}: {done.stderr[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def command_line() -> str:
    """The path of the command `lee-llm-router` of the Python in use."""
    return str(Path(plain_python()).parent / "lee-llm-router")


def plain_python() -> str:
    """A Python with nothing but this package's default install if there is one, else the one in use.

    pydantic looks through all that is installed for plugins when the first model is made, so what is beside it counts.
    """
    plain = Path(sys.prefix, "plain", "bin", "python")
    return str(plain) if plain.exists() else sys.executable


def start_times(samples: Samples, rounds: int, only_own: bool = False) -> None:
    """CPU milliseconds of starting programs, in turn."""
    programs = _programs(only_own)
    for command in programs.values():
        cpu_seconds(command)  # leaves compiled files and a warm disk cache
    for number in range(rounds):
        for name, command in programs.items():
            if name in (*OWN, "help", "typer") or number < ROUNDS_OF_OTHERS:
                samples.add((name, "start"), cpu_seconds(command) * 1000)


def resident(samples: Samples, only_own: bool = False) -> None:
    """Megabytes held after an import."""
    for name, code in IMPORTS.items():
        if name in OWN or (not only_own and _is_installed(name)):
            told = subprocess.run(
                [_python(name), "-c", code + _RESIDENT],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(Path(__file__).parent.parent),
                check=True,
            )
            samples.add((name, "resident"), int(told.stdout) / 2**20)


def first_calls(samples: Samples, url: str, rounds: int) -> None:
    """CPU milliseconds of the steps up to the second call of a new process."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name in ("ours", "httpx"):
                told = subprocess.run(
                    [plain_python(), "-m", "speed.first_call", name, url],
                    stdout=subprocess.PIPE,
                    env=_environment(Path(__file__).parent.parent),
                    cwd=folder,
                    check=True,
                )
                for step, took in zip(STEPS, json.loads(told.stdout), strict=True):
                    samples.add((name, step), took)


def _programs(only_own: bool) -> dict[str, list[str]]:
    programs = {
        name: [_python(name), "-c", code]
        for name, code in IMPORTS.items()
        if name in OWN or (not only_own and _is_installed(name))
    }
    programs["help"] = [command_line(), "--help"]
    programs["typer"] = [plain_python(), "-c", "import typer, pydantic"]
    return programs


def _python(name: str) -> str:
    return plain_python() if name in OWN else sys.executable


def _is_installed(name: str) -> bool:
    return find_spec(_NEEDS.get(name, name)) is not None


def _environment(*path: Path) -> dict[str, str]:
    kept: Iterable[tuple[str, str]] = os.environ.items()
    environment = {name: value for name, value in kept if not name.startswith("PYTHON")}
    return {**environment, **({"PYTHONPATH": os.pathsep.join(map(str, path))} if path else {})}
