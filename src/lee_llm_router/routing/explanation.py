"""What `LeeLLMRouter.explain` returns: which targets a call would have, why, and with which settings. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.health.states import TargetHealth

SettingSource: TypeAlias = Literal["call", "policy", "fallback", "role", "provider", "default"]
"""Who says so: the arguments of the call, the policy, the fallback's own entry, the role, the settings of the provider
(its vendor's name stands for some); or nobody, so that a default holds."""
TargetState: TypeAlias = Literal["asked", "waited_for", "next", "closed", "failing", "skipped"]
"""
- ``asked``: the call asks it first.
- ``waited_for``: nobody can be asked now, and the call waits for this one.
- ``next``: it is asked if those before it fail.
- ``closed``: it may not be asked now, so it is passed over.
- ``failing``: the attempt would fail before anything is sent, as a missing key lets it.
- ``skipped``: it cannot take the request.
"""


@dataclass(frozen=True, slots=True)
class ExplainedSetting:
    """One setting, its value, and who set it."""

    name: str
    """As the file has it; the parts of a section by dots: ``retry.attempts``, ``headers.x-trace``."""
    value: Any
    """Plain data that JSON can hold. Keys and other secrets are masked."""
    source: SettingSource


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """What a model costs, in US dollars for a million tokens. None: not known."""

    input_usd: float | None = None
    output_usd: float | None = None
    source: str = ""
    """Who says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedTarget:
    """One target of the chain."""

    provider: str
    provider_type: str
    model: str | None
    key_variable: str | None = None
    """The variable of the key that it is asked with, where the provider has several."""
    model_source: SettingSource
    """Who named the model; ``default`` if nobody did, and the provider has a choice of its own."""
    chosen_because: str | None = None
    """Why the policy has chosen it, where it says."""
    state: TargetState
    reason: str | None = None
    """Why it is in this state, unless it is simply its turn."""
    opens_in: float | None = None
    """Seconds until it may be asked, if it is closed and that is known."""
    settings: tuple[ExplainedSetting, ...] = ()
    """What is asked of it, and `timeout`, the seconds that one attempt may take."""
    provider_settings: tuple[ExplainedSetting, ...] = ()
    """Settings of its provider that somebody has set."""
    dropped: Mapping[str, str]
    """Options that are left out, since it cannot express them or has refused them: each with the reason."""
    effects: str = "none"
    """What an attempt may change apart from giving an answer; one with effects is not repeated by default."""
    price: TokenPrice | None = None
    """None: not known."""
    health: TargetHealth | None = None
    """What is known of it now; None if it was never asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would happen to a call if it were made now. Nobody was asked for it."""

    role: str
    """The role that serves."""
    asked_role: str | None = None
    """What was named, if it is no role and the default role serves in its place."""
    policy: str
    policy_reason: str | None = None
    """Why the policy chose so, where it says."""
    outcome: Literal["asks", "waits", "fails"]
    """What the call does first: asks a target, waits for one, or fails, since there is none."""
    reason: str | None = None
    """What the wait is for, or why there is no target."""
    wait: float | None = None
    """Seconds of the wait, where that is known."""
    targets: tuple[ExplainedTarget, ...]
    """The chain, in order."""
    settings: tuple[ExplainedSetting, ...]
    """What holds for the whole call: deadline, retries, stream, contract, what is acceptable."""
    most_attempts: int
    """Attempts at most, over all targets; those that find a target shut are not counted."""
    backoffs: tuple[tuple[float, float], ...]
    """The shortest and the longest wait before the second attempt at one target, the third, and so on, where the
    failure names none itself."""
    is_compressed: bool = False
    """Whether a hook changes the messages before they are sent; it was not called for this."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return asdict(self)
