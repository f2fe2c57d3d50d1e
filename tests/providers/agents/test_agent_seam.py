"""What a new agent takes: a toy one, written with public names alone; and where the built-in ones are named."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import lee_llm_router
from helpers.support import Memory
from lee_llm_router import FailureType, LeeLLMRouter, LLMRequest, LLMResponse, LLMRouterError, StreamChunk, register
from lee_llm_router.providers.agents import (
    AgentCommand,
    AgentConfig,
    AgentProvider,
    AgentRun,
    AgentTurn,
    AttemptDirs,
    ChildResult,
    Failure,
)
from lee_llm_router.response import message_text

SOURCES = Path(lee_llm_router.__file__).parent

# An agent that prints one word on each line, and a full stop at the end


class ToyConfig(AgentConfig):
    command: str = "toy-agent"
    tone: str = "flat"


class ToyTurn(AgentTurn):
    """Words, one on each line; the last is a full stop."""

    has_failed = False

    def __init__(self, request_bytes: int) -> None:
        super().__init__()

    def feed(self, line: bytes) -> StreamChunk | None:
        self.started = True
        word = line.decode("utf-8", "replace")
        if word == ".":
            self.completed = True
            return None
        self.text += word
        return StreamChunk(text=word)

    def answer(self, returncode: int | None, request_bytes: int) -> LLMResponse | None:
        if not self.completed or returncode:
            return None
        return LLMResponse(text=self.text, finish_reason="stop", request_bytes=request_bytes)

    def failure(self, result: ChildResult, now: float) -> Failure:
        return Failure(FailureType.PROVIDER_ERROR, "toy ended without a full stop")


class ToyAgent(AgentProvider[ToyConfig]):
    config_model = ToyConfig
    title: ClassVar[str] = "toy"
    help_words: ClassVar[tuple[str, ...]] = ()

    def prompt(self, request: LLMRequest) -> str:
        return "\n".join(map(message_text, request.messages))

    def own_environment(self, dirs: AttemptDirs, key: str | None) -> Mapping[str, str | None]:
        return {"HOME": str(dirs.home), "TOY_TONE": self.config.tone}

    def command(self, run: AgentRun) -> AgentCommand:
        argv = [run.executable, "--say"]
        return AgentCommand(argv=argv, stdin=run.prompt, folder=run.dirs.work, request_bytes=len(run.prompt))

    def new_turn(self, run: AgentRun) -> ToyTurn:
        return ToyTurn(len(run.prompt))


register("toy_agent", ToyAgent, replace=True)

PROGRAM = """#!{python}
import os, sys
said = sys.stdin.read()
print(os.environ["TOY_TONE"])
print(said)
if "break off" not in said:
    print(".")
"""


@pytest.fixture
def router(tmp_path: Path) -> Iterator[LeeLLMRouter]:
    program = tmp_path / "toy-agent"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o700)
    provider: dict[str, Any] = {"type": "toy_agent", "command": str(program), "tone": "sharp"}
    role = {"provider": "p", "retry": {"attempts": 1}}
    config = {"llm": {"providers": {"p": provider}, "roles": {"r": role}}}
    with LeeLLMRouter(config, trace_store=Memory()) as found:
        yield found


def test_an_agent_of_fifty_lines_answers(router: LeeLLMRouter) -> None:
    answer = router.complete("r", "hello")
    assert (answer.text, answer.finish_reason, answer.request_bytes) == ("sharphello", "stop", 5)


def test_it_streams_what_it_prints(router: LeeLLMRouter) -> None:
    assert "".join(chunk.text for chunk in router.stream("r", "hello")) == "sharphello"


def test_what_it_calls_a_failure_is_one_with_the_text_so_far(router: LeeLLMRouter) -> None:
    with pytest.raises(LLMRouterError, match="without a full stop") as caught:
        router.complete("r", "break off")
    assert caught.value.failure_type is FailureType.PROVIDER_ERROR


def test_an_option_that_no_agent_has_skips_it(router: LeeLLMRouter) -> None:
    with pytest.raises(LLMRouterError, match="temperature"):
        router.complete("r", "hello", temperature=0.5)


@pytest.mark.parametrize(
    "module",
    ["codex_cli", "claude_cli", "gemini_cli", "command", "http.dialects.anthropic", "http.dialects.gemini",
     "http.dialects.openai_responses"],
)  # fmt: skip
def test_a_built_in_type_is_named_in_one_line_outside_its_folder(module: str) -> None:
    """A new agent or dialect in the style of these touches the registry alone."""
    name = f"lee_llm_router.providers.{module}"
    own = SOURCES.joinpath("providers", *module.split("."))
    found = [
        (path.name, line)
        for path in SOURCES.rglob("*.py")
        if own not in path.parents
        for line in path.read_text("utf-8").splitlines()
        if re.search(rf"{re.escape(name)}\b", line)
    ]
    assert [place for place, _ in found] == ["registry.py"], found
