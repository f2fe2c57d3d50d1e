"""The result of `LeeLLMRouter.explain`: the targets of a call, the reasons, and the settings. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.health.states import TargetHealth

SettingSource: TypeAlias = Literal["call", "policy", "fallback", "role", "provider", "default"]
"""The source of a setting: the arguments of the call, the policy, the fallback's own entry, the role, the settings of
the provider (its vendor's name stands for some); or the default, if nobody has set it."""
TargetState: TypeAlias = Literal["asked", "waited_for", "next", "closed", "failing", "skipped"]
"""- ``asked``: the call tries it first.
- ``waited_for``: no target is available now, and the call waits for this one.
- ``next``: it is tried if those before it fail.
- ``closed``: it may not be called now, so it is passed over.
- ``failing``: the attempt would fail before anything is sent, for example without a key.
- ``skipped``: it cannot take the request.
"""


@dataclass(frozen=True, slots=True)
class ExplainedSetting:
    """One setting, its value, and its source."""

    name: str
    """Named as in the file; the parts of a section are joined by dots: ``retry.attempts``, ``headers.x-trace``."""
    value: Any
    """Plain JSON data. Keys and other secrets are masked."""
    source: SettingSource


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrice:
    """The price of a model, in US dollars per million tokens. None means unknown."""

    input_usd: float | None = None
    output_usd: float | None = None
    source: str = ""
    """Where the price comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedTarget:
    """One target of the chain."""

    provider: str
    provider_type: str
    model: str | None
    key_variable: str | None = None
    """The variable of the key used for it, if the provider has several."""
    model_source: SettingSource
    """The source of the model; ``default`` if nobody named one and the provider chooses."""
    chosen_because: str | None = None
    """Why the policy has chosen it, if the policy gives a reason."""
    state: TargetState
    reason: str | None = None
    """Why it is in this state, unless it is simply next in order."""
    opens_in: float | None = None
    """Seconds until it may be called, if it is closed and the time is known."""
    settings: tuple[ExplainedSetting, ...] = ()
    """The request settings for it, and `timeout`, the seconds that one attempt may take."""
    provider_settings: tuple[ExplainedSetting, ...] = ()
    """Settings of its provider that were set explicitly."""
    dropped: Mapping[str, str]
    """Options that are left out because the target cannot express them or has refused them, each with the reason."""
    effects: str = "none"
    """The side effects of an attempt besides giving an answer; one with effects is not repeated by default."""
    price: TokenPrice | None = None
    """None if it is unknown."""
    health: TargetHealth | None = None
    """Its health now; None if it was never called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would happen to a call if it were made now. No provider was called for it."""

    role: str
    """The role that serves the call."""
    asked_role: str | None = None
    """The name that was passed, if there is no such role and the default role serves instead."""
    policy: str
    policy_reason: str | None = None
    """Why the policy made its choice, if it gives a reason."""
    outcome: Literal["asks", "waits", "fails"]
    """The first action of the call: it asks a target, waits for one, or fails because there is none."""
    reason: str | None = None
    """The reason for the wait, or for having no target."""
    wait: float | None = None
    """Seconds of the wait, if known."""
    targets: tuple[ExplainedTarget, ...]
    """The chain, in order."""
    settings: tuple[ExplainedSetting, ...]
    """The settings of the whole call: deadline, retries, stream, contract, acceptance rules."""
    most_attempts: int
    """The most attempts over all targets; attempts that find a target shut do not count."""
    backoffs: tuple[tuple[float, float], ...]
    """The shortest and the longest wait before the second attempt at one target, the third, and so on, unless the
    failure names a wait itself."""
    is_compressed: bool = False
    """Whether a hook changes the messages before they are sent; it was not called for the explanation."""

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as plain data for JSON."""
        return asdict(self)
