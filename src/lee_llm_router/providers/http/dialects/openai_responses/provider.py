"""The provider type `openai_responses`: OpenAI's Responses API, and servers that speak it.

It learns what a server refuses (`LearningProvider`): it then asks for JSON in a weaker form, for reasoning without its
encrypted form, or for the effort in a word that the server knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.base import Capabilities, ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, HTTPReply
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.providers.http.dialects.openai.provider import OpenAIProvider
from lee_llm_router.providers.http.dialects.openai.refusals import efforts_known, options_refused
from lee_llm_router.providers.http.dialects.openai_responses.dialect import ResponsesDialect
from lee_llm_router.providers.http.dialects.openai_responses.errors import refuses_encrypted
from lee_llm_router.providers.http.dialects.openai_responses.input_items import foreign_media
from lee_llm_router.providers.http.dialects.openai_responses.models import known_model
from lee_llm_router.providers.http.dialects.openai_responses.request import foreign_tool
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.response.types import LLMRequest

_NO_FIELD = "the Responses API has no such field (a server that has one takes it in extra_body)"
_LEAST_TOKENS = 16
"""The smallest token limit that OpenAI accepts."""


class OpenAIResponsesProvider(OpenAIProvider[ResponsesConfig]):
    """Uses one server's Responses API."""

    config_model: ClassVar[type[ProviderConfig]] = ResponsesConfig
    dialect: ClassVar[Dialect[Any]] = ResponsesDialect()
    capabilities: ClassVar[Capabilities] = Capabilities(
        tools=True, content_parts=True, media=frozenset({"image", "file"}), bounded=True
    )
    inexpressible: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("stop", "seed", "top_k", "frequency_penalty", "presence_penalty"), _NO_FIELD
    )

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: ResponsesConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what the API has no field for, and what OpenAI's models are known to refuse."""
        found = dict(super().unsupported(request, settings))
        model = request.model or settings.model
        known = known_model(model)
        effort = request.reasoning_effort
        if known.reasons is False and effort is not None and effort != "none":
            found["reasoning_effort"] = f"{model} does not reason"
        if known.reasons and not known.samples:
            thinks = effort is not None and effort != "none"
            for option in ("temperature", "top_p"):
                if getattr(request, option) is not None and (thinks or not known.samples_unthinking):
                    found[option] = f"{model} does not take it when it reasons"
        foreign = foreign_tool(request.tools) if request.tools else None
        if foreign is not None:
            found["tools"] = f"a tool of the type {foreign} is another vendor's"
        if settings.is_at_openai and request.max_tokens is not None and request.max_tokens < _LEAST_TOKENS:
            found["max_tokens"] = f"the least that OpenAI takes is {_LEAST_TOKENS}"
        return found

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: addresses outside the web, and sounds in files."""
        try:
            foreign = foreign_media(request.messages)
        except InvalidRequestError:  # no vendor accepts it; writing the request reports that
            return None
        return None if foreign is None else f"{foreign} cannot be sent"

    def learns(self, request: LLMRequest, settings: ResponsesConfig, reply: HTTPReply) -> bool:
        """As `LearningProvider.learns`: another setting or form, or options that the model does not accept."""
        return (
            self._learns_settings(request, settings, reply)
            or self.learns_form(request, settings.structured_output, "text", reply)
            or self.refuse(request, options_refused(request, settings, reply))
        )

    def _learns_settings(self, request: LLMRequest, settings: ResponsesConfig, reply: HTTPReply) -> bool:
        """Remember a setting that `reply` asks for, once each; return whether it does."""
        new: dict[str, Any] = {}
        if settings.encrypted_reasoning and refuses_encrypted(reply):
            new["encrypted_reasoning"] = False
        elif settings.reasoning_efforts == self.config.reasoning_efforts and "reasoning" not in request.extra_body:
            asked = mapping(reply.asked.get("reasoning")).get("effort")
            efforts = efforts_known(reply, "reasoning", asked)
            # A setting is changed only once: a server that accepts neither value would be asked forever.
            if efforts and list(efforts) != self.config.reasoning_efforts:
                new["reasoning_efforts"] = efforts
        if new:
            self.change(request, **new)
        return bool(new)

    def add_extra(self, body: dict[str, Any], extra: Mapping[str, Any]) -> None:
        """Merge `extra` into `body`: `reasoning` and `text` are merged, and `include` grows."""
        for name, value in extra.items():
            known = body.get(name)
            if name in ("reasoning", "text") and isinstance(known, dict) and isinstance(value, Mapping):
                body[name] = {**known, **value}
            elif name == "include" and isinstance(known, list) and isinstance(value, (list, tuple)):
                body[name] = [*known, *(one for one in value if one not in known)]
            else:
                body[name] = value
