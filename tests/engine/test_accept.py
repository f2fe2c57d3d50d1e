"""What an acceptable answer is, as a role or a call says: judged before the caller has it, and otherwise a failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from helpers.support import END, Memory, Pieces, config_for, provider_of, router_for
from lee_llm_router import (
    AcceptConfig,
    ConfigError,
    ContractViolationError,
    InvalidRequestError,
    InvalidResponseError,
    LeeLLMRouter,
    LLMConfig,
    LLMResponse,
    LLMUsage,
    StreamChunk,
    ToolCall,
    ToolCallDelta,
    load_config,
)

TOOLS = LLMResponse(text="", tool_calls=(ToolCall(id="1", name="f", arguments="{}"),), finish_reason="tool_calls")


def _complete(router: LeeLLMRouter, **call: Any) -> LLMResponse:
    return router.complete("r", "hi", **call)


def _complete_async(router: LeeLLMRouter, **call: Any) -> LLMResponse:
    return asyncio.run(router.complete_async("r", "hi", **call))


def _stream(router: LeeLLMRouter, **call: Any) -> LLMResponse:
    with router.stream("r", "hi", **call) as stream:
        chunks = list(stream)
    assert "".join(chunk.text for chunk in chunks) == stream.response.text
    return stream.response


def _stream_async(router: LeeLLMRouter, **call: Any) -> LLMResponse:
    async def read() -> LLMResponse:
        async with router.stream_async("r", "hi", **call) as stream:
            chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text for chunk in chunks) == stream.response.text
        return stream.response

    return asyncio.run(read())


WAYS = {"sync": _complete, "async": _complete_async, "stream": _stream, "stream_async": _stream_async}
EACH_WAY = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)

RULES: list[tuple[Any, Any, Any]] = [
    # the rule, an answer that it refuses, one that it accepts
    ({"min_chars": 1}, "", "x"),
    ({"min_chars": 1}, " \n\t", " x "),
    ({"min_chars": 12}, "too short  ", "long enough, it is"),
    ({"must_match": r"\d{4}"}, "no year", "in 1969"),
    ({"must_match": ["Oslo", "days$"]}, "Oslo for a week", "Oslo for three days"),
    ({"must_match": "^yes$"}, "yes, but no", "yes\n"),
    ({"must_match": r"^(?=.*\bA\b)(?=.*\bB\b)"}, "only A", "B and A"),
    ({"must_match": r"(\w)\1"}, "abc", "book"),
    ({"must_not_match": "(?i)sorry"}, "I am SORRY, I cannot", "gladly"),
    ({"must_not_match": [r"\<think\>", "```"]}, "<think>hm", "thinking of you"),
    ({"must_not_match": "^(a+)+$"}, "a" * 5000, "a" * 5000 + "b"),
    ({"finish_reasons": "stop"}, LLMResponse(text="half an", finish_reason="length"), "whole"),
    ({"finish_reasons": ["stop", "end_turn"]}, LLMResponse(text="odd", finish_reason="other"), "whole"),
    ({"finish_reasons": ["stop"]}, TOOLS, "text"),
    ({"min_chars": 3, "finish_reasons": ["stop"]}, "ab", "abc"),
    (lambda response: len(response.text) > 3, "abc", "abcd"),
    (lambda response: "too vague" if "?" in response.text else "", "what?", "that"),
    (lambda response: response.usage.completion_tokens == 2 or "what tokens?", LLMResponse(text="x"), "x"),
]


@EACH_WAY
@pytest.mark.parametrize("where", ["role", "call"])
@pytest.mark.parametrize(("accept", "bad", "good"), RULES)
def test_an_answer_that_is_not_acceptable_is_asked_for_again(
    accept: Any, bad: Any, good: str, where: str, ask: Callable[..., LLMResponse]
) -> None:
    """As after any INVALID_RESPONSE: at the same target after a backoff. The refused answer's tokens are counted."""
    config = config_for({"a": [bad, good]})
    if where == "role":
        role = config.roles["r"].model_copy(update={"accept": _checked(accept)})
        config = config.model_copy(update={"roles": {"r": role}})
    used: list[LLMUsage] = []
    router, memory, clock = router_for(config, on_token_usage=lambda usage, role, provider: used.append(usage))
    assert ask(router, **({} if where == "role" else {"accept": accept})).text == good
    trail = [(record.outcome, record.failure_type, record.verdict) for record in memory.records]
    assert trail == [("error", "INVALID_RESPONSE", "retry"), ("ok", None, "return")]
    assert len(clock.sleeps) == 1 and "not accepted" in str(memory.records[0].error)
    assert memory.records[0].response_chars == len(bad if isinstance(bad, str) else bad.text)
    if isinstance(bad, str):
        assert [record.usage for record in memory.records] == used and len(used) == 2


def _checked(accept: Any) -> Any:
    return AcceptConfig.model_validate(accept) if isinstance(accept, dict) else accept


@EACH_WAY
@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_answers_that_will_not_do_are_paid_for_no_more_often_than_attempts_says(
    ask: Callable[..., LLMResponse], attempts: int
) -> None:
    """Also once they have opened the breaker: a probe that brings an answer is an attempt like any other."""
    config = config_for({"a": ["", *["no"] * 50]}, {"retry": {"attempts": attempts}})
    router, _, _ = router_for(config)
    for call in range(1, 9):
        with pytest.raises(InvalidResponseError):
            ask(router, accept={"min_chars": 9})
        assert len(provider_of(router, "a").calls) == call * attempts


@EACH_WAY
def test_after_its_attempts_the_next_target_is_asked_and_the_error_holds_the_answer(
    ask: Callable[..., LLMResponse],
) -> None:
    config = config_for({"a": ["no"], "b": ["yes"]}, {"retry": {"attempts": 2}, "accept": {"min_chars": 3}})
    router, memory, _ = router_for(config)
    assert ask(router).text == "yes"
    assert [record.verdict for record in memory.records] == ["retry", "next", "return"]
    with pytest.raises(InvalidResponseError, match="min_chars is 9") as raised:
        ask(router, accept={"min_chars": 9})
    assert raised.value.response is not None and raised.value.response.text == "yes"
    assert raised.value.response.usage.total_tokens == 5


@EACH_WAY
@pytest.mark.parametrize("accept", [{"min_chars": 9}, {"must_match": "x"}, {"must_not_match": "^$"}])
def test_an_answer_that_only_calls_tools_has_no_text_to_judge(accept: Any, ask: Callable[..., LLMResponse]) -> None:
    router, memory, _ = router_for(config_for({"a": [TOOLS]}))
    assert ask(router, accept=accept).tool_calls == TOOLS.tool_calls
    assert len(memory.records) == 1


@EACH_WAY
def test_what_a_call_says_stands_in_place_of_what_the_role_says(ask: Callable[..., LLMResponse]) -> None:
    router, memory, _ = router_for(config_for({"a": ["short"]}, {"accept": {"min_chars": 99}}))
    for accept in ({}, {"must_match": "ort"}, lambda response: True, AcceptConfig()):
        assert ask(router, accept=accept).text == "short"
    assert len(memory.records) == 4


def _raise(response: LLMResponse) -> bool:
    raise KeyError(f"not in {response.text}")


async def _judge_async(response: LLMResponse) -> bool:
    return True


class AsyncJudge:
    async def __call__(self, response: LLMResponse) -> bool:
        return True


@EACH_WAY
@pytest.mark.parametrize(
    "judge", [_raise, lambda response: None, lambda response: 1, lambda response: [], AsyncJudge(), lambda: True]
)
def test_what_could_not_be_judged_is_refused_counted_and_logged_once(
    judge: Any, ask: Callable[..., LLMResponse], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a word of the answer, which an exception's text may quote."""
    router, memory, _ = router_for(config_for({"a": ["secretive"]}, {"retry": {"attempts": 2}}))
    with pytest.raises(InvalidResponseError, match="the function that judges it"):
        ask(router, accept=judge)
    assert router.telemetry_errors == 2 and len(memory.records) == 2
    assert caplog.text.count("accept failed") == 1
    assert "secretive" not in caplog.text + str([record.error for record in memory.records])


def test_a_function_sees_the_parsed_answer_and_what_breaks_the_contract_is_not_judged() -> None:
    """The contract is checked first, and repaired without the judge."""
    judged: list[Any] = []

    def judge(response: LLMResponse) -> bool:
        judged.append(response.parsed)
        return bool(response.parsed != [1])

    router, memory, _ = router_for(config_for({"a": ["no JSON", "[1]", "[2]"]}))
    assert router.complete("r", "hi", schema=list[int], accept=judge).parsed == [2]
    assert judged == [[1], [2]]
    kinds = [record.failure_type for record in memory.records]
    assert kinds == ["CONTRACT_VIOLATION", "INVALID_RESPONSE", None]
    router, _, _ = router_for(config_for({"a": ["no JSON"]}))
    with pytest.raises(ContractViolationError):
        router.complete("r", "hi", json_mode=True, accept=judge)
    assert judged == [[1], [2]]


REASONED = Pieces(StreamChunk(reasoning="hm"), END)
CALLED = Pieces(StreamChunk(tool_calls=(ToolCallDelta(id="1", name="f", arguments="{}"),)), END)


@pytest.mark.parametrize("ask", [_stream, _stream_async])
@pytest.mark.parametrize("pieces", [Pieces("x", "y", END), REASONED, CALLED, Pieces(" ", END)])
def test_a_streamed_answer_stands_once_the_caller_has_some_of_it(
    pieces: Pieces, ask: Callable[..., LLMResponse]
) -> None:
    router, memory, _ = router_for(config_for({"a": [pieces]}))
    assert ask(router, accept={"min_chars": 9, "finish_reasons": ["other"]}).finish_reason == "stop"
    assert [record.outcome for record in memory.records] == ["ok"]


@pytest.mark.parametrize("empty", [Pieces(END), Pieces(StreamChunk(usage=LLMUsage(total_tokens=7)), END)])
@pytest.mark.parametrize("ask", [_stream, _stream_async])
def test_a_stream_without_any_output_goes_to_the_next_target_unseen(
    empty: Pieces, ask: Callable[..., LLMResponse]
) -> None:
    config = config_for({"a": [empty], "b": [Pieces("at", " last", END)]}, {"accept": {"min_chars": 1}})
    router, memory, _ = router_for(config, on_token_usage=None)
    assert ask(router).text == "at last"
    assert [record.provider for record in memory.records] == ["a", "a", "a", "b"]


def test_with_restart_a_streamed_answer_is_judged_at_its_end() -> None:
    config = config_for(
        {"a": [Pieces("so", "rry", END), Pieces("glad", "ly", END)]}, {"stream": {"on_break": "restart"}}
    )
    router, memory, _ = router_for(config)
    with router.stream("r", "hi", accept={"must_not_match": "sorry"}) as stream:
        chunks = [(chunk.text, chunk.restart) for chunk in stream]
    assert chunks[:4] == [("so", False), ("rry", False), ("", False), ("", True)]
    assert stream.response.text == "gladly" and memory.records[0].failure_type == "INVALID_RESPONSE"


@pytest.mark.parametrize("ask", [_complete, _complete_async])
def test_a_search_that_would_take_for_ever_refuses_the_answer_in_bounded_time(
    ask: Callable[..., LLMResponse],
) -> None:
    """Also where the pattern needs look-behind, so that its time depends on more than the length of the text."""
    router, memory, _ = router_for(config_for({"a": ["ab" * 40 + "c"], "b": ["fine"]}))
    assert ask(router, accept={"must_not_match": r"^(?:ab|a|b|abab)+$(?<!x)"}).text == "fine"
    assert "takes too long" in str(memory.records[0].error) and memory.records[0].verdict == "next"


def test_a_long_search_does_not_hold_up_the_event_loop() -> None:
    """Other tasks go on meanwhile."""
    router, _, _ = router_for(config_for({"a": ["ab" * 40 + "c"]}, {"retry": {"attempts": 1}}))

    async def run() -> int:
        beats = 0
        call = asyncio.ensure_future(
            router.complete_async("r", "hi", accept={"must_not_match": r"^(?:ab|a|b|abab)+$(?<!x)"})
        )
        while not call.done():
            await asyncio.sleep(0.01)
            beats += 1
        assert isinstance(call.exception(), InvalidResponseError)
        return beats

    assert asyncio.run(run()) >= 5


@pytest.mark.parametrize(
    "wrong",
    [
        "min_chars: -1", "min_chars: 1.5", 'min_chars: "many"', "must_match: (", "must_match: ['ok', '[a-']",
        "must_not_match: '*'", "must_not_match: ''", "finish_reasons: []", "min_char: 1", "must_match: {a: b}",
        "must_match: '(?P<1>a)'", "min_chars: 99999999999",
    ],
)  # fmt: skip
def test_a_wrong_rule_in_the_file_is_a_finding_at_its_place(wrong: str) -> None:
    head = "llm:\n  providers: {p: {type: mock}}\n  roles:\n    r:\n      provider: p\n      accept:\n"
    with pytest.raises(ConfigError) as raised:
        load_config(f"{head}        {wrong}\n")
    assert len(raised.value.findings) == 1
    assert raised.value.findings[0].startswith("<text>:7:") and "roles.r.accept" in raised.value.findings[0]


@pytest.mark.parametrize(
    "wrong", [5, "text", [], {"min_chars": -1}, {"must_match": "("}, {"min": 1}, _judge_async, {"min_chars": True}]
)
def test_a_wrong_rule_of_a_call_is_a_traced_invalid_request(wrong: Any) -> None:
    router, memory, _ = router_for(config_for({"a": ["x"]}))
    with pytest.raises(InvalidRequestError, match="accept"):
        router.complete("r", "hi", accept=wrong)
    assert memory.records[0].attempt is None and not provider_of(router, "a").calls


def test_a_role_made_in_code_may_have_a_function_and_is_shown_without_it() -> None:
    config = LLMConfig.model_validate(
        {
            "providers": {"p": {"type": "mock", "response_text": "x"}},
            "roles": {"r": {"provider": "p", "accept": lambda response: response.text == "y"}},
        }
    )
    memory = Memory()
    with LeeLLMRouter(config, trace_store=memory) as router, pytest.raises(InvalidResponseError):
        router.complete("r", "hi", deadline=0.2)
    assert "function" in config.model_dump_json()


def test_a_refusal_is_logged_without_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    router, memory, _ = router_for(config_for({"a": ["the patient has a rash"]}, {"retry": {"attempts": 1}}))
    with caplog.at_level(logging.DEBUG), pytest.raises(InvalidResponseError) as raised:
        router.complete("r", "hi", accept={"must_match": "^ok", "min_chars": 2})
    assert "rash" not in caplog.text + str(raised.value) + repr(memory.records)
