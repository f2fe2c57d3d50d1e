"""What a role's cache keeps, and under which keys: the rules of caching, without the steps of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router.engine.plan import Attempt, CallPlan, RouterParts, Target
from lee_llm_router.providers.cache.contract import AnswerStore
from lee_llm_router.providers.cache.flights import FlightTable
from lee_llm_router.providers.cache.forms import AnswerForm
from lee_llm_router.providers.cache.keys import RequestPrefix

_MAX_PREFIXES = 256
"""The most targets whose hashed settings are remembered; calls with their own options make new ones each time."""


class AnswerCache:
    """A store, and the flights of the calls that fill it. Roles with the same settings share one."""

    def __init__(self, store: AnswerStore) -> None:
        self.store = store
        self.flights = FlightTable()


@dataclass(slots=True)
class CallCaching:
    """The cache state of one call."""

    is_fresh: bool = False
    """Whether the caller wants a new answer."""
    kept: Mapping[int, Any] = field(default_factory=dict)
    """Kept answers for later targets of the chain, by their index in it."""
    answered: Attempt | None = None
    """The attempt that gave the answer."""


class RoleCache:
    """The cache of a role.

    Args:
        cache: Where answers are kept.
        ttl: Seconds for which answers are kept.
        any_temperature: Whether answers to requests with a temperature above 0 are kept.
        except_tools: Names of tools; the answer to a request that offers one of them is not kept.
    """

    def __init__(self, cache: AnswerCache, ttl: float, *, any_temperature: bool, except_tools: Sequence[str]) -> None:
        self.store = cache.store
        self.flights = cache.flights
        self.ttl = ttl
        self._any_temperature = any_temperature
        self._except_tools = frozenset(except_tools)
        self._prefixes: dict[int, tuple[Target, RequestPrefix | None]] = {}
        """By the identity of a target, which is held so that its identity stays unique."""
        self._lock = ForkLock()

    def key(self, plan: CallPlan, parts: RouterParts, form: AnswerForm, target: Target) -> bytes | None:
        """Return the cache key of `plan` at `target`; None if the answer must not be kept."""
        known = self._prefixes.get(id(target))
        prefix = self._prefix(plan, parts, form, target) if known is None or known[0] is not target else known[1]
        if prefix is None:
            return None
        try:
            return prefix.key(form.question(plan.payload))
        except ValueError:
            return None

    def _prefix(self, plan: CallPlan, parts: RouterParts, form: AnswerForm, target: Target) -> RequestPrefix | None:
        prefix = None
        if self._covers(form, target.fields):
            try:
                settings = parts.pool.settings(target.provider, target.provider_overrides)
                hook = plan.role_settings.compress
                extra = "" if hook is None else _name_of(hook)
                prefix = RequestPrefix(form, settings, target.model, target.fields, extra)
            except Exception:  # noqa: BLE001 - third-party settings and schemas; the attempt reports the error
                prefix = None
        with self._lock:
            if len(self._prefixes) >= _MAX_PREFIXES:
                self._prefixes.clear()
            self._prefixes[id(target)] = (target, prefix)
        return prefix

    def _covers(self, form: AnswerForm, fields: Mapping[str, Any]) -> bool:
        """Whether equal requests with these options may have the same answer."""
        if form.has_temperature and not self._any_temperature:
            body = fields.get("extra_body")
            asked = (fields.get("temperature"), body.get("temperature") if isinstance(body, Mapping) else None)
            if any(temperature not in (None, 0) for temperature in asked):
                return False
        tools = fields.get("tools") or ()
        return not any(_changes_something(tool, self._except_tools) for tool in tools)


def _changes_something(tool: Mapping[str, Any], named: frozenset[str]) -> bool:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name in named or getattr(getattr(tool, "function", None), "has_effects", False) is True


def _name_of(hook: Any) -> str:
    return f"{getattr(hook, '__module__', '')}.{getattr(hook, '__qualname__', type(hook).__qualname__)}"
