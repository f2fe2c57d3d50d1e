"""The provider type `http`: OpenAI-compatible chat completions.

What a server refuses is learned, for the model: JSON is asked for in a weaker form (`structured_output`), the bound on
tokens under its other name, the effort in a word that it knows. The target is then asked again at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.content import media_kinds
from lee_llm_router.errors import FailureType, LLMRouterError
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
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.response import LLMRequest

_REFUSED = "the model has refused it"
_OF_CALLER = frozenset({"max_tokens", "max_completion_tokens", "stream_options", "reasoning_effort"})
"""Fields that are left alone where somebody has written them into `extra_body`."""
_MAX_REMEMBERED = 1000
"""Models whose refusals are remembered; a caller may name any."""


class OpenAIChatProvider(HTTPProvider[OpenAIChatConfig]):
    """Asks one OpenAI-compatible API for chat completions."""

    config_model: ClassVar[type[ProviderConfig]] = OpenAIChatConfig
    dialect: ClassVar[Dialect[Any]] = ChatDialect()
    embedding_dialect: ClassVar[EmbeddingDialect[Any] | None] = OpenAIEmbeddings()

    def __init__(self, name: str, config: OpenAIChatConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._weaker_forms: dict[tuple[str | None, Kind], Form] = {}
        """By model and kind of JSON: the strongest form that has not been refused."""
        self._learned: dict[str | None, dict[str, Any]] = {}
        """By model: settings that hold in place of those configured."""
        self._refused: dict[str | None, dict[str, str]] = {}
        """By model: options that the server has refused, each with the reason."""
        self._variants: dict[tuple[tuple[str, Any], ...], OpenAIChatConfig] = {}

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: OpenAIChatConfig) -> Mapping[str, str]:
        """As `Provider.unsupported`: what OpenAI itself does not take, and what the settings say of other servers."""
        facts = settings.facts
        lacking = facts.lacking
        found = {option: reason for option, reason in lacking.items() if request.asks_for(option)} if lacking else {}
        most = facts.max_stop
        if most is not None and request.stop is not None and len(request.stop) > most:
            found["stop"] = f"the server takes at most {most} stop sequences"
        return found

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: kinds of parts that the settings leave out, files that OpenAI has to fetch."""
        media = self.config.media
        if media is not None:
            foreign = sorted(media_kinds(request.messages) - set(media))
            if foreign:
                return f"the server takes no parts of the kind {' or '.join(foreign)} (media, in the settings)"
        if self.config.facts.is_openai and has_file_address(request.messages):
            return "OpenAI takes files as data or by their id, not by their address"
        return None

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `Provider.refused_before`: what the model has refused with 400."""
        refused = self._refused.get(request.model) if self._refused else None
        return {option: why for option, why in refused.items() if request.asks_for(option)} if refused else {}

    def settings_for(self, request: LLMRequest) -> OpenAIChatConfig:
        """Return the provider's settings, changed by what the server has refused so far."""
        if not self._weaker_forms and not self._learned:
            return self.config
        changes = dict(self._learned.get(request.model, {}))
        form = self._weaker_forms.get((request.model, kind_of(request))) if request.wants_json else None
        if form is not None:
            changes["structured_output"] = form
        key = tuple(changes.items())
        if key not in self._variants:
            self._variants[key] = self.config.model_copy(update=changes) if changes else self.config
        return self._variants[key]

    def failure(self, request: LLMRequest, settings: OpenAIChatConfig, reply: HTTPReply) -> LLMRouterError:
        """Return the error for `reply`. Where it says how to ask so that the server understands, that is done from now.

        Options that it refuses are left out only where the request says so (`drop_unsupported`).
        """
        error = super().failure(request, settings, reply)
        if error.failure_type is not FailureType.INVALID_REQUEST:
            return error
        error.ask_again = self._learns_form(request, settings, reply) or self._learns_settings(request, settings, reply)
        refused = options_refused(request, settings, reply) if request.drop_unsupported and not error.ask_again else ()
        if refused:
            _bounded(self._refused).setdefault(request.model, {}).update(dict.fromkeys(refused, _REFUSED))
            error.ask_again = True
        return error

    def _learns_form(self, request: LLMRequest, settings: OpenAIChatConfig, reply: HTTPReply) -> bool:
        """Remember a weaker form of JSON, if `reply` refuses the one that was asked for; return whether it does."""
        by_caller = "response_format" in request.extra_body or "response_format" in settings.extra_body
        if not request.wants_json or by_caller:
            return False
        kind = kind_of(request)
        weaker = weaker_form(kind, form_of(kind, settings.structured_output), reply)
        if weaker is None:
            return False
        key = (request.model, kind)
        known = self._weaker_forms.get(key)
        # Calls at the same time are refused one by one; a form still weaker may be known by now.
        if known is None or FORMS.index(weaker) > FORMS.index(known):
            _bounded(self._weaker_forms)[key] = weaker
        return True

    def _learns_settings(self, request: LLMRequest, settings: OpenAIChatConfig, reply: HTTPReply) -> bool:
        """Remember a setting that `reply` asks for, once each; return whether it does."""
        wanted = settings_wanted(settings, reply)
        # What was changed once is not changed back: a server that wants neither would be asked for ever.
        new = {name: value for name, value in wanted.items() if getattr(settings, name) == getattr(self.config, name)}
        if not new or not request.extra_body.keys().isdisjoint(_OF_CALLER) or settings.extra_body.keys() & _OF_CALLER:
            return False
        _bounded(self._learned).setdefault(request.model, {}).update(new)
        return True


def _bounded(known: dict[Any, Any]) -> dict[Any, Any]:
    """Return `known`, emptied if it has grown too large: a caller may name any number of models."""
    if len(known) >= _MAX_REMEMBERED:
        known.clear()
    return known
