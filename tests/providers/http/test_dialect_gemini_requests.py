"""What is sent to Gemini: addresses, headers, options, how much to think."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.gemini_wire import DIALECT, MODEL, SETTINGS, TOOL, answer, body, config, read, text, whole
from helpers.servers import Server, answering, json_answer
from helpers.stream_support import router_to
from helpers.support import Memory
from lee_llm_router import ConfigError, InvalidRequestError, LLMRequest, UnavailableError
from lee_llm_router.config import load_config

feature = pytest.mark.feature
VERTEX = "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/europe-west1/publishers/google"


def request(model: str | None = None, **options: Any) -> LLMRequest:
    return LLMRequest(messages=({"role": "user", "content": "hi"},), model=model, **options)


def unsupported(model: str = MODEL, **options: Any) -> set[str]:
    from lee_llm_router.providers.http.dialects.gemini.provider import GeminiProvider

    return set(GeminiProvider.unsupported(request(model, **options), config()))


PATHS = {
    "gemini-2.5-pro": "/models/gemini-2.5-pro",
    "models/gemini-2.5-pro": "/models/gemini-2.5-pro",
    "tunedModels/mine-1": "/tunedModels/mine-1",
    "publishers/google/models/gemini-2.5-pro": "/publishers/google/models/gemini-2.5-pro",
    "projects/p/locations/r/endpoints/12": "/projects/p/locations/r/endpoints/12",
    "google/gemini-3-pro": "/models/google%2Fgemini-3-pro",
    "a b?c#d": "/models/a%20b%3Fc%23d",
    "gemini-1.5-pro@001": "/models/gemini-1.5-pro%40001",
    "models/a?b": "/models/a%3Fb",
    "models/../x": "/models/models%2F..%2Fx",
    "models//x": "/models/models%2F%2Fx",
    "модель": "/models/%D0%BC%D0%BE%D0%B4%D0%B5%D0%BB%D1%8C",
}


@pytest.mark.parametrize("model", PATHS)
def test_a_models_name_stands_quoted_in_the_address(model: str) -> None:
    assert DIALECT.path(request(model), config(), stream=False) == PATHS[model] + ":generateContent"
    assert DIALECT.path(request(model), config(), stream=True) == PATHS[model] + ":streamGenerateContent?alt=sse"


def test_without_a_model_nothing_is_asked() -> None:
    with pytest.raises(InvalidRequestError, match="a model must be named") as caught:
        DIALECT.path(request(), config(model=None), stream=False)
    assert caught.value.sent is False


@pytest.mark.parametrize(("base_url", "key_as", "key", "header"), [
    ("https://generativelanguage.googleapis.com/v1beta", "auto", "AIzaX", "x-goog-api-key"),
    ("https://generativelanguage.googleapis.com/v1beta", "auto", "ya29.token", "x-goog-api-key"),
    (VERTEX, "auto", "ya29.token", "Authorization"),
    (VERTEX, "auto", "AIzaX", "x-goog-api-key"),
    (VERTEX, "auto", "AQ.express", "x-goog-api-key"),
    (VERTEX, "x-goog-api-key", "ya29.token", "x-goog-api-key"),
    ("https://gateway.test/v1", "bearer", "sk-1", "Authorization"),
])  # fmt: skip
def test_the_key_travels_as_the_server_wants_it(base_url: str, key_as: str, key: str, header: str) -> None:
    headers = DIALECT.headers(config(base_url=base_url, key_as=key_as), key, stream=False)
    assert headers == {header: f"Bearer {key}" if header == "Authorization" else key}


@pytest.mark.parametrize("end", ["/models", "/models/gemini-2.5-pro", "/models/x:generateContent"])
def test_a_base_url_that_names_the_model_is_a_finding(end: str) -> None:
    with pytest.raises(ConfigError, match="leave out /models"):
        load_config({"llm": {
            "providers": {"p": {"type": "gemini", "base_url": f"https://h.test/v1beta{end}", "model": "m"}},
            "roles": {"r": {"provider": "p"}},
        }})  # fmt: skip


@feature("gemini", "headers")
@feature("gemini", "extra_query")
@feature("gemini", "extra_body")
def test_headers_query_and_fields_of_the_user_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-0123-secret")
    with Server(answering(json_answer(answer(text("hello"))))) as server:
        settings = {**SETTINGS, "headers": {"X-One": "1"}, "extra_body": {"safetySettings": [{"category": "C"}]}}
        router = router_to(server.url, **{**settings, "api_key_env": "GEMINI_API_KEY"})
        options: dict[str, Any] = {"headers": {"X-Two": "2"}, "extra_query": {"q": "a b"}, "temperature": 0.5}
        options["extra_body"] = {"cachedContent": "cachedContents/1", "generationConfig": {"topK": 3}}
        assert router.complete("r", "hi", **options).text == "hello"
        list(router.stream("r", "hi", **options))
        router.close()
    first, second = server.requests
    assert first.line.startswith(f"POST /v1/models/{MODEL}:generateContent?q=a%20b ")
    assert second.line.startswith(f"POST /v1/models/{MODEL}:streamGenerateContent?alt=sse&q=a%20b ")
    assert (first.headers["x-one"], first.headers["x-two"]) == ("1", "2")
    assert first.headers["x-goog-api-key"] == "AIza-0123-secret"
    assert first.json == second.json == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"temperature": 0.5, "topK": 3},
        "safetySettings": [{"category": "C"}],
        "cachedContent": "cachedContents/1",
    }  # fmt: skip


def test_extra_fields_fill_in_what_the_options_say() -> None:
    """Most of what may be added stands within `generationConfig`, beside the options of the call."""
    from lee_llm_router.providers.http.dialects.gemini.request import with_extra

    sent = body(temperature=1, max_tokens=5, tools=(TOOL,), reasoning_effort="low")
    with_extra(sent, {
        "generation_config": {"response_modalities": ["IMAGE"], "max_output_tokens": 6,
                              "thinking_config": {"include_thoughts": False}},
        "tools": [{"googleSearch": {}}],
        "tool_config": {"includeServerSideToolInvocations": True},
        "labels": {"team_a": "x"},
    })  # fmt: skip
    assert sent["generationConfig"] == {
        "temperature": 1, "maxOutputTokens": 6, "response_modalities": ["IMAGE"],
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": False},
    }  # fmt: skip
    assert [*map(next, map(iter, sent["tools"]))] == ["functionDeclarations", "googleSearch"]
    assert sent["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert sent["labels"] == {"team_a": "x"}


def test_fields_of_a_schema_keep_their_names() -> None:
    from lee_llm_router.providers.http.dialects.gemini.request import with_extra

    schema = {"type": "object", "properties": {"first_name": {"type": "string"}}}
    sent = body()
    with_extra(sent, {"generationConfig": {"responseJsonSchema": schema}})
    assert sent["generationConfig"]["responseJsonSchema"] == schema


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stop": ({"stop": ("a", "b")}, {"stopSequences": ["a", "b"]}),
    "seed": ({"seed": 7}, {"seed": 7}),
    "top_p": ({"top_p": 0.9}, {"topP": 0.9}),
    "top_k": ({"top_k": 40}, {"topK": 40}),
    "penalties": (
        {"presence_penalty": 0.5, "frequency_penalty": -0.5}, {"presencePenalty": 0.5, "frequencyPenalty": -0.5}
    ),
    "max_tokens": ({"max_tokens": 9}, {"maxOutputTokens": 9}),
    "logprobs": ({"logprobs": True, "top_logprobs": 3}, {"responseLogprobs": True, "logprobs": 3}),
    "json_mode": ({"json_mode": True}, {"responseMimeType": "application/json"}),
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=feature("gemini", name)) for name in OPTIONS])
def test_options_stand_in_the_generation_config(name: str) -> None:
    options, sent = OPTIONS[name]
    assert body(**options)["generationConfig"] == sent


def test_what_is_not_asked_for_is_not_sent() -> None:
    assert body() == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert body(logprobs=False, json_mode=False, parallel_tool_calls=True, service_tier="auto") == body()


def test_only_top_logprobs_asks_for_logprobs() -> None:
    assert body(top_logprobs=0)["generationConfig"] == {"responseLogprobs": True}


@pytest.mark.parametrize("seed", [2**31, 2**63, -(2**40), 10**30])
def test_a_seed_that_is_too_long_becomes_a_shorter_one(seed: int) -> None:
    """The API takes 32 bits; the same seed stays the same."""
    sent = body(seed=seed)["generationConfig"]["seed"]
    assert -(2**31) <= sent < 2**31
    assert body(seed=seed)["generationConfig"]["seed"] == sent


@feature("gemini", "service_tier")
def test_the_tier_is_sent_and_read() -> None:
    assert body(service_tier="flex")["serviceTier"] == "flex"
    assert body(service_tier="default")["serviceTier"] == "standard"
    served = answer(text("a"), usage={"promptTokenCount": 1, "serviceTier": "priority"})
    assert read(whole(served)).details.service_tier == "priority"
    vertex = answer(text("a"), usage={"promptTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"})
    assert read(whole(vertex)).details.service_tier == "flex"


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LEVELS = {
    "gemini-3-pro-preview": "LOW LOW LOW LOW HIGH HIGH HIGH",
    "gemini-3.1-pro-preview": "LOW LOW LOW MEDIUM HIGH HIGH HIGH",
    "gemini-3-flash-preview": "MINIMAL MINIMAL LOW MEDIUM HIGH HIGH HIGH",
    "gemini-3.5-flash": "MINIMAL MINIMAL LOW MEDIUM HIGH HIGH HIGH",
    "models/gemini-3.5-flash": "MINIMAL MINIMAL LOW MEDIUM HIGH HIGH HIGH",
    "gemini-3.1-flash-lite": "MINIMAL MINIMAL LOW MEDIUM HIGH HIGH HIGH",
    "gemini-3.8-flash": "LOW LOW LOW MEDIUM HIGH HIGH HIGH",
    "gemini-4-argon": "LOW LOW LOW MEDIUM HIGH HIGH HIGH",
    "gemini-4-neon": "LOW LOW LOW MEDIUM HIGH XHIGH XHIGH",
    "gemini-flash-latest": "LOW LOW LOW MEDIUM HIGH HIGH HIGH",
    "gemini-pro-latest": "LOW LOW LOW MEDIUM HIGH HIGH HIGH",
    "gemini-flash-lite-latest": "MINIMAL MINIMAL LOW MEDIUM HIGH HIGH HIGH",
}
BUDGETS = {
    "gemini-2.5-pro": "128 512 1024 8192 24576 32768 32768",
    "gemini-2.5-flash": "0 512 1024 8192 24576 24576 24576",
    "gemini-2.5-flash-lite": "0 512 1024 8192 24576 24576 24576",
    "gemini-2.5-flash-preview-09-2025": "0 512 1024 8192 24576 24576 24576",
}


@feature("gemini", "reasoning_effort")
@pytest.mark.parametrize("model", [*LEVELS, *BUDGETS])
def test_the_effort_is_the_nearest_that_the_model_has_and_never_more_where_it_has_less(model: str) -> None:
    wanted = (LEVELS.get(model) or BUDGETS[model]).split()
    for effort, level in zip(EFFORTS, wanted, strict=True):
        sent = body(model=model, reasoning_effort=effort)["generationConfig"]["thinkingConfig"]
        shown = {} if effort == "none" else {"includeThoughts": True}
        name, value = ("thinkingLevel", level) if model in LEVELS else ("thinkingBudget", int(level))
        assert sent == {name: value, **shown}, effort


def test_an_effort_in_googles_own_word_is_passed_on() -> None:
    assert body(reasoning_effort="XHIGH")["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "XHIGH"


@pytest.mark.parametrize(
    "model", ["gemini-2.0-flash", "gemini-1.5-pro", "gemma-3-27b-it", "gemini-2.5-flash-image", "tunedModels/x", "own"]
)
def test_a_model_that_cannot_be_told_how_much_to_think_is_known_before(model: str) -> None:
    assert unsupported(model, reasoning_effort="high") == {"reasoning_effort"}
    assert unsupported(model, reasoning_effort="none") == set()
    assert "generationConfig" not in body(model=model, reasoning_effort="none")


@pytest.mark.parametrize("model", ["gemini-4-argon", "gemini-4-neon", "gemini-4.5-flash"])
def test_models_from_4_on_take_no_penalties(model: str) -> None:
    assert unsupported(model, presence_penalty=1.0, frequency_penalty=0.0) == {"presence_penalty", "frequency_penalty"}
    assert unsupported(MODEL, presence_penalty=1.0) == set()


@feature("gemini", "parallel_tool_calls", supported=False)
def test_a_target_that_cannot_be_told_to_call_one_tool_at_a_time_is_skipped() -> None:
    router = router_to("http://127.0.0.1:9/v1", **SETTINGS)
    with pytest.raises(UnavailableError, match="one tool at a time"):
        router.complete("r", "hi", parallel_tool_calls=False)
    router.close()
    assert unsupported(parallel_tool_calls=True) == unsupported() == set()


def test_what_the_model_cannot_take_is_dropped_with_leave_and_noted() -> None:
    memory = Memory()
    with Server(answering(json_answer(answer(text("hello"))))) as server:
        router = router_to(server.url, memory=memory, **{**SETTINGS, "model": "gemini-4-neon"})
        options: dict[str, Any] = {"parallel_tool_calls": False, "presence_penalty": 1.0, "temperature": 0.5}
        router.complete("r", "hi", drop_unsupported=True, **options)
        router.close()
    assert server.requests[0].json["generationConfig"] == {"temperature": 0.5}
    assert set(memory.records[0].dropped or ()) == {"parallel_tool_calls", "presence_penalty"}


def test_tiers_of_other_vendors_are_known_before() -> None:
    assert unsupported(service_tier="fast") == {"service_tier"}
    for tier in ("flex", "priority", "standard", "auto", "default", "a-new-one"):
        assert unsupported(service_tier=tier) == set()


def test_more_stops_than_are_taken_are_known_before() -> None:
    assert unsupported(stop=tuple("abcdef")) == {"stop"}
    assert unsupported(stop=tuple("abcde")) == set()


def test_tools_of_another_vendor_are_known_before() -> None:
    assert unsupported(tools=({"type": "web_search"},)) == {"tools"}
    assert unsupported(tools=({"type": "custom", "custom": {"name": "x"}},)) == {"tools"}
    assert unsupported(tools=(TOOL, {"googleSearch": {}}, {"google_search": {}})) == set()
