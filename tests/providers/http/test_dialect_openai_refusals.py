"""A server that does not take an option, or wants it said otherwise, is asked otherwise; the trace says how."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from helpers.servers import Conversation, Server, completion, http, json_answer
from helpers.stream_support import READERS, router_to
from helpers.support import Memory
from lee_llm_router import FailureType, LLMRouterError

F = FailureType
Judge = Callable[[dict[str, Any]], Any]


def server(judge: Judge) -> Server:
    """Answers a request with what `judge` says of its body: an error, or nothing."""

    def script(conversation: Conversation) -> None:
        while (received := conversation.receive()) is not None:
            problem = judge(received.json)
            status, error = problem if isinstance(problem, tuple) else (400, problem)
            if problem is None:
                conversation.send(json_answer(completion("ok")))
            else:
                conversation.send(http(status, json.dumps(error).encode(), {"Content-Type": "application/json"}))

    return Server(script)


def openai(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


REFUSALS: dict[str, tuple[str, Any, Any]] = {
    "OpenAI, a parameter": ("temperature", 0.5, openai(
        "Unsupported parameter: 'temperature' is not supported with this model.", "temperature",
        "unsupported_parameter")),
    "OpenAI, a value": ("temperature", 0.5, openai(
        "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is "
        "supported.",
        "temperature", "unsupported_value")),
    "OpenAI, an unknown one": ("top_k", 5, openai("Unknown parameter: 'top_k'.", "top_k", "unknown_parameter")),
    "OpenAI, older": ("top_k", 5, openai("Unrecognized request argument supplied: top_k")),
    "OpenAI, stop": ("stop", ["a"], openai("Unsupported parameter: 'stop' is not supported with this model.", "stop",
                                           "unsupported_parameter")),
    "Groq": ("logprobs", True, openai("property 'logprobs' is unsupported")),
    "Mistral": ("seed", 3, (422, {"object": "error", "message": {"detail": [
        {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 3}]}})),
    "FastAPI": ("top_k", 3, (422, {"detail": [
        {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]})),
    "xAI": ("presence_penalty", 0.5, {"code": "Client specified an invalid argument",
            "error": "Argument not supported on this model: presencePenalty"}),
    "Google": ("seed", 3, [{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \"seed\": "
                                      "Cannot find field.", "status": "INVALID_ARGUMENT"}}]),
    "plain words": ("service_tier", "flex", {"detail": "service_tier is not available for this deployment"}),
    "deprecated": ("top_p", 0.5, openai("`top_p` is deprecated for this model.")),
    "effort": ("reasoning_effort", "low", openai("Unrecognized request argument supplied: reasoning_effort")),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_option_is_left_out_where_that_is_wanted(kind: str) -> None:
    """The same target is asked again at once, the trace says what was left out, and the next call knows."""
    option, value, error = REFUSALS[kind]
    for ask in (READERS["sync"], READERS["async"]):
        memory = Memory()
        with server(lambda body: error if option in body else None) as refusing:
            router = router_to(refusing.url, memory=memory, role={"retry": {"attempts": 1}})
            ended = ask(router, **{option: value}, max_tokens=5, drop_unsupported=True)
            assert ended.response is not None, ended.error
            assert [option in received.json for received in refusing.requests] == [True, False]
            assert [record.dropped for record in memory.records] == [(), (option,)]
            assert all(received.json["max_tokens"] == 5 for received in refusing.requests)


def test_what_a_model_has_refused_is_left_out_of_the_next_call_and_asked_of_other_models() -> None:
    memory = Memory()
    with server(
        lambda body: REFUSALS["OpenAI, a parameter"][2] if body["model"] == "m" and "temperature" in body else None
    ) as one:
        router = router_to(one.url, memory=memory)
        for model in ("m", "m", "other"):
            router.complete("r", "hi", model=model, temperature=0.5, drop_unsupported=True)
    assert [("temperature" in received.json, received.json["model"]) for received in one.requests] == [
        (True, "m"), (False, "m"), (False, "m"), (True, "other"),
    ]  # fmt: skip
    assert [record.dropped for record in memory.records][-2:] == [("temperature",), ()]


@pytest.mark.parametrize("kind", REFUSALS)
def test_otherwise_it_is_an_invalid_request(kind: str) -> None:
    """At each call: what somebody wants is not left out because somebody else could do without."""
    option, value, error = REFUSALS[kind]
    with server(lambda body: error if option in body else None) as refusing:
        router = router_to(refusing.url)
        router.complete("r", "hi", **{option: value}, drop_unsupported=True)
        with pytest.raises(LLMRouterError) as caught:
            router.complete("r", "hi", **{option: value})
    assert caught.value.failure_type is F.INVALID_REQUEST
    assert option in refusing.requests[-1].json


@pytest.mark.parametrize(
    "error",
    [
        openai("Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 7 instead.",
               "temperature", "decimal_above_max_value"),
        openai("temperature must be between 0 and 2", "temperature"),
        openai("Unsupported parameter: 'top_q' is not supported with this model.", "top_q", "unsupported_parameter"),
        openai("you are not allowed to do this"),
        {"error": "temperature"},
        openai("Invalid value for 'content': expected a string, got null.", "messages.[0].content"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_no_refusal_of_the_option(error: Any) -> None:
    with server(lambda body: error) as refusing, pytest.raises(LLMRouterError):
        router_to(refusing.url, role={"retry": {"attempts": 1}}).complete(
            "r", "hi", temperature=7, drop_unsupported=True
        )
    assert len(refusing.requests) == 1


def test_several_options_of_one_refusal_are_left_out_together() -> None:
    error = openai("temperature, top_p and presence_penalty are not supported with this model")
    with server(lambda body: error if {"temperature", "top_p", "presence_penalty"} & body.keys() else None) as refusing:
        options: Any = {"temperature": 0.5, "top_p": 0.5, "presence_penalty": 0.5}
        router_to(refusing.url).complete("r", "hi", **options, seed=1, drop_unsupported=True)
    assert len(refusing.requests) == 2 and refusing.requests[1].json["seed"] == 1


def test_of_two_that_exclude_each_other_one_stays() -> None:
    error = openai("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    with server(lambda body: error if {"temperature", "top_p"} <= body.keys() else None) as refusing:
        router_to(refusing.url).complete("r", "hi", temperature=0.5, top_p=0.5, drop_unsupported=True)
    assert [sorted({"temperature", "top_p"} & one.json.keys()) for one in refusing.requests] == [
        ["temperature", "top_p"],
        ["temperature"],
    ]


NEWER = openai("Unsupported parameter: 'max_tokens' is not supported with this model. "
               "Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter")  # fmt: skip
OLDER = openai("Unrecognized request argument supplied: max_completion_tokens")


@pytest.mark.parametrize(
    ("field", "error"),
    [("max_tokens", NEWER), ("max_completion_tokens", OLDER), ("max_tokens", openai(NEWER["error"]["message"]))],
)
def test_the_bound_on_tokens_goes_out_under_the_name_that_the_model_takes(field: str, error: Any) -> None:
    """Nothing is lost by that, so it needs no leave; the name is remembered for the model."""
    other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[field]
    with server(lambda body: error if field in body else None) as refusing:
        router = router_to(refusing.url, max_tokens_field=field, role={"retry": {"attempts": 1}})
        for _ in range(2):
            assert router.complete("r", "hi", max_tokens=5).text == "ok"
    assert [sorted(one.json.keys() & {field, other}) for one in refusing.requests] == [[field], [other], [other]]
    assert refusing.requests[-1].json[other] == 5


def test_a_server_that_wants_no_bound_under_any_name_is_not_asked_for_ever() -> None:
    def judge(body: dict[str, Any]) -> Any:
        named = next((name for name in ("max_tokens", "max_completion_tokens") if name in body), None)
        return openai(f"Unknown parameter: '{named}'.", named, "unknown_parameter") if named else None

    with server(judge) as refusing:
        router = router_to(refusing.url, role={"retry": {"attempts": 1}})
        for _ in range(3):
            with pytest.raises(LLMRouterError):
                router.complete("r", "hi", max_tokens=5)
    assert len(refusing.requests) == 4


EFFORT = openai(
    "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. "
    "Supported values are: 'low', 'medium', and 'high'.",
    "reasoning_effort",
    "unsupported_value",
)
GROQ = openai("`reasoning_effort` must be one of `none` or `default`")


@pytest.mark.parametrize(
    ("asked", "error", "known", "sent"),
    [
        ("minimal", EFFORT, {"low", "medium", "high"}, "low"),
        ("xhigh", EFFORT, {"low", "medium", "high"}, "high"),
        ("high", GROQ, {"none", "default"}, "none"),
    ],
)
def test_the_effort_is_asked_for_in_a_word_that_the_model_knows(
    asked: str, error: Any, known: set[str], sent: str
) -> None:
    with server(lambda body: None if body["reasoning_effort"] in known else error) as refusing:
        router = router_to(refusing.url)
        for _ in range(2):
            router.complete("r", "hi", reasoning_effort=asked)
    assert [one.json["reasoning_effort"] for one in refusing.requests] == [asked, sent, sent]


def test_a_server_that_changes_its_words_is_not_asked_for_ever() -> None:
    def judge(body: dict[str, Any]) -> Any:
        other = "low" if body["reasoning_effort"] == "high" else "high"
        return openai(f"Unsupported value: 'reasoning_effort'. Supported values are: '{other}'.", "reasoning_effort")

    with server(judge) as refusing, pytest.raises(LLMRouterError):
        router_to(refusing.url, role={"retry": {"attempts": 1}}).complete("r", "hi", reasoning_effort="low")
    assert len(refusing.requests) == 2


def test_a_server_that_takes_no_stream_options_is_not_given_them() -> None:
    error = (
        422,
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
            ]
        },
    )
    for read in READERS.values():
        with server(lambda body: error if "stream_options" in body else None) as refusing:
            ended = read(router_to(refusing.url, role={"retry": {"attempts": 1}}))
        assert ended.response is not None and ended.text == "ok"
        assert [one.json["stream"] for one in refusing.requests] == [True, True]


def test_what_the_caller_has_written_into_the_body_stays() -> None:
    with server(lambda body: NEWER if "max_tokens" in body else None) as refusing, pytest.raises(LLMRouterError):
        router_to(refusing.url, role={"retry": {"attempts": 1}}).complete("r", "hi", extra_body={"max_tokens": 5})
    assert len(refusing.requests) == 1


def test_calls_at_the_same_time_are_all_asked_again() -> None:
    """Each is refused by itself; what one has learned is no reason to fail the other."""
    import threading

    started = threading.Barrier(4, timeout=20)

    def judge(body: dict[str, Any]) -> Any:
        if "max_tokens" in body:
            started.wait()
            return NEWER
        return REFUSALS["OpenAI, a parameter"][2] if "temperature" in body else None

    found: list[str] = []
    with server(judge) as refusing:
        router = router_to(refusing.url, role={"retry": {"attempts": 1}})

        def ask() -> None:
            found.append(router.complete("r", "hi", max_tokens=5, temperature=0.5, drop_unsupported=True).text)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["ok"] * 4
