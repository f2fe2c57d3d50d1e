"""What a run of gemini gives: the answer, or the failure that its output, its exit code and its record stand for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import fake_gemini as fg
from helpers.agent_calls import KEY, TOKEN
from helpers.fake_gemini import FakeGemini
from helpers.gemini_support import complete, failure, provider, service
from lee_llm_router.errors import FailureType as F
from lee_llm_router.errors import LLMTimeoutError, ProviderError
from lee_llm_router.providers.child_process.runner import ChildResult
from lee_llm_router.providers.gemini_cli.events import GeminiTurn
from lee_llm_router.providers.gemini_cli.failures import classify, failure_of_finish

FOREVER = "while True: time.sleep(9)"
ADVICE = "\nPlease wait and try again later. To increase your limits, request a quota increase through AI Studio, or"
BY_TERMINAL = "Error when talking to Gemini API TerminalQuotaError: x\n    at somewhere\n"


def body(code: int, message: str, status: str = "X", **more: Any) -> str:
    """Return the message in which gemini passes a server's body on."""
    return "[API Error: " + json.dumps({"error": {"code": code, "message": message, "status": status, **more}}) + "]"


def test_an_answer_has_text_usage_model_session_and_thoughts(gemini: FakeGemini) -> None:
    gemini.script(record=fg.sent("hello", "STOP", "I think, ", "so I am."))
    response = complete(provider(gemini))
    assert response.text == "hello"
    assert response.finish_reason == "stop"
    assert response.reasoning == "I think, so I am."
    assert response.model == "gemini-served-001"
    assert response.details.id == "session-1"
    usage = response.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.total_tokens) == (100, 40, 127)
    assert (usage.completion_tokens, usage.reasoning_tokens) == (27, 7)
    assert [event["type"] for event in response.raw] == ["init", "result"]


def test_zeros_mean_that_no_usage_was_reported(gemini: FakeGemini) -> None:
    gemini.script(fg.answer("hello", stats=fg.NO_STATS))
    assert not complete(provider(gemini)).usage


def test_an_answer_cut_by_its_length_says_so(gemini: FakeGemini) -> None:
    """Gemini itself takes it for a good one."""
    gemini.script(record=fg.sent("hello", "MAX_TOKENS"))
    assert complete(provider(gemini)).finish_reason == "length"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("SAFETY", F.CONTENT_FILTER), ("RECITATION", F.CONTENT_FILTER), ("PROHIBITED_CONTENT", F.CONTENT_FILTER),
        ("SPII", F.CONTENT_FILTER), ("MALFORMED_FUNCTION_CALL", F.INVALID_RESPONSE), ("OTHER", F.INVALID_RESPONSE),
        ("A_NEW_REASON", F.INVALID_RESPONSE), (None, F.INVALID_RESPONSE),
    ],
)  # fmt: skip
def test_an_answer_that_was_taken_back_is_none(gemini: FakeGemini, reason: str | None, kind: F) -> None:
    """Gemini prints a good result after it; what the service sent tells otherwise."""
    gemini.script(record=fg.sent("hello", reason))
    error = failure(provider(gemini))
    assert error.failure_type is kind
    assert error.response is not None
    assert error.response.text == "hello"


@pytest.mark.parametrize("record", [None, "", "no json\n", "[]\n", '{"method": "generateContentStream"}\n'])
def test_an_answer_of_which_nothing_is_known_is_none(gemini: FakeGemini, record: str | None) -> None:
    gemini.script(record=record)
    assert failure(provider(gemini)).failure_type is F.INVALID_RESPONSE


def test_only_text_after_the_last_tool_is_an_agents_answer(gemini: FakeGemini) -> None:
    lines = [*fg.BEGIN, fg.piece("I look."), {"type": "tool_use", "tool_name": "glob"}, {"type": "tool_result"}]
    gemini.script([*lines, fg.piece("done"), fg.result()])
    assert complete(provider(gemini, agent=True)).text == "done"


def test_text_is_kept_as_the_model_wrote_it(gemini: FakeGemini) -> None:
    """Escape sequences, line separators, a character in two pieces, and half of one, which becomes U+FFFD."""
    lines = json.dumps([fg.piece("\x1b[31m\u2028"), fg.piece("\ud83d"), fg.piece("\ude00\ud83d")])
    gemini.script([*fg.BEGIN, *(json.dumps(one) + "\n" for one in json.loads(lines)), fg.result()])
    assert complete(provider(gemini)).text == "\x1b[31m\u2028\U0001f600\ufffd"


CASES: list[tuple[int, str, str, F, dict[str, Any]]] = [
    # exit code, message, stderr, failure, what else
    (145, body(401, "Request had invalid authentication credentials."), "", F.AUTH, {"status_code": 401}),
    (144, body(400, "API key not valid. Please pass a valid API key."), "", F.AUTH, {"status_code": 400}),
    (147, body(403, "Permission denied"), "", F.AUTH, {"status_code": 403}),
    (144, body(400, "contents is not specified"), "", F.INVALID_REQUEST, {"status_code": 400}),
    (144, body(400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."), "",
     F.CONTEXT_LENGTH, {}),
    (1, "[API Error: models/m is not found for API version v1beta]", "... ModelNotFoundError: m", F.MODEL_NOT_FOUND,
     {"status_code": 404}),
    (173, f"[API Error: Resource has been exhausted (e.g. check quota).]{ADVICE}", "", F.RATE_LIMIT,
     {"status_code": 429, "retry_after": None}),
    (173, f"[API Error: You exceeded your quota.\nPlease retry in 34.07s.\nSuggested retry after 34.07s.]{ADVICE}", "",
     F.RATE_LIMIT, {"retry_after": 34.07}),
    (173, f"[API Error: You have exhausted your daily quota on this model.]{ADVICE}", BY_TERMINAL, F.QUOTA,
     {"status_code": 429}),
    (173, f"[API Error: You have exhausted your capacity. Your quota will reset after 14h59m59s.]{ADVICE}", "", F.QUOTA,
     {"retry_after": 53_999.0}),
    (173, body(429, "Please retry in 3s.", details=[{"violations": [{"quotaId": "RequestsPerDayPerProject"}]}]), "",
     F.QUOTA, {}),
    (244, body(500, "An internal error has occurred."), "", F.PROVIDER_ERROR, {"status_code": 500}),
    (247, f"[API Error: The model is overloaded. Please try again later.]{ADVICE}", "", F.OVERLOADED,
     {"status_code": 503}),
    (248, body(504, "Deadline expired before operation could complete."), "", F.PROVIDER_ERROR, {"status_code": 504}),
    (1, "[API Error: exception TypeError: fetch failed sending request]", "", F.PROVIDER_ERROR, {"status_code": 1}),
    (1, "[API Error: Incomplete JSON segment at the end]", "", F.INVALID_RESPONSE, {}),
    (1, "[API Error: Unexpected token '<', \"<html><h1>\"... is not valid JSON]", "", F.INVALID_RESPONSE, {}),
    (1, "[API Error: Expected property name or '}' in JSON at position 1]", "", F.INVALID_RESPONSE, {}),
    (42, "[API Error: Exiting due to command result that is not supported.]", "", F.INVALID_REQUEST, {}),
    (41, "[API Error: Please log in]", "", F.AUTH, {"status_code": 41}),
    (53, "[API Error: Reached max session turns]", "", F.INVALID_RESPONSE, {"final": True}),
    (1, "[API Error: An unknown error occurred.]", "", F.PROVIDER_ERROR, {}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message", "stderr", "kind", "details"), CASES)
def test_a_failed_run_is_named_by_status_body_and_words(
    gemini: FakeGemini, code: int, message: str, stderr: str, kind: F, details: dict[str, Any]
) -> None:
    gemini.script(fg.failure(message), exit=code, stderr=fg.NOISE + stderr, record=None)
    error = failure(provider(gemini))
    assert error.failure_type is kind, error.message
    assert {name: getattr(error, name) for name in details} == details
    assert "API Error" not in error.message
    assert error.sent


@pytest.mark.parametrize(
    ("code", "stderr", "kind"),
    [
        (41, "When using Gemini API, you must specify the GEMINI_API_KEY environment variable.", F.AUTH),
        (42, "No input provided via stdin.", F.PROVIDER_ERROR),
        (52, "Error in settings.json: x\nPlease fix the configuration file(s)", F.INVALID_REQUEST),
        (1, "Unknown arguments: record-responses, recordResponses\nUsage: gemini", F.INVALID_REQUEST),
        (1, "Failed to authenticate with authorization code: invalid_grant", F.AUTH),
        (1, "ENOSPC: no space left on device", F.PROVIDER_ERROR),
        (1, "", F.PROVIDER_ERROR),
        (127, "node: not found", F.PROVIDER_ERROR),
        (0, "", F.PROVIDER_ERROR),
    ],
)
def test_a_run_without_a_result_is_named_by_exit_code_and_stderr(
    gemini: FakeGemini, code: int, stderr: str, kind: F
) -> None:
    gemini.script([], exit=code, stderr=fg.NOISE + stderr, record=None)
    error = failure(provider(gemini))
    assert error.failure_type is kind
    assert not error.sent or code == 0 or error.status_code == code
    assert "256-color" not in error.message


@pytest.mark.parametrize(
    ("message", "kind", "final"),
    [
        ("Model stream ended without a finish reason.", F.INVALID_RESPONSE, False),
        ("The model response was blocked due to recitation/copyright filters.", F.CONTENT_FILTER, False),
        ("The model response was blocked due to other policy settings.", F.CONTENT_FILTER, False),
        ("Model response was truncated because it exceeded the token limit.", F.INVALID_RESPONSE, True),
        ("The model returned an empty response with no text or thoughts.", F.INVALID_RESPONSE, False),
        ("The model returned reasoning thoughts but no final response text.", F.INVALID_RESPONSE, False),
        ("Model stream ended with malformed function call.", F.INVALID_RESPONSE, False),
    ],
)  # fmt: skip
def test_a_stream_that_gemini_refuses_is_no_answer(gemini: FakeGemini, message: str, kind: F, final: bool) -> None:
    """It ends such a run with exit code 0."""
    event = {"type": "error", "severity": "error", "message": message}
    gemini.script([*fg.BEGIN, fg.piece("half"), event, fg.result("error")], record=fg.sent("half", None))
    error = failure(provider(gemini))
    assert (error.failure_type, error.final) == (kind, final)
    assert error.response is not None
    assert error.response.text == "half"


def test_a_blocked_prompt_is_known_by_an_answer_without_candidates(gemini: FakeGemini) -> None:
    event = {"type": "error", "severity": "error", "message": "Model stream ended without a finish reason."}
    gemini.script([*fg.BEGIN, event, fg.result("error")], record=[{"usageMetadata": {"promptTokenCount": 5}}])
    assert failure(provider(gemini)).failure_type is F.CONTENT_FILTER


def test_a_warning_does_not_spoil_an_answer(gemini: FakeGemini) -> None:
    event = {"type": "error", "severity": "warning", "message": "Loop detected, stopping execution"}
    gemini.script([*fg.BEGIN, fg.piece("hello"), event, fg.result()])
    assert complete(provider(gemini)).text == "hello"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV"])
def test_a_run_ended_by_a_signal_is_no_answer(gemini: FakeGemini, name: str) -> None:
    gemini.script([*fg.BEGIN, fg.piece("half")], signal=name)
    error = failure(provider(gemini))
    assert error.failure_type is F.PROVIDER_ERROR
    assert error.response is not None


def test_a_signal_that_gemini_answers_with_exit_0_is_no_answer(gemini: FakeGemini) -> None:
    gemini.script([*fg.BEGIN, fg.piece("half")], exit=0, record=None)
    assert failure(provider(gemini)).failure_type is F.PROVIDER_ERROR


def test_an_answer_that_was_not_printed_to_its_end_is_in_the_record(gemini: FakeGemini) -> None:
    """Gemini ends before all is printed, where much is waiting."""
    record = fg.sent("hello", "STOP", "hmm")
    record[0]["usageMetadata"] = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 8}
    gemini.script([fg.BEGIN[0], '{"type":"message","role":"user","content":"xxx'], record=record)
    response = complete(provider(gemini))
    assert (response.text, response.reasoning, response.finish_reason) == ("hello", "hmm", "stop")
    assert (response.usage.prompt_tokens, response.usage.reasoning_tokens) == (5, 1)
    record[0]["candidates"][0]["content"]["parts"].append({"functionCall": {"name": "glob"}})
    gemini.script([fg.BEGIN[0]], record=record)
    assert failure(provider(gemini)).failure_type is F.PROVIDER_ERROR
    gemini.script([fg.BEGIN[0]], record=fg.sent("hello", "SAFETY"))
    assert failure(provider(gemini)).failure_type is F.CONTENT_FILTER


def test_an_error_that_was_not_printed_is_on_stderr(gemini: FakeGemini) -> None:
    inner = json.dumps({"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}})
    report = "Full report available at: /tmp/x/gemini-client-error-Turn.run-2026.json"
    said = (
        f"Error when talking to Gemini API {report} _ApiError: {inner}\n    at x (file:///y.js:1) {{\n  status: 400\n}}"
    )
    gemini.script([fg.BEGIN[0]], exit=144, stderr=fg.NOISE + said, record=None)
    error = failure(provider(gemini))
    assert (error.failure_type, error.status_code, error.message) == (F.AUTH, 400, "API key not valid.")


def test_a_run_that_hangs_is_ended(gemini: FakeGemini) -> None:
    gemini.script([*fg.BEGIN, fg.piece("half")], after=FOREVER)
    error = failure(provider(gemini, term_grace=0), timeout=0.5)
    assert isinstance(error, LLMTimeoutError)
    assert error.response is not None


def test_a_flood_is_ended(gemini: FakeGemini) -> None:
    gemini.script([*fg.BEGIN, "x" * 5000 + "\n"], after=FOREVER)
    assert failure(provider(gemini, max_output_bytes=4096)).failure_type is F.INVALID_RESPONSE


def test_a_prompt_of_which_gemini_asks_nothing_is_too_long(gemini: FakeGemini) -> None:
    """It ends well then, without a text and without a request."""
    gemini.script([*fg.BEGIN, fg.result(stats=fg.NO_STATS)], record=None)
    assert failure(provider(gemini), "x" * 1_000_001).failure_type is F.CONTEXT_LENGTH
    assert failure(provider(gemini), "x").failure_type is F.INVALID_RESPONSE


def test_a_prompt_that_gemini_would_cut_is_not_sent(gemini: FakeGemini) -> None:
    error = failure(provider(gemini), "ä" * (4 * 1024 * 1024))
    assert error.failure_type is F.CONTEXT_LENGTH
    assert not error.sent
    assert not gemini.runs


def test_secrets_are_masked_in_messages(gemini: FakeGemini) -> None:
    gemini.script(fg.failure(f"[API Error: bad key {KEY}]"), exit=145)
    assert KEY not in str(failure(provider(gemini)))
    gemini.script([], stderr=f"token {TOKEN} is bad", exit=1)
    assert TOKEN not in str(failure(service(gemini)))


def test_a_daily_quota_ends_at_midnight_pacific_time() -> None:
    """Not after the seconds that the service names."""
    result_ = ChildResult(returncode=173, end="exit", stderr=BY_TERMINAL.encode())
    found = classify("[API Error: daily quota. Please retry in 34s.]", result_, 1_767_268_800.0)
    assert found.failure_type is F.QUOTA  # at 2026-01-01 12:00 UTC, 4:00 in California
    assert found.retry_after in (None, 20 * 3600.0)


def test_a_missing_program_is_a_lasting_failure(gemini: FakeGemini) -> None:
    error = failure(provider(gemini, command="no-such-gemini"))
    assert isinstance(error, ProviderError)
    assert error.final
    assert not error.sent


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["type", "role", "content", "status", "stats", "models", "error", "message", "x"]),
                    inner | st.sampled_from(["init", "message", "assistant", "result", "error", "success"]), max_size=5,
                ),
            ).map(lambda value: json.dumps(value).encode()),
        ),
        max_size=8,
    ),
    st.sampled_from([0, 1, 41, 42, 130, 145, 173, 255, -9, None]),
    st.text(max_size=60),
)  # fmt: skip
def test_no_output_breaks_the_reading(tmp_path_factory: Any, lines: list[bytes], code: int | None, said: str) -> None:
    """Whatever is printed gives an answer or a failure, never another error."""
    turn = GeminiTurn(tmp_path_factory.getbasetemp() / "no-record", 5, agent=False)
    for line in lines:
        turn.feed(line)
    assert turn.answer(code, 5) is None
    assert turn.failure(ChildResult(returncode=code, end="exit", stderr=said.encode()), 1.7e9).message
    assert turn.received is None or turn.received.text is not None


@given(st.text(max_size=20), st.integers(0, 10**7))
def test_every_finish_reason_has_a_failure(reason: str, size: int) -> None:
    assert failure_of_finish(reason, size, asked=bool(reason)).message
