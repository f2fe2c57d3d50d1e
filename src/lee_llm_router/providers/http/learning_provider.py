"""A provider that asks each model by what it has refused before.

How this works. Which options a model takes differs from model to model, and a list of names is outdated the day it is
written. So the first request to a model has the usual form. The provider remembers for the model, as long as it lives,
what a 400 or 422 names as unknown:

- A form of the dialect's own (how to ask for JSON, how to set thinking) is replaced by another: the provider changes
  the settings by which the dialect writes this model's requests, and asks again at once. If no form is left, it counts
  as an option that the target cannot express (`unsupported`).
- An option of the caller (`temperature`) is left out if the caller permits it (`drop_unsupported`), and the provider
  asks again at once. Otherwise nothing is remembered: each attempt ends as the caller's mistake, in the vendor's words.
  So an error that was misread bars no target.

If the vendor refuses an answer in its own form (an expired signature), the provider sends it as text and calls from
then on, and asks again at once (`refused_turns`).

An error that wants another value of an option teaches nothing: the caller has to see it. Each dialect reads its own
errors, in `learns`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.provider import Asked, HTTPProvider, SettingsT
from lee_llm_router.providers.http.refused_turns import RefusedTurns, all_left_out, blames_turns
from lee_llm_router.response.types import LLMRequest

REFUSED = "the model has refused it"
_MAX_REMEMBERED = 1000
"""Models whose refusals are remembered; bounded, since a caller may name any."""


class LearningProvider(HTTPProvider[SettingsT]):
    """Asks one API, each model by what it has refused before."""

    teaching: ClassVar[Collection[FailureType]] = (FailureType.INVALID_REQUEST,)
    """Failures that may teach something."""

    def __init__(self, name: str, config: SettingsT, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._changes: dict[str | None, dict[str, Any]] = {}
        """By model: settings that replace the configured ones."""
        self._refused: dict[str | None, frozenset[str]] = {}
        """By model: options of the caller that it has refused."""
        self._turns = RefusedTurns()
        self._variants: dict[tuple[tuple[str, Any], ...], SettingsT] = {}

    @abstractmethod
    def learns(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> bool:
        """Remember what the failure `reply` says of the model (`change`, `refuse`); return whether to ask again now."""

    def failure(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> LLMRouterError:
        """As `HTTPProvider.failure`, and learn from it."""
        error = super().failure(request, settings, reply)
        if self._learns_turns(request, settings, reply):
            error.ask_again = True
        elif error.failure_type in self.teaching:
            error.ask_again = self.learns(request, settings, reply)
        return error

    def settings_for(self, request: LLMRequest) -> SettingsT:
        """As `Provider.settings_for`, with what the model has taught."""
        return self.varied(self._changes.get(request.model or self.config.model, {})) if self._changes else self.config

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `Provider.refused_before`: what the model has refused with 400 or 422."""
        if not self._refused:
            return {}
        return {option: REFUSED for option in self.refused_options(request) if request.asks_for(option)}

    def _asked(self, request: LLMRequest, *, stream: bool) -> Asked:
        return super()._asked(self._turns.left_out(request), stream=stream)

    def _learns_turns(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> bool:
        """Remember the turns of `request` that `reply` refuses; return whether the request changes without them."""
        plain = all_left_out(request) if blames_turns(reply) else None
        if plain is None:
            return False
        bodies = [self.dialect.encode(one, settings, stream=False) for one in (request, plain)]
        if bodies[0] == bodies[1]:
            return False
        self._turns.remember(request)
        return True

    def refused_options(self, request: LLMRequest) -> frozenset[str]:
        """Return the caller's options that the model of `request` has refused."""
        return self._refused.get(request.model or self.config.model, frozenset())

    def change(self, request: LLMRequest, **settings: Any) -> None:
        """Use these `settings` for the model of `request` from now on."""
        model = request.model or self.config.model
        bounded(self._changes)[model] = {**self._changes.get(model, {}), **settings}

    def refuse(self, request: LLMRequest, options: Collection[str]) -> bool:
        """Remember `options` that the model of `request` refuses, if the caller permits dropping them; return whether
        it does."""
        if not options or not request.drop_unsupported:
            return False
        known = self.refused_options(request)
        bounded(self._refused)[request.model or self.config.model] = known | frozenset(options)
        return True

    def varied(self, changes: Mapping[str, Any]) -> SettingsT:
        """Return the provider's settings with `changes`; each combination is made once."""
        if not changes:
            return self.config
        key = tuple(changes.items())
        found = self._variants.get(key)
        if found is None:
            found = bounded(self._variants)[key] = self.config.model_copy(update=changes)
        return found


def bounded(known: dict[Any, Any]) -> dict[Any, Any]:
    """Return the dictionary of what is known by model, emptied if it has grown too large."""
    if len(known) >= _MAX_REMEMBERED:
        known.clear()
    return known
