"""What type checkers know of an answer, and that they find no fault with the code in the documents."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from helpers.documents import PLAYED, code_of

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


PAGE = "# Page\n\n```python\nnumber: int = 1\n```\n\n```python\nnumber = 'one'\n```\n"

# A document may use a name again for another thing. What mypy knows of the libraries is kept, as for `make lint`.
CHECKERS = {
    "mypy": [
        "mypy", "--strict", "--config-file=", f"--cache-dir={SRC.parent / '.mypy_cache/documents'}",
        "--hide-error-context", "--allow-redefinition-new", "--local-partial-types",
    ],
    "basedpyright": ["basedpyright", "--pythonpath", sys.executable, "--project", "."],
}  # fmt: skip


@cache
def found_by(name: str) -> tuple[set[tuple[str, int]], str]:
    """The program and line of each error that a type checker finds, and all it said.

    The programs are `sample`, `page`, and the code of each document. They are checked together: what takes long is to
    read the libraries.
    """
    with TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "sample.py").write_text(SAMPLE)
        (folder / "page.md").write_text(PAGE)
        for path in (folder / "page.md", *PLAYED):
            (folder / f"{path.stem.lower().replace('-', '_')}.py").write_text(code_of(path))
        programs = sorted(path.name for path in folder.glob("*.py"))
        assert len(programs) == len(PLAYED) + 2
        settings = {"typeCheckingMode": "standard", "extraPaths": [str(SRC)], "include": programs}
        (folder / "pyrightconfig.json").write_text(json.dumps(settings))
        done = subprocess.run(
            [sys.executable, "-m", *CHECKERS[name], *(programs if name == "mypy" else [])],
            cwd=folder,
            env={**os.environ, "MYPYPATH": str(SRC)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    said = done.stdout + done.stderr
    found = re.findall(r"(\w+)\.py:(\d+)(?::\d+)?(?: -|:) error: ", said)
    assert found or done.returncode == 0, said
    return {(program, int(line)) for program, line in found}, said


@pytest.mark.parametrize("name", CHECKERS)
def test_a_typo_in_what_was_parsed_is_an_error_and_nothing_else_is(name: str) -> None:
    """In sync, async and streamed calls, with each kind of type."""
    found, said = found_by(name)
    assert sorted(line for program, line in found if program == "sample") == WRONG, said


@pytest.mark.parametrize("name", CHECKERS)
def test_the_code_in_the_documents_has_no_error(name: str) -> None:
    """What a reader copies passes strict mypy and pyright."""
    found, said = found_by(name)
    assert not [place for place in found if place[0] not in ("sample", "page")], said


@pytest.mark.parametrize("name", CHECKERS)
def test_an_error_in_a_document_would_be_found_with_its_line(name: str) -> None:
    found, said = found_by(name)
    assert {place for place in found if place[0] == "page"} == {("page", 8)}, said
