"""What commands that ask share: the line of progress, what is printed of an answer, and what is said of it."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from lee_llm_router import LeeLLMRouter
from lee_llm_router.cli.asking.answers import AnswerPrinter, print_calls, summary
from lee_llm_router.cli.asking.call_progress import CallProgress
from lee_llm_router.cli.progress import ProgressLine
from lee_llm_router.response import LLMResponse, LLMUsage
from lee_llm_router.response.types import ToolCall
from lee_llm_router.telemetry.events import RouterEvent


class Line(ProgressLine):
    """A line of progress that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def tell(self, text: Any) -> None:
        self.told.append(text() if callable(text) else text)

    def hide(self) -> None:
        self.told.append("(hidden)")

    def show(self) -> None:
        self.told.append("(shown)")


def event(name: str, provider: str | None = None, **data: Any) -> RouterEvent:
    model = "m" if provider else None
    return RouterEvent(event=name, request_id="1", role="r", provider=provider, model=model, data=data)


def told(*events: RouterEvent) -> list[str]:
    line = Line()
    progress = CallProgress(line)
    for one in events:
        progress.emit(one)
    return line.told


WAITS = event("llm.wait", "p", reason="it is busy", wait_ms=2500.0)


def test_a_wait_says_for_whom_and_how_long() -> None:
    """Why: what has failed before, or what the target's own reason is."""
    assert told(WAITS) == ["waiting 3 s for p/m: it is busy"]
    failure = event("llm.complete.error", "q", failure_type="RATE_LIMIT")
    assert told(failure, WAITS) == ["waiting 3 s for p/m, after q/m: rate limit"]
    assert told(event("llm.wait", "p", reason="it is busy", wait_ms=None)) == ["waiting for p/m: it is busy"]


def test_a_failure_before_any_target_names_none() -> None:
    assert told(event("llm.complete.error", failure_type="BUDGET_EXCEEDED"), event("llm.complete.start", "p")) == [
        "asking p/m"
    ]


def test_where_the_answer_goes_to_the_terminal_too_the_line_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    line = Line()
    CallProgress(line).answer_begins(5)
    assert line.told == ["(hidden)"]


def test_an_answer_of_calls_alone_has_no_value_to_print(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """It would be null, which is no answer; the calls are printed by who asked."""
    call = {"name": "look", "arguments": {}}
    config = {
        "llm": {
            "providers": {"p": {"type": "mock", "script": [{"tool_calls": [call]}, {"text": "null"}]}},
            "roles": {"r": {"provider": "p"}},
        }
    }
    printer = AnswerPrinter(LeeLLMRouter(config, trace_store=False))
    messages = [{"role": "user", "content": "hi"}]
    assert printer.as_value("r", messages, {}).tool_calls
    assert capsysbinary.readouterr().out == b""
    printer.as_value("r", messages, {"json_mode": True})
    assert capsysbinary.readouterr().out == b"null\n"


@pytest.mark.parametrize("arguments", ["not JSON", "[" * 200_000], ids=["text", "deep"])
def test_arguments_that_are_no_json_are_printed_as_the_model_wrote_them(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_calls(LLMResponse(text="", tool_calls=(ToolCall(id="1", name="look", arguments=arguments),)))
    assert json.loads(capsys.readouterr().out) == {"tool": "look", "arguments": arguments, "id": "1"}


@pytest.mark.parametrize(
    ("usage", "cost", "said"),
    [
        (LLMUsage(), None, "p/m, 0 ms: "),
        (LLMUsage(total_tokens=12), None, "p/m, 0 ms, tokens 12: "),
        (LLMUsage(prompt_tokens=3, completion_tokens=4), 0.5, "p/m, 0 ms, tokens 3 in, 4 out, $0.5000: "),
    ],
)
def test_an_answer_is_summed_up_by_what_is_known_of_it(usage: LLMUsage, cost: float | None, said: str) -> None:
    answer = LLMResponse(text="a", provider="p", model="m", usage=usage, cost_usd=cost, request_id="7")
    router = LeeLLMRouter({"llm": {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}}})
    line = summary(answer, AnswerPrinter(router), CallProgress(Line()))
    assert line.startswith(said) and line.endswith("lee-llm-router trace show 7")


def test_an_answer_that_nobody_reads_ends_as_a_pipe_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line is not ended then: that would fail again, and hide why."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            raise BrokenPipeError

    written: list[str] = []
    monkeypatch.setattr(sys, "stdout", Gone())
    config = {"llm": {"providers": {"p": {"type": "mock", "echo": True}}, "roles": {"r": {"provider": "p"}}}}
    with pytest.raises(BrokenPipeError):
        AnswerPrinter(LeeLLMRouter(config, trace_store=False)).as_text("r", [{"role": "user", "content": "hi"}], {})
    assert written == ["hi"]
