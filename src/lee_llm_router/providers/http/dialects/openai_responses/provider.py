"""The provider type `openai_responses`: OpenAI's Responses API, and servers that speak it.

A server that does not know the form in which JSON was asked for, or gives no encrypted reasoning, is asked for less
from then on, for the model that refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.base import Capabilities, ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, HTTPReply
from lee_llm_router.providers.http.dialects.openai.structured_output import (
    FORMS,
    Form,
    Kind,
    form_of,
    kind_of,
    weaker_form,
)
from lee_llm_router.providers.http.dialects.openai_responses.dialect import ResponsesDialect
from lee_llm_router.providers.http.dialects.openai_responses.errors import refuses_encrypted
from lee_llm_router.providers.http.dialects.openai_responses.models import known_model
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.response import LLMRequest

_MAX_REMEMBERED = 1000
"""Models whose refusals are remembered; a caller may name any."""
_NO_FIELD = "the Responses API has no such field (a server that has one takes it in extra_body)"
_LEAST_TOKENS = 16
"""The least bound on tokens that OpenAI takes."""


class OpenAIResponsesProvider(HTTPProvider[ResponsesConfig]):
    """Asks one server for responses."""

    config_model: ClassVar[type[ProviderConfig]] = ResponsesConfig
    dialect: ClassVar[Dialect[Any]] = ResponsesDialect()
    capabilities: ClassVar[Capabilities] = Capabilities(
        tools=True, content_parts=True, media=frozenset({"image", "file"}), bounded=True
    )
    inexpressible: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("stop", "seed", "top_k", "frequency_penalty", "presence_penalty"), _NO_FIELD
    )

    def __init__(self, name: str, config: ResponsesConfig, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._weaker_forms: dict[tuple[str | None, Kind], Form] = {}
        """By model and kind of JSON: the strongest form that has not been refused."""
        self._unencrypted: dict[str | None, None] = {}
        """Models that give no encrypted reasoning."""
        self._variants: dict[tuple[Form, bool], ResponsesConfig] = {}

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
                    found[option] = f"{model} does not take it where it reasons"
        if settings.is_at_openai and request.max_tokens is not None and request.max_tokens < _LEAST_TOKENS:
            found["max_tokens"] = f"the least that OpenAI takes is {_LEAST_TOKENS}"
        return found

    def settings_for(self, request: LLMRequest) -> ResponsesConfig:
        """Return the provider's settings, asking for less where the server refused more."""
        if not self._unencrypted and (not self._weaker_forms or not request.wants_json):
            return self.config
        encrypted = self.config.encrypted_reasoning and request.model not in self._unencrypted
        form = self.config.structured_output
        if request.wants_json:
            form = self._weaker_forms.get((request.model, kind_of(request)), form)
        variant = self._variants.get((form, encrypted))
        if variant is None:
            changes = {"structured_output": form, "encrypted_reasoning": encrypted}
            variant = self._variants[form, encrypted] = self.config.model_copy(update=changes)
        return variant

    def failure(self, request: LLMRequest, settings: ResponsesConfig, reply: HTTPReply) -> LLMRouterError:
        """Return the error for `reply`. Where that refuses a part of what was asked, less is asked from now on."""
        error = super().failure(request, settings, reply)
        if error.failure_type is not FailureType.INVALID_REQUEST:
            return error
        if settings.encrypted_reasoning and refuses_encrypted(reply):
            _remember(self._unencrypted, request.model, None)
            error.ask_again = True
        elif request.wants_json and "text" not in request.extra_body and "text" not in settings.extra_body:
            kind = kind_of(request)
            weaker = weaker_form(kind, form_of(kind, settings.structured_output), reply)
            if weaker is not None:
                known = self._weaker_forms.get((request.model, kind))
                # Calls at the same time are refused one by one; a form still weaker may be known by now.
                if known is None or FORMS.index(weaker) > FORMS.index(known):
                    _remember(self._weaker_forms, (request.model, kind), weaker)
                error.ask_again = True
        return error

    def add_extra(self, body: dict[str, Any], extra: Mapping[str, Any]) -> None:
        """Merge `extra` into `body`: `reasoning` and `text` are filled in, and `include` grows."""
        for name, value in extra.items():
            known = body.get(name)
            if name in ("reasoning", "text") and isinstance(known, dict) and isinstance(value, Mapping):
                body[name] = {**known, **value}
            elif name == "include" and isinstance(known, list) and isinstance(value, (list, tuple)):
                body[name] = [*known, *(one for one in value if one not in known)]
            else:
                body[name] = value


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    if len(known) >= _MAX_REMEMBERED:
        known.clear()
    known[key] = value
