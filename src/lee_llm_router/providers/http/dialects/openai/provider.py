"""The provider type `http`: OpenAI-compatible chat completions.

It learns what a server refuses (`LearningProvider`): it then asks for JSON in a weaker form (`structured_output`),
sends the token limit under its other name, or the effort in a word that the server knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, EmbeddingDialect, HTTPReply
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.embeddings import OpenAIEmbeddings
from lee_llm_router.providers.http.dialects.openai.message_parts import has_file_address
from lee_llm_router.providers.http.dialects.openai.refusals import options_refused, settings_wanted
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.structured_output import (
    FORMS,
    Form,
    Kind,
    form_of,
    kind_of,
    weaker_form,
)
from lee_llm_router.providers.http.learning_provider import LearningProvider, bounded
from lee_llm_router.providers.http.settings import HTTPConfig
from lee_llm_router.response.content import media_kinds
from lee_llm_router.response.types import LLMRequest

ConfigT = TypeVar("ConfigT", bound=HTTPConfig)

_OF_CALLER = frozenset({"max_tokens", "max_completion_tokens", "stream_options", "reasoning_effort"})
"""Fields left alone if somebody has written them into `extra_body`."""


class OpenAIProvider(LearningProvider[ConfigT]):
    """Uses one of OpenAI's APIs, and learns in which form each model can be asked for JSON."""

    def __init__(self, name: str, config: ConfigT, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._weaker_forms: dict[tuple[str | None, Kind], Form] = {}
        """By model and kind of JSON: the strongest form not yet refused."""

    def batch_api(self) -> str | None:
        """As `HTTPProvider.batch_api`: both APIs share one, which takes uploaded files."""
        return "openai"

    def settings_for(self, request: LLMRequest) -> ConfigT:
        """As `LearningProvider.settings_for`, with the form of JSON that the model accepts."""
        if not self._weaker_forms or not request.wants_json:
            return super().settings_for(request)
        model = request.model or self.config.model
        form = self._weaker_forms.get((model, kind_of(request)))
        changes = self._changes.get(model, {})
        return self.varied(changes if form is None else {**changes, "structured_output": form})

    def learns_form(self, request: LLMRequest, preferred: Form, field: str, reply: HTTPReply) -> bool:
        """Remember a weaker form of JSON if `reply` refuses the one used; return whether it does.

        Args:
            request: What was asked.
            preferred: The form in the settings.
            field: Where a body holds the form; a caller's own is left alone.
            reply: The response.
        """
        if not request.wants_json or field in request.extra_body or field in self.config.extra_body:
            return False
        kind = kind_of(request)
        weaker = weaker_form(kind, form_of(kind, preferred), reply)
        if weaker is None:
            return False
        key = (request.model or self.config.model, kind)
        known = self._weaker_forms.get(key)
        # Concurrent calls are refused one by one; a still weaker form may be known by now.
        if known is None or FORMS.index(weaker) > FORMS.index(known):
            bounded(self._weaker_forms)[key] = weaker
        return True


class OpenAIChatProvider(OpenAIProvider[OpenAIChatConfig]):
    """Uses one OpenAI-compatible API for chat completions."""

    config_model: ClassVar[type[ProviderConfig]] = OpenAIChatConfig
    dialect: ClassVar[Dialect[Any]] = ChatDialect()
    embedding_dialect: ClassVar[EmbeddingDialect[Any] | None] = OpenAIEmbeddings()

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: OpenAIChatConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what OpenAI itself does not accept, and what the settings say of other servers."""
        facts = settings.facts
        lacking = facts.lacking
        found = {option: reason for option, reason in lacking.items() if request.asks_for(option)} if lacking else {}
        most = facts.max_stop
        if most is not None and request.stop is not None and len(request.stop) > most:
            found["stop"] = f"the server takes at most {most} stop sequences"
        return found

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: kinds of parts that the settings exclude, files that OpenAI would have to fetch."""
        media = self.config.media
        if media is not None:
            foreign = sorted(media_kinds(request.messages) - set(media))
            if foreign:
                return f"the server takes no parts of the kind {' or '.join(foreign)} (media, in the settings)"
        if self.config.facts.is_openai and has_file_address(request.messages):
            return "OpenAI takes files as data or by their id, not by their address"
        return None

    def learns(self, request: LLMRequest, settings: OpenAIChatConfig, reply: HTTPReply) -> bool:
        """As `LearningProvider.learns`: another form or setting, or options that the model does not accept."""
        return (
            self.learns_form(request, settings.structured_output, "response_format", reply)
            or self._learns_settings(request, settings, reply)
            or self.refuse(request, options_refused(request, settings, reply))
        )

    def _learns_settings(self, request: LLMRequest, settings: OpenAIChatConfig, reply: HTTPReply) -> bool:
        """Remember a setting that `reply` asks for, once each; return whether it does."""
        wanted = settings_wanted(settings, reply)
        # A setting is changed only once, never back: a server that accepts neither value would be asked forever.
        new = {name: value for name, value in wanted.items() if getattr(settings, name) == getattr(self.config, name)}
        if not new or not request.extra_body.keys().isdisjoint(_OF_CALLER) or settings.extra_body.keys() & _OF_CALLER:
            return False
        self.change(request, **new)
        return True
