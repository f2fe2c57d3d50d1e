"""A provider that asks each model by what it has refused before.

How this works. Which model takes what changes with each model, and a list of names is out of date the day it is
written. So a model is asked in the usual form. What a 400 or 422 names as unknown to it is remembered for the model, in
the provider, while that lives:

- A form of the dialect's own (how JSON is asked for, how thinking is told) is replaced by another: the settings by
  which the dialect writes requests are changed for the model, and the target is asked again at once. What no form is
  left for counts as an option that the target cannot express (`unsupported`).
- An option of the caller's (`temperature`) is left out with leave (`drop_unsupported`), and the target is asked again
  at once. Without leave nothing is remembered: each attempt ends as the caller's mistake, in the vendor's words. So an
  error that was misread bars no target.

An answer in the vendor's own form that it does not take back (an expired signature) is sent as text and calls from then
on, and the target is asked again at once (`refused_turns`).

An error that wants another value of an option teaches nothing: the caller has to see it. What of an error says such
things is each dialect's own to read; it says so in `learns`.
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
"""Models whose refusals are remembered; a caller may name any."""


class LearningProvider(HTTPProvider[SettingsT]):
    """Asks one API, each model by what it has refused before."""

    teaching: ClassVar[Collection[FailureType]] = (FailureType.INVALID_REQUEST,)
    """Failures that something may be learned from."""

    def __init__(self, name: str, config: SettingsT, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(name, config, clock)
        self._changes: dict[str | None, dict[str, Any]] = {}
        """By model: settings that hold in place of those configured."""
        self._refused: dict[str | None, frozenset[str]] = {}
        """By model: options of the caller's that it has refused."""
        self._turns = RefusedTurns()
        self._variants: dict[tuple[tuple[str, Any], ...], SettingsT] = {}

    @abstractmethod
    def learns(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> bool:
        """Remember what `reply`, a failure, says of the model (`change`, `refuse`); return whether to ask again now."""

    def failure(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> LLMRouterError:
        """As `HTTPProvider.failure`, and learn from it."""
        error = super().failure(request, settings, reply)
        if self._learns_turns(request, settings, reply):
            error.ask_again = True
        elif error.failure_type in self.teaching:
            error.ask_again = self.learns(request, settings, reply)
        return error

    def settings_for(self, request: LLMRequest) -> SettingsT:
        """As `Provider.settings_for`: with what the model has taught."""
        return self.varied(self._changes.get(request.model or self.config.model, {})) if self._changes else self.config

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:
        """As `Provider.refused_before`: what the model has refused with 400 or 422."""
        if not self._refused:
            return {}
        return {option: REFUSED for option in self.refused_options(request) if request.asks_for(option)}

    def _asked(self, request: LLMRequest, *, stream: bool) -> Asked:
        return super()._asked(self._turns.left_out(request), stream=stream)

    def _learns_turns(self, request: LLMRequest, settings: SettingsT, reply: HTTPReply) -> bool:
        """Remember the turns of `request` that `reply` refuses; return whether it is another request without them."""
        plain = all_left_out(request) if blames_turns(reply) else None
        if plain is None:
            return False
        bodies = [self.dialect.encode(one, settings, stream=False) for one in (request, plain)]
        if bodies[0] == bodies[1]:
            return False
        self._turns.remember(request)
        return True

    def refused_options(self, request: LLMRequest) -> frozenset[str]:
        """Return the options of the caller's that the model of `request` has refused."""
        return self._refused.get(request.model or self.config.model, frozenset())

    def change(self, request: LLMRequest, **settings: Any) -> None:
        """Have the model of `request` asked by these `settings` from now on."""
        model = request.model or self.config.model
        bounded(self._changes)[model] = {**self._changes.get(model, {}), **settings}

    def refuse(self, request: LLMRequest, options: Collection[str]) -> bool:
        """Remember `options` that the model of `request` refuses, with leave to drop them; return whether there is."""
        if not options or not request.drop_unsupported:
            return False
        known = self.refused_options(request)
        bounded(self._refused)[request.model or self.config.model] = known | frozenset(options)
        return True

    def varied(self, changes: Mapping[str, Any]) -> SettingsT:
        """Return the provider's settings with `changes`, made once."""
        if not changes:
            return self.config
        key = tuple(changes.items())
        found = self._variants.get(key)
        if found is None:
            found = bounded(self._variants)[key] = self.config.model_copy(update=changes)
        return found


def bounded(known: dict[Any, Any]) -> dict[Any, Any]:
    """Return what is known by model, emptied if it has grown too large."""
    if len(known) >= _MAX_REMEMBERED:
        known.clear()
    return known
