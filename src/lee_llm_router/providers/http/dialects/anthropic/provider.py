"""The provider type `anthropic`: Anthropic's Messages API, and servers that speak it.

It learns what a model refuses (`LearningProvider`); `lessons` reads the refusals.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from lee_llm_router.errors import FailureType
from lee_llm_router.providers.base import Capabilities, ProviderConfig
from lee_llm_router.providers.http.dialects.anthropic.blocks import foreign_media
from lee_llm_router.providers.http.dialects.anthropic.dialect import MessagesDialect
from lee_llm_router.providers.http.dialects.anthropic.lessons import BOTH, OPTIONS, lesson_of
from lee_llm_router.providers.http.dialects.anthropic.models import is_claude, model_of
from lee_llm_router.providers.http.dialects.anthropic.settings import AnthropicConfig
from lee_llm_router.providers.http.dialects.anthropic.thinking import thinking_problem, thinks
from lee_llm_router.providers.http.dialects.anthropic.tools import foreign_tool
from lee_llm_router.providers.http.dialects.base import Dialect, HTTPReply
from lee_llm_router.providers.http.learning_provider import REFUSED, LearningProvider
from lee_llm_router.response.types import LLMRequest

_NONE = (None, None, None)
_FIELDS = {"stop": "stop_sequences", "parallel_tool_calls": "tool_choice"}
"""Body fields of options that have another name."""


class AnthropicProvider(LearningProvider[AnthropicConfig]):
    """Uses one API that speaks Anthropic's messages."""

    config_model: ClassVar[type[ProviderConfig]] = AnthropicConfig
    dialect: ClassVar[Dialect[Any]] = MessagesDialect()
    capabilities: ClassVar[Capabilities] = Capabilities(
        tools=True, content_parts=True, media=frozenset({"image", "file"}), bounded=True
    )
    inexpressible: ClassVar[Mapping[str, str]] = {
        "seed": "the API has no seed",
        "frequency_penalty": "the API has no penalties",
        "presence_penalty": "the API has no penalties",
        "logprobs": "the API has no token probabilities",
        "top_logprobs": "the API has no token probabilities",
    }

    teaching: ClassVar[Collection[FailureType]] = (FailureType.INVALID_REQUEST, FailureType.UNKNOWN)

    def batch_api(self) -> str | None:
        """As `HTTPProvider.batch_api`: only Anthropic's own platform has one."""
        return "anthropic" if self.config.platform == "messages" else None

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: AnthropicConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what the API lacks, and what a Claude does not accept."""
        found: dict[str, str] = {}
        told = (request.seed, request.logprobs, request.top_logprobs)
        if told != _NONE or request.frequency_penalty or request.presence_penalty:  # a penalty of zero is none
            found = {
                option: reason
                for option, reason in cls.inexpressible.items()
                if request.asks_for(option) and (getattr(request, option) or not option.endswith("_penalty"))
            }
        model = model_of(request, settings)
        if is_claude(model, settings):
            found |= _unlike_claude(request, settings)
        if request.service_tier in ("flex", "batch"):
            found["service_tier"] = "the API has no such tier: auto, standard_only, fast"
        problem = None if request.reasoning_effort is None else thinking_problem(request, settings)
        if problem is not None:
            found["reasoning_effort"] = problem
        kind = None if request.tools is None else foreign_tool(request.tools)
        if kind is not None:
            found["tools"] = f"there are no tools of the type {kind}"
        return found

    def models_path(self) -> str | None:
        """As `HTTPProvider.models_path`: clouds have none."""
        return "/models?limit=1000" if self.config.platform == "messages" else None

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: pictures and files of types that the API does not accept."""
        foreign = foreign_media(request.messages)
        return None if foreign is None else f"{foreign} cannot be sent"

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `LearningProvider.refused_before`; if the model accepts either of two options, the second is left out."""
        refused = self.refused_options(request)
        found = {option: REFUSED for option in refused - {BOTH} if request.asks_for(option)}
        if BOTH in refused and request.temperature is not None and request.top_p is not None:
            found["top_p"] = "the model does not take top_p together with temperature"
        return found

    def learns(self, request: LLMRequest, settings: AnthropicConfig, reply: HTTPReply) -> bool:
        """As `LearningProvider.learns`: forms and options that the model does not accept, and its token limit."""
        own = reply.asked.keys() - settings.extra_body.keys() - request.extra_body.keys()
        asked = _asked({name: reply.asked[name] for name in own})
        bound = reply.asked.get("max_tokens") if "max_tokens" in own and request.max_tokens is None else None
        lesson = lesson_of(reply, asked, bound)
        if not lesson.refused and lesson.max_tokens is None:
            return False
        options = lesson.refused & {*OPTIONS, BOTH}
        # Concurrent calls are refused one by one; more may be known by now.
        self.change(
            request, lesson=self.settings_for(request).lesson | replace(lesson, refused=lesson.refused - options)
        )
        if options:
            return self.refuse(request, options)
        again = self.dialect.encode(request, self.settings_for(request), stream="stream" in reply.asked)
        return any(again.get(name) != reply.asked.get(name) for name in own | again.keys())


def _unlike_claude(request: LLMRequest, settings: AnthropicConfig) -> dict[str, str]:
    """Return the options whose values no Claude accepts."""
    found: dict[str, str] = {}
    if request.temperature is not None and request.temperature > 1:
        found["temperature"] = "it is at most 1 here"
    if request.stop and not all(word.strip() for word in request.stop):
        found["stop"] = "a stop sequence must contain more than white space"
    if request.reasoning_effort is not None and thinks(request, settings):
        told = "a model that thinks does not take it (reasoning_effort)"
        if request.temperature is not None and request.temperature != 1:
            found["temperature"] = told
        if request.top_k is not None:
            found["top_k"] = told
        if request.top_p is not None and request.top_p < 0.95:
            found["top_p"] = told
    return found


def _asked(body: Mapping[str, Any]) -> set[str]:
    """Return the options and forms in a body written here: what an error of the server may refuse."""
    found = {option for option in OPTIONS if _FIELDS.get(option, option) in body}
    thinking, config, choice = body.get("thinking"), body.get("output_config"), body.get("tool_choice")
    if "speed" in body:
        found.add("service_tier")
    if not (isinstance(choice, Mapping) and choice.get("disable_parallel_tool_use")):
        found.discard("parallel_tool_calls")
    if isinstance(thinking, Mapping):
        found |= {"thinking", str(thinking.get("type"))} | ({"display"} if "display" in thinking else set())
    if isinstance(config, Mapping):
        found |= {"output_config", *config.keys()}
        found |= {str(config["effort"])} if config.get("effort") in ("xhigh", "max") else set()
    messages = body.get("messages")
    if isinstance(messages, list) and messages and messages[-1].get("role") == "assistant":
        found.add("prefill")
    if any(tool.get("strict") for tool in body.get("tools") or () if isinstance(tool, Mapping)):
        found.add("strict")
    if "cache_control" in body or _has_marks(body):
        found.add("cache_control")
    return found


def _has_marks(body: Mapping[str, Any]) -> bool:
    """Return whether any block is marked for the cache."""
    places = [body.get("system"), body.get("tools"), *(one.get("content") for one in body.get("messages") or ())]
    return any(
        isinstance(block, Mapping) and "cache_control" in block
        for blocks in places
        if isinstance(blocks, list)
        for block in blocks
    )
