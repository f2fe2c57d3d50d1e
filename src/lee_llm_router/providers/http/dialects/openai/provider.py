"""The provider type `http`: OpenAI-compatible chat completions.

A server that does not know the form in which JSON was asked for (`structured_output`) is asked in a weaker one from
then on, for the model and the kind of JSON that it refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, EmbeddingDialect, HTTPReply
from lee_llm_router.providers.http.dialects.openai.chat import ChatDialect
from lee_llm_router.providers.http.dialects.openai.embeddings import OpenAIEmbeddings
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
        self._settings = {form: config.model_copy(update={"structured_output": form}) for form in FORMS}

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

    def settings_for(self, request: LLMRequest) -> OpenAIChatConfig:
        """Return the provider's settings, with a weaker `structured_output` where the server refused a stronger one."""
        if not self._weaker_forms or not request.wants_json:
            return self.config
        form = self._weaker_forms.get((request.model, kind_of(request)))
        return self.config if form is None else self._settings[form]

    def failure(self, request: LLMRequest, settings: OpenAIChatConfig, reply: HTTPReply) -> LLMRouterError:
        """Return the error for `reply`. Where that refuses the form of JSON, a weaker one is asked for from now on."""
        error = super().failure(request, settings, reply)
        by_caller = "response_format" in request.extra_body or "response_format" in settings.extra_body
        if error.failure_type is not FailureType.INVALID_REQUEST or not request.wants_json or by_caller:
            return error
        kind = kind_of(request)
        weaker = weaker_form(kind, form_of(kind, settings.structured_output), reply)
        if weaker is not None:
            self._remember((request.model, kind), weaker)
            error.ask_again = True
        return error

    def _remember(self, key: tuple[str | None, Kind], form: Form) -> None:
        known = self._weaker_forms.get(key)
        # Calls at the same time are refused one by one; a form still weaker may be known by now.
        if known is None or FORMS.index(form) > FORMS.index(known):
            if len(self._weaker_forms) >= _MAX_REMEMBERED:
                self._weaker_forms.clear()
            self._weaker_forms[key] = form
