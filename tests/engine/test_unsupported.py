"""What a target cannot express is known before the call: found at load, skipped, or left out with a note."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from helpers.support import Memory
from lee_llm_router import (
    Capabilities,
    InvalidRequestError,
    LeeLLMRouter,
    LLMRequest,
    LLMResponse,
    Provider,
    ProviderConfig,
    UnavailableError,
    WrapperProvider,
    register,
)
from lee_llm_router.config import load_config
from lee_llm_router.doctor import diagnose


class PlainConfig(ProviderConfig):
    refuses: tuple[str, ...] = ()


class PlainProvider(Provider[PlainConfig]):
    """Takes no seed; what else it refuses stands in its settings."""

    config_model = PlainConfig
    inexpressible: ClassVar[dict[str, str]] = {"seed": "its sampling cannot be repeated"}
    asked: ClassVar[list[LLMRequest]] = []

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: PlainConfig) -> dict[str, str]:
        more = {option: "it is set so" for option in settings.refuses if request.asks_for(option)}
        return {**super().unsupported(request, settings), **more}

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        self.asked.append(request)
        return LLMResponse(text=self.name, finish_reason="stop")


@pytest.fixture(autouse=True)
def _plain_type() -> Iterator[None]:
    register("plain", PlainProvider, replace=True)
    PlainProvider.asked.clear()
    yield


def config(refuses: Any = (), **role: Any) -> dict[str, Any]:
    return {
        "providers": {"a": {"type": "plain", "refuses": list(refuses)}, "b": {"type": "mock", "response_text": "b"}},
        "roles": {"r": {"provider": "a", "fallback_providers": ["b"], **role}},
    }


def test_a_target_that_cannot_express_an_option_is_skipped_with_the_reason() -> None:
    memory = Memory()
    with LeeLLMRouter({"llm": config()}, trace_store=memory) as router:
        assert router.complete("r", "hi", seed=1).text == "b"
    skipped, made = memory.records
    assert (skipped.outcome, skipped.provider, made.provider) == ("skipped", "a", "b")
    assert skipped.error is not None and "seed: its sampling cannot be repeated" in skipped.error
    assert "drop_unsupported" in skipped.error
    assert PlainProvider.asked == []


def test_with_no_other_target_the_call_is_unavailable() -> None:
    router = LeeLLMRouter({"llm": config(fallback_providers=[])}, trace_store=False)
    with router, pytest.raises(UnavailableError, match="seed"):
        router.complete("r", "hi", seed=1)


@pytest.mark.parametrize("where", ["role", "call"])
def test_an_option_is_left_out_where_that_is_wanted_and_the_trace_says_so(where: str) -> None:
    wanted: dict[str, Any] = {"drop_unsupported": True}
    role, options = (wanted, {}) if where == "role" else ({}, wanted)
    memory = Memory()
    with LeeLLMRouter({"llm": config(["top_k", "parallel_tool_calls"], **role)}, trace_store=memory) as router:
        answer = router.complete("r", "hi", seed=1, top_k=5, parallel_tool_calls=False, temperature=0.5, **options)
    assert answer.text == "a"
    (record,) = memory.records
    assert sorted(record.dropped) == ["parallel_tool_calls", "seed", "top_k"]
    (request,) = PlainProvider.asked
    assert (request.seed, request.top_k, request.parallel_tool_calls, request.temperature) == (None, None, None, 0.5)
    line = type(record).from_json(record.to_json())
    assert line.dropped == record.dropped


def test_streams_and_wrapped_providers_keep_to_it_too() -> None:
    router = LeeLLMRouter({"llm": config()}, trace_store=False, wrap_provider=WrapperProvider)
    with router, router.stream("r", "hi", seed=1) as stream:
        assert "".join(chunk.text for chunk in stream) == "b"


@pytest.mark.parametrize(
    ("role", "place"),
    [
        ({"seed": 5}, "llm.roles.r.seed"),
        ({"provider": "b", "fallback_providers": [{"provider": "a", "seed": 5}]}, "fallback_providers[0].seed"),
        ({"provider": "b", "seed": 5, "fallback_providers": ["a"]}, "llm.roles.r.seed"),
    ],
)
def test_a_setting_of_a_role_is_found_at_load_and_by_the_doctor(
    role: dict[str, Any], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_config({"llm": config(**role)})
    (warning,) = caplog.messages
    assert place in warning and "its sampling cannot be repeated" in warning
    (found,) = [result for result in diagnose({"llm": config(**role)}) if result.id == "LLR603"]
    assert found.level == "warning" and "a does not support this" in found.message


def test_a_file_is_told_with_line_and_column(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "llm.yaml"
    path.write_text("llm:\n  providers: {a: {type: plain}}\n  roles:\n    r:\n      provider: a\n      seed: 5\n")
    with caplog.at_level(logging.WARNING):
        load_config(path)
    assert caplog.messages[0].startswith(f"{path}:6:7: llm.roles.r.seed: ")


@pytest.mark.parametrize("role", [{}, {"timeout": 5}, {"seed": 5, "drop_unsupported": True}, {"temperature": 1}])
def test_nothing_is_said_where_nothing_is_lost_unasked(role: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_config({"llm": config(**role)})
    assert caplog.messages == []


class PicturesProvider(PlainProvider):
    capabilities = Capabilities(content_parts=True, media=frozenset({"image"}))


PICTURE = {"type": "image_url", "image_url": {"url": "https://server.test/cat.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}


@pytest.mark.parametrize(("part", "served_by"), [(PICTURE, "a"), (SOUND, "b"), ({"type": "file", "file": {}}, "b")])
def test_a_target_that_takes_no_such_media_is_skipped(part: dict[str, Any], served_by: str) -> None:
    """A sound never goes to a provider that takes pictures alone: the next target is asked, and the trace says why."""
    register("plain", PicturesProvider, replace=True)
    memory = Memory()
    with LeeLLMRouter(load_config({"llm": config()}), trace_store=memory) as router:
        answer = router.complete("r", [{"role": "user", "content": [{"type": "text", "text": "this?"}, part]}])
    assert answer.text == served_by
    if served_by == "b":
        assert "takes no parts of the kind" in (memory.records[0].error or "")


class LearningProvider(PlainProvider):
    """Learns by a refusal that it takes no temperature."""

    learned: ClassVar[set[str]] = set()

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: PlainConfig) -> dict[str, str]:
        return {option: "it has refused it" for option in cls.learned if request.asks_for(option)}

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        if request.temperature is not None:
            self.learned.add("temperature")
            raise InvalidRequestError("no temperature here", ask_again=True)
        return super().complete(request, timeout)


def test_what_a_provider_learns_in_a_call_is_left_out_of_its_next_attempt() -> None:
    """The same call goes on at the same target without the option, and the trace says so; later calls leave it out."""
    register("plain", LearningProvider, replace=True)
    LearningProvider.learned.clear()
    memory = Memory()
    with LeeLLMRouter({"llm": config(drop_unsupported=True)}, trace_store=memory) as router:
        assert router.complete("r", "hi", temperature=0.5).text == "a"
        assert router.complete("r", "hi", temperature=0.5).text == "a"
    assert [(record.outcome, record.dropped) for record in memory.records] == [
        ("error", ()), ("ok", ("temperature",)), ("ok", ("temperature",)),
    ]  # fmt: skip
    assert [request.temperature for request in PlainProvider.asked] == [None, None]


def test_what_makes_the_question_is_never_left_out() -> None:
    """A provider that cannot express the messages or the tools is skipped, whatever may be dropped."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    with LeeLLMRouter({"llm": config(["tools"], drop_unsupported=True)}, trace_store=False) as router:
        assert router.complete("r", "hi", tools=[tool]).text == "b"
    assert PlainProvider.asked == []


class PickyProvider(PlainProvider):
    capabilities: ClassVar[Capabilities] = Capabilities(content_parts=True)

    def untakable(self, request: LLMRequest) -> str | None:
        return "it does not know that file"


def test_a_target_that_cannot_take_the_parts_of_a_message_is_skipped_and_says_why() -> None:
    register("picky", PickyProvider, replace=True)
    setup = config()
    setup["providers"] = {"a": {"type": "picky"}, "b": {"type": "picky"}}
    part = {"type": "file", "file": {"file_id": "file-1"}}
    for wrap in (None, WrapperProvider):
        memory = Memory()
        router = LeeLLMRouter(load_config({"llm": setup}), trace_store=memory, wrap_provider=wrap)
        with pytest.raises(UnavailableError):
            router.complete("r", [{"role": "user", "content": [part]}])
        assert "it does not know that file" in str(memory.records[0].error)
        assert router.complete("r", "text alone").text == "a"
