"""What a model of Gemini's refuses is learned, and it is asked otherwise from then on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.gemini_wire import MODEL, SETTINGS, answer, rpc_error, text
from helpers.servers import Received, Server, answering_by, json_answer
from helpers.stream_support import router_to
from lee_llm_router import ContractViolationError, InvalidRequestError

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
LOOP = [
    {"role": "user", "content": "x"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {
        "role": "tool",
        "tool_call_id": "c",
        "content": [
            {"type": "text", "text": "r"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
    },
]


class Teacher:
    """A server that refuses what `wrong` finds in a body with `sentence`, and answers all else."""

    def __init__(self, sentence: str, wrong: Any) -> None:
        self.sentence, self.wrong, self.bodies = sentence, wrong, list[dict[str, Any]]()

    def __call__(self, received: Received) -> bytes:
        self.bodies.append(received.json)
        if self.wrong in json.dumps(received.json):
            return json_answer(rpc_error(400, "INVALID_ARGUMENT", self.sentence), 400)
        return json_answer(answer(text('{"a": 1}')))


FORMS: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "a level": (
        MODEL,
        "Thinking level MEDIUM is not supported for this model. Please retry with other thinking level.",
        {"reasoning_effort": "medium"},
        '"MEDIUM"',
        '"thinkingLevel": "LOW"',
    ),
    "the lowest level": (
        "gemini-3.5-flash",
        "Thinking level MINIMAL is not supported for this model.",
        {"reasoning_effort": "none"},
        '"MINIMAL"',
        '"thinkingLevel": "LOW"',
    ),
    "a budget of 0": (
        "gemini-2.5-flash",
        "Budget 0 is invalid. This model only works in thinking mode.",
        {"reasoning_effort": "none"},
        '"thinkingBudget": 0',
        '"thinkingBudget": 128',
    ),
    "a budget that is too high": (
        "gemini-2.5-pro",
        "The thinking budget 32768 is invalid. Please choose a value between 128 and 24576.",
        {"reasoning_effort": "max"},
        "32768",
        '"thinkingBudget": 24576',
    ),
    "instructions": (
        "tuned",
        "Developer instruction is not enabled for models/tuned.",
        {},
        "systemInstruction",
        '[{"text": "Be brief."}, {"text": "hi"}]',
    ),
    "JSON": (
        "tuned",
        "JSON mode is not enabled for models/tuned.",
        {"schema": SCHEMA},
        "responseMimeType",
        "fits this JSON Schema",
    ),
    "JSON beside tools": (
        MODEL,
        "Function calling with a response mime type: 'application/json' is unsupported.",
        {"schema": SCHEMA, "tools": [TOOL]},
        "responseMimeType",
        "fits this JSON Schema",
    ),
    "a schema": (
        MODEL,
        "Invalid JSON payload received. Unknown name \"responseJsonSchema\" at 'generation_config': Cannot find field.",
        {"schema": SCHEMA},
        "responseJsonSchema",
        "fits this JSON Schema",
    ),
    "a schema too deep": (
        MODEL,
        "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth.",
        {"schema": SCHEMA},
        "responseJsonSchema",
        "fits this JSON Schema",
    ),
    "a schema with too many states": (
        MODEL,
        "The specified schema produces a constraint that has too many states for serving.",
        {"schema": SCHEMA},
        "responseJsonSchema",
        "fits this JSON Schema",
    ),
    "the newer name of parameters": (
        MODEL,
        "Unknown name \"parametersJsonSchema\" at 'tools[0].function_declarations[0]': Cannot find field.",
        {"tools": [TOOL]},
        "parametersJsonSchema",
        '"parameters"',
    ),
    "ids of calls": (
        MODEL,
        "Invalid JSON payload received. Unknown name \"id\" at 'contents[1].parts[0].function_call':"
        " Cannot find field.",
        {"messages": LOOP},
        '"id"',
        '"functionResponse"',
    ),
    "pictures in results": (
        MODEL,
        "Multimodal function response is not supported for this model.",
        {"messages": LOOP},
        '"parts": [{"inlineData"',
        '{"inlineData"',
    ),
}


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_a_model_refuses_is_replaced_at_once_and_from_then_on(kind: str) -> None:
    model, sentence, options, wrong, right = FORMS[kind]
    messages = options.pop("messages", ASKED) if kind in ("ids of calls", "pictures in results") else ASKED
    options = dict(options)
    teacher = Teacher(sentence, wrong)
    with Server(answering_by(teacher)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **{**SETTINGS, "model": model})
        assert router.complete("r", messages, **options).text == '{"a": 1}'
        assert router.complete("r", messages, **options).text == '{"a": 1}'
        router.close()
    assert [wrong in json.dumps(sent) for sent in teacher.bodies] == [True, False, False]
    assert right in json.dumps(teacher.bodies[1])
    assert teacher.bodies[1] == teacher.bodies[2]


OPTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "penalties": ("Penalty is not enabled for models/gemini-3.5-flash", {"presence_penalty": 1.0}, "presencePenalty"),
    "logprobs": ("Logprobs is not enabled for models/gemini-3.5-flash", {"top_logprobs": 3}, "responseLogprobs"),
    "a tier": ("Service tier flex is not supported for this model.", {"service_tier": "flex"}, "serviceTier"),
    "thinking": ("Thinking is not supported by this model.", {"reasoning_effort": "high"}, "thinkingConfig"),
    "top_k": ("Unable to submit request because topK is not supported by this model.", {"top_k": 3}, "topK"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OPTIONS)
def test_an_option_that_a_model_refuses_is_dropped_with_leave_and_never_without(kind: str) -> None:
    sentence, options, field = OPTIONS[kind]
    teacher = Teacher(sentence, field)
    with Server(answering_by(teacher)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **SETTINGS)
        assert router.complete("r", "hi", drop_unsupported=True, **options).text
        assert router.complete("r", "hi", drop_unsupported=True, **options).text
        assert [field in json.dumps(sent) for sent in teacher.bodies] == [True, False, False]
        with pytest.raises(InvalidRequestError, match="not"):
            router.complete("r", "hi", **options)
        assert len(teacher.bodies) == 4
        router.close()


@pytest.mark.parametrize("sentence", [
    "Unable to submit request because it has a topK value of 100 but the supported range is from 1 to 41.",
    "Please ensure that multiturn requests alternate between user and model.",
    "Function call is missing a thought_signature in functionCall parts.",
    "Invalid value at 'generation_config.seed' (TYPE_INT32)",
    "Image input modality is not enabled for models/x",
    "Unknown name \"labels\": Cannot find field.",
    "Unsupported file URI type.",
    "Function calling is not enabled for models/gemini-3.5-flash",
    "",
])  # fmt: skip
def test_an_error_that_wants_something_else_teaches_nothing(sentence: str) -> None:
    teacher = Teacher(sentence, "contents")
    with Server(answering_by(teacher)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **SETTINGS)
        for _ in range(2):
            with pytest.raises(InvalidRequestError):
                router.complete("r", "hi", top_k=100, seed=1, tools=[TOOL], schema=SCHEMA, reasoning_effort="low")
        router.close()
    assert len(teacher.bodies) == 2
    assert teacher.bodies[0] == teacher.bodies[1]


def test_a_form_refused_for_ever_does_not_ask_for_ever() -> None:
    teacher = Teacher("Thinking level LOW is not supported for this model.", "contents")
    with Server(answering_by(teacher)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **SETTINGS)
        with pytest.raises(InvalidRequestError):
            router.complete("r", "hi", reasoning_effort="low")
        router.close()
    assert len(teacher.bodies) == 2


def test_a_schema_that_is_too_complex_leaves_others_as_they_are() -> None:
    teacher = Teacher("The specified schema produces a constraint that has too many states for serving.", '"big"')
    big = {"type": "object", "properties": {"big": {"type": "integer"}}}
    with Server(answering_by(teacher)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **SETTINGS)
        router.complete("r", "hi", schema=SCHEMA)
        with pytest.raises(ContractViolationError):
            router.complete("r", "hi", schema={**big, "required": ["big"]})
        router.complete("r", "hi", schema=SCHEMA)
        router.close()
    held = ["responseJsonSchema" in sent.get("generationConfig", {}) for sent in teacher.bodies]
    assert (held[:2], held[2:-1], held[-1]) == ([True, True], [False, False], True)


def test_lessons_are_of_one_model() -> None:
    teacher = Teacher("Developer instruction is not enabled for models/a.", "systemInstruction")
    with Server(answering_by(teacher)) as server:
        router = router_to(server.url, role={"retry": {"attempts": 1}}, **SETTINGS)
        for model in ("a", "a", "b"):
            router.complete("r", ASKED, model=model)
        router.close()
    held = ["systemInstruction" in sent for sent in teacher.bodies]
    assert held == [True, False, False, True, False]
