"""With `capture: full` a record holds what was asked and answered, bounded and without keys; otherwise none of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

from helpers.records import make
from helpers.secret_texts import ANSWER, KEY, SECRET_WORDS
from helpers.support import Memory, config_for, router_for
from lee_llm_router import (
    LeeLLMRouter,
    LLMResponse,
    ToolCall,
    TraceRecord,
)
from lee_llm_router.telemetry.record_json import MAX_LINE
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore


def full_router(outcomes: list[Any], **providers: Any) -> tuple[LeeLLMRouter, Memory]:
    config = config_for({"a": outcomes}, {"retry": {"attempts": 1}}, {"a": providers})
    trace = config.trace.model_copy(update={"capture": "full"})
    router, memory, _ = router_for(config.model_copy(update={"trace": trace}))
    return router, memory


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("way", ["sync", "stream"])
def test_full_holds_what_was_asked_and_what_was_answered(way: str, tmp_path: Path) -> None:
    """Tools, settings, reasoning and tool calls as well; written, read back, and the same when streamed."""
    answer = LLMResponse(text="", reasoning="it rains", finish_reason="tool_calls", model="m",
                         tool_calls=(ToolCall(id="c1", name="weather", arguments='{"at": "Oslo"}'),))  # fmt: skip
    router, memory = full_router([answer])
    options: Any = {"tools": [TOOL], "tool_choice": "auto", "temperature": 0, "seed": 0, "stop": ["END"],
                    "max_tokens": 9, "extra_body": {"top_k": 3}}  # fmt: skip
    if way == "sync":
        router.complete("r", "hi", **options)
    else:
        list(router.stream("r", "hi", **options))
    record = memory.records[0]
    store = LocalFileTraceStore(tmp_path)
    store.write(record)
    store.close()
    for seen in (record, *store.last()):
        assert list(seen.messages or ()) == [{"role": "user", "content": "hi"}]
        assert list(seen.tools or ()) == [TOOL]
        asked = dict(seen.settings or {})
        assert asked == {"temperature": 0, "seed": 0, "stop": ["END"], "max_tokens": 9, "tool_choice": "auto",
                         "extra_body": {"top_k": 3}}  # fmt: skip
        assert (seen.text, seen.reasoning) == ("", "it rains")
        assert list(seen.tool_calls or ()) == [{"id": "c1", "name": "weather", "arguments": '{"at": "Oslo"}'}]


def test_a_schema_is_shown_as_json_schema() -> None:
    class Answer(pydantic.BaseModel):
        n: int

    router, memory = full_router(['{"n": 1}'])
    router.complete("r", "hi", schema=Answer)
    router.complete("r", "hi", json_mode=True)
    assert memory.records[0].settings is not None and memory.records[1].settings is not None
    assert memory.records[0].settings["schema"]["properties"] == {"n": {"title": "N", "type": "integer"}}
    assert memory.records[1].settings == {"json_mode": True}


def test_meta_holds_none_of_it() -> None:
    answer = LLMResponse(text=ANSWER, reasoning=ANSWER, tool_calls=(ToolCall(id="1", name="f", arguments=ANSWER),))
    router, memory, _ = router_for(config_for({"a": [answer]}))
    router.complete("r", ANSWER, tools=[TOOL], stop=["Quixote"], extra_body={"x": ANSWER})
    line = memory.records[0].to_json().decode()
    assert not any(word in line for word in [*SECRET_WORDS, "weather"])
    assert not {"messages", "tools", "settings", "text", "reasoning", "tool_calls"} & json.loads(line).keys()


@pytest.mark.parametrize(
    "where", ["prompt", "answer", "reasoning", "arguments", "tool", "extra_body", "header", "deep"]
)
def test_full_holds_no_known_key(where: str) -> None:
    """Of the provider or the call, wherever it stands."""
    said = f"before {KEY} after"
    answer = LLMResponse(
        text=said if where == "answer" else "x", reasoning=said if where == "reasoning" else None,
        tool_calls=(ToolCall(id="1", name="f", arguments=json.dumps({"a": said})),) if where == "arguments" else (),
    )  # fmt: skip
    router, memory = full_router([answer], secret=KEY)
    options: Any = {
        "tool": {"tools": [{"type": "function", "function": {"name": "f", "description": said}}]},
        "extra_body": {"extra_body": {"api_key": "another-key-1", "note": said}},
        "header": {"headers": {"Authorization": "another-key-1", "X-Note": said}},
        "deep": {"extra_body": {"a": [{"b": {"c": [said, {"token": "another-key-1"}]}}]}},
    }.get(where, {})
    router.complete("r", said if where == "prompt" else "hi", **options)
    line = memory.records[0].to_json().decode()
    assert KEY not in line and "another-key-1" not in line and "***" in line


FLOODS = {
    "long": "x" * 5_000_000,
    "wide": "é\x00" * 2_500_000,
    "a key at the cut": "y" * (1_000_000 - 10) + KEY + "y" * 100_000,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_full_is_bounded(kind: str, tmp_path: Path) -> None:
    """Prompt, answer, reasoning and arguments of many megabytes: one line that can be read, without keys."""
    text = FLOODS[kind]
    answer = LLMResponse(text=text, reasoning=text, tool_calls=(ToolCall(id="1", name="f", arguments=text),))
    router, memory = full_router([answer], secret=KEY)
    router.complete("r", text)
    store = LocalFileTraceStore(tmp_path)
    store.write(memory.records[0])
    store.close()
    (file,) = tmp_path.glob("*.jsonl")
    assert file.stat().st_size <= MAX_LINE
    (record,) = store.last()
    assert record.text is not None and record.text[:100_000] == text[:100_000]
    assert KEY[:12] not in file.read_text()


def test_lines_without_the_new_fields_are_read() -> None:
    """As an earlier version has written them, with and without texts."""
    data = json.loads(make("old", text="t", messages=({"role": "user", "content": "x"},)).to_json())
    for name in ("tools", "settings", "reasoning", "tool_calls"):
        del data[name]
    record = TraceRecord.from_json(json.dumps(data))
    assert (record.text, record.tools, record.settings, record.tool_calls) == ("t", None, None, None)
    assert TraceRecord.from_json(make("older").to_json()) == make("older")


def test_a_cut_answer_is_visible_in_its_record() -> None:
    router, memory, _ = router_for(config_for({"a": [LLMResponse(text="half", finish_reason="length")]}))
    router.complete("r", "hi")
    assert (memory.records[0].outcome, memory.records[0].finish_reason) == ("ok", "length")
