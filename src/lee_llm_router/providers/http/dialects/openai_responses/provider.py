"""The provider type `openai_responses`: OpenAI's Responses API, and servers that speak it.

What a server refuses is learned, for the model: JSON is asked for in a weaker form, reasoning without its encrypted
form, the effort in a word that it knows. The target is then asked again at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.errors import FailureType, InvalidRequestError, LLMRouterError
from lee_llm_router.providers.base import Capabilities, ProviderConfig
from lee_llm_router.providers.http.dialects.base import Dialect, HTTPReply
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.providers.http.dialects.openai.refusals import efforts_known, options_refused
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
from lee_llm_router.providers.http.dialects.openai_responses.input_items import foreign_media
from lee_llm_router.providers.http.dialects.openai_responses.models import known_model
from lee_llm_router.providers.http.dialects.openai_responses.request import foreign_tool
from lee_llm_router.providers.http.dialects.openai_responses.settings import ResponsesConfig
from lee_llm_router.providers.http.provider import HTTPProvider
from lee_llm_router.response import LLMRequest

_MAX_REMEMBERED = 1000
"""Models whose refusals are remembered; a caller may name any."""
_NO_FIELD = "the Responses API has no such field (a server that has one takes it in extra_body)"
_REFUSED = "the model has refused it"
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
        self._learned: dict[str | None, dict[str, Any]] = {}
        """By model: settings that hold in place of those configured."""
        self._refused: dict[str | None, dict[str, str]] = {}
        """By model: options that the server has refused, each with the reason."""
        self._variants: dict[tuple[Any, ...], ResponsesConfig] = {}

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
        foreign = foreign_tool(request.tools) if request.tools else None
        if foreign is not None:
            found["tools"] = f"a tool of the type {foreign} is another vendor's"
        if settings.is_at_openai and request.max_tokens is not None and request.max_tokens < _LEAST_TOKENS:
            found["max_tokens"] = f"the least that OpenAI takes is {_LEAST_TOKENS}"
        return found

    def untakable(self, request: LLMRequest) -> str | None:
        """As `Provider.untakable`: addresses that are not of the web, and sounds in files."""
        try:
            foreign = foreign_media(request.messages)
        except InvalidRequestError:  # no vendor takes it; that is said when the request is written
            return None
        return None if foreign is None else f"{foreign} cannot be sent"

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `Provider.refused_before`: what the model has refused with 400."""
        refused = self._refused.get(request.model) if self._refused else None
        return {option: why for option, why in refused.items() if request.asks_for(option)} if refused else {}

    def settings_for(self, request: LLMRequest) -> ResponsesConfig:
        """Return the provider's settings, asking for less where the server refused more."""
        if not self._learned and (not self._weaker_forms or not request.wants_json):
            return self.config
        changes = dict(self._learned.get(request.model, {}))
        form = self._weaker_forms.get((request.model, kind_of(request))) if request.wants_json else None
        if form is not None:
            changes["structured_output"] = form
        key = tuple(changes.items())
        if key not in self._variants:
            self._variants[key] = self.config.model_copy(update=changes) if changes else self.config
        return self._variants[key]

    def failure(self, request: LLMRequest, settings: ResponsesConfig, reply: HTTPReply) -> LLMRouterError:
        """Return the error for `reply`. Where that refuses a part of what was asked, it is asked otherwise from now on.

        Options that it refuses are left out only where the request says so (`drop_unsupported`).
        """
        error = super().failure(request, settings, reply)
        if error.failure_type is not FailureType.INVALID_REQUEST:
            return error
        error.ask_again = self._learns_settings(request, settings, reply) or self._learns_form(request, settings, reply)
        refused = options_refused(request, settings, reply) if request.drop_unsupported and not error.ask_again else ()
        if refused:
            _bounded(self._refused).setdefault(request.model, {}).update(dict.fromkeys(refused, _REFUSED))
            error.ask_again = True
        return error

    def _learns_settings(self, request: LLMRequest, settings: ResponsesConfig, reply: HTTPReply) -> bool:
        """Remember a setting that `reply` asks for, once each; return whether it does."""
        new: dict[str, Any] = {}
        if settings.encrypted_reasoning and refuses_encrypted(reply):
            new["encrypted_reasoning"] = False
        elif settings.reasoning_efforts == self.config.reasoning_efforts and "reasoning" not in request.extra_body:
            asked = mapping(reply.asked.get("reasoning")).get("effort")
            efforts = efforts_known(reply, "reasoning", asked)
            # What was changed once is not changed again: a server that wants neither would be asked for ever.
            if efforts and list(efforts) != self.config.reasoning_efforts:
                new["reasoning_efforts"] = efforts
        if new:
            _bounded(self._learned).setdefault(request.model, {}).update(new)
        return bool(new)

    def _learns_form(self, request: LLMRequest, settings: ResponsesConfig, reply: HTTPReply) -> bool:
        """Remember a weaker form of JSON, if `reply` refuses the one that was asked for; return whether it does."""
        if not request.wants_json or "text" in request.extra_body or "text" in settings.extra_body:
            return False
        kind = kind_of(request)
        weaker = weaker_form(kind, form_of(kind, settings.structured_output), reply)
        if weaker is None:
            return False
        known = self._weaker_forms.get((request.model, kind))
        # Calls at the same time are refused one by one; a form still weaker may be known by now.
        if known is None or FORMS.index(weaker) > FORMS.index(known):
            _bounded(self._weaker_forms)[request.model, kind] = weaker
        return True

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


def _bounded(known: dict[Any, Any]) -> dict[Any, Any]:
    """Return `known`, emptied if it has grown too large: a caller may name any number of models."""
    if len(known) >= _MAX_REMEMBERED:
        known.clear()
    return known
