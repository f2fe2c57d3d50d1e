"""What type checkers know of an answer: `parsed` has the type asked for, and a typo in it is an error."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"

SAMPLE = """\
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from pydantic import BaseModel, TypeAdapter

from lee_llm_router import CompletionStream, LeeLLMRouter, LLMClient, LLMResponse


class Trip(BaseModel):
    name: str


@dataclass
class Stop:
    name: str


class Note(TypedDict):
    name: str


EITHER: TypeAdapter[Trip | Stop] = TypeAdapter(Trip | Stop)


def sync(router: LeeLLMRouter, client: LLMClient) -> None:
    answer = router.complete("r", "hi", schema=Trip, temperature=0.2)
    assert_type(answer, LLMResponse[Trip])
    print(answer.parsed.name)
    print(answer.parsed.nmae)  # error
    assert_type(router.complete("r", "hi", schema=Stop).parsed, Stop)
    print(router.complete("r", "hi", schema=Stop).parsed.nmae)  # error
    assert_type(router.complete("r", "hi", schema=Note).parsed, Note)
    print(router.complete("r", "hi", schema=Note).parsed["nmae"])  # error
    assert_type(router.complete("r", "hi", schema=list[Trip]).parsed, list[Trip])
    print(router.complete("r", "hi", schema=list[Trip]).parsed[0].nmae)  # error
    assert_type(router.complete("r", "hi", schema=EITHER).parsed, Trip | Stop)
    print(router.complete("r", "hi", schema=EITHER).parsed.nmae)  # error
    assert_type(client.complete("r", "hi", schema=Trip).parsed, Trip)
    print(client.complete("r", "hi", schema=Trip).parsed.nmae)  # error
    router.complete("r", "hi", schema=Trip, temprature=0.2)  # error


def streamed(router: LeeLLMRouter) -> None:
    with router.stream("r", "hi", schema=Trip) as stream:
        assert_type(stream, CompletionStream[Trip])
        for _ in stream:
            pass
    print(stream.response.parsed.name)
    print(stream.response.parsed.nmae)  # error


async def asynchronous(router: LeeLLMRouter) -> None:
    answer = await router.complete_async("r", "hi", schema=Trip)
    print(answer.parsed.name)
    print(answer.parsed.nmae)  # error
    async with router.stream_async("r", "hi", schema=Trip) as stream:
        async for _ in stream:
            pass
    print(stream.response.parsed.name)
    print(stream.response.parsed.nmae)  # error


def open_types(router: LeeLLMRouter, options: dict[str, Any]) -> LLMResponse:
    assert_type(router.complete("r", "hi").parsed, Any)
    assert_type(router.complete("r", "hi", schema={"type": "object"}).parsed, Any)
    assert_type(router.complete("r", "hi", schema=Trip | Stop).parsed, Any)
    assert_type(router.complete("r", "hi", schema=Trip, tools=[{"type": "function"}]).parsed, Any)
    made: LLMResponse[Trip] = LLMResponse(text="", parsed=Trip(name="x"))
    print(made.parsed.name, LLMResponse(text="").text)
    return router.complete("r", "hi", **options)
"""
WRONG = [number for number, line in enumerate(SAMPLE.splitlines(), 1) if line.endswith("# error")]


def _checker(name: str, folder: Path) -> list[str]:
    if name == "mypy":
        return ["mypy", "--strict", "--config-file=", f"--cache-dir={folder / 'cache'}", "--hide-error-context"]
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(SRC)], "include": ["sample.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    return ["basedpyright", "--pythonpath", sys.executable, "--project", str(folder)]


@pytest.mark.parametrize("name", ["mypy", "basedpyright"])
def test_a_typo_in_what_was_parsed_is_an_error_and_nothing_else_is(name: str, tmp_path: Path) -> None:
    """In sync, async and streamed calls, with each kind of type."""
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    command = [sys.executable, "-m", *_checker(name, tmp_path)]
    done = subprocess.run(
        [*command, str(sample)] if name == "mypy" else command,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = re.findall(r"sample\.py:(\d+):.* ?error: ", done.stdout)
    found += re.findall(r"sample\.py:(\d+):\d+ - error: ", done.stdout)
    assert sorted({int(number) for number in found}) == WRONG, done.stdout + done.stderr
