"""The Responses API: whatever a server sends, whole or in events, there is an answer or a typed error."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

import pytest

from helpers.responses_support import call, events_of, failed, message, part, response, thought
from lee_llm_router import LLMResponse, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.openai_responses.dialect import ResponsesDialect
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.http.dialects.openai_responses.stream import ResponsesDecoder
from lee_llm_router.providers.streams import AnswerParts

SETTINGS = ResponsesConfig(type="openai_responses", base_url="http://x.example/v1")
NOTE = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
PROBABLE = {"token": "a", "logprob": -1, "top_logprobs": []}
WHOLE = [
    response(thought("a", "b"), message("Hi", phase="commentary"), call(), message("x", "y", phase="final_answer")),
    response(message(part("abc", annotations=[NOTE], logprobs=[PROBABLE]))),
    response({"id": "c", "type": "custom_tool_call", "call_id": "c9", "name": "sql", "input": "s"}),
    response({"id": "i", "type": "image_generation_call", "status": "completed", "result": "aGk="}),
    response(message({"type": "refusal", "refusal": "no"})), failed("server_error"),
    response(message("h"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
]  # fmt: skip
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "\ud83d", "response.completed", [], {}, [None], [[]], ["x"],
    {"type": None}, {"a": {"b": [1]}}, {"text": 3},
]  # fmt: skip
NAMES = ("type", "id", "item_id", "output_index", "delta", "error", "status", "phase", "content")


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, name), *_places(value[name])]
    return found


def _damaged(value: Any, rng: random.Random) -> Any:
    """A copy of `value` with one to three of its fields replaced, left out or added."""
    value = deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = _places(value)
        if not places:
            return value
        holder, name = rng.choice(places)
        way = rng.random()
        if way < 0.6:
            holder[name] = deepcopy(rng.choice(ODD))
        elif way < 0.8:
            del holder[name]
        elif isinstance(holder, dict):
            holder[rng.choice(NAMES)] = deepcopy(rng.choice(ODD))
    return value


def _damaged_events(whole: Any, rng: random.Random) -> bytes:
    events = events_of(whole, indexes=rng.random() < 0.7)
    for _ in range(rng.randint(1, 3)):
        place, way = rng.randrange(len(events)), rng.random()
        if way < 0.6:
            events[place] = _damaged(events[place], rng)
        elif way < 0.75 and len(events) > 1:
            del events[place]
        elif way < 0.9:
            events.insert(rng.randrange(len(events)), events[place])
        else:
            rng.shuffle(events)
    return b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in events)


def _read(rng: random.Random) -> LLMResponse:
    whole = rng.choice(WHOLE)
    if rng.random() < 0.3:
        body = json.dumps(_damaged(whole, rng)).encode()
        return ResponsesDialect().decode(HTTPReply(200, body, settings=SETTINGS, asked={"max_output_tokens": 100}))
    decoder, parts = ResponsesDecoder(HTTPReply(200, b"", settings=SETTINGS), 1_000_000), AnswerParts()
    for data in (_damaged_events(whole, rng), b""):
        if not decoder.done:
            decoder.feed(data)
            while (chunk := decoder.next()) is not None:
                parts.add(chunk)
    assert decoder.done
    return parts.response(decoder.whole_raw())


@pytest.mark.parametrize("start", range(0, 4000, 1000))
def test_damage_gives_an_answer_or_a_typed_error(start: int) -> None:
    """4,000 bodies with fields of the wrong type, fields and events missing, doubled and in another order."""
    answers = 0
    for seed in range(start, start + 1000):
        try:
            found = _read(random.Random(seed))
        except LLMRouterError:
            continue
        answers += 1
        assert len({one.id for one in found.tool_calls}) == len(found.tool_calls)
        assert all(one.name for one in found.tool_calls)
        json.dumps(found.message).encode()
        for text in (found.text, found.reasoning or "", *(one.arguments for one in found.tool_calls)):
            text.encode()
    assert answers > 300
