"""The contract of a provider: its settings, its capabilities, one attempt, and close.

Write one by subclassing `Provider`; `docs/providers.md` has a complete example. The rules:

- `complete` returns a whole `LLMResponse` or raises an `LLMRouterError` that says what failed. Any other exception
  counts as UNKNOWN (a `TimeoutError` as TIMEOUT, an `OSError` as PROVIDER_ERROR).
- It makes one attempt. The router does retries, fallbacks, traces and deadlines.
- One instance is built per set of settings. It serves many threads and event loops at once.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field

from lee_llm_router._util.clock import SYSTEM_CLOCK, Clock
from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.threads import call_in_thread_async
from lee_llm_router.errors import AuthenticationError, UnavailableError
from lee_llm_router.providers.streams import ChunkStream, SingleChunkStream, ensure_response
from lee_llm_router.response.types import LLMRequest, LLMResponse
from lee_llm_router.settings.fields import BaseUrl, EnvName, Integer, Number, Seconds
from lee_llm_router.settings.late_model import LateModel
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.pricing.settings import AnyProviderBudget

if TYPE_CHECKING:
    from lee_llm_router.providers.embeddings import EmbeddingRequest, EmbeddingResponse
    from lee_llm_router.response.content import MediaKind

__all__ = [
    "BaseUrl",
    "Capabilities",
    "ChunkStream",
    "Effects",
    "EnvName",
    "Integer",
    "Number",
    "Provider",
    "ProviderConfig",
    "Seconds",
    "SettingsT",
    "SingleChunkStream",
    "ensure_response",
    "read_key",
]

Effects: TypeAlias = Literal["none", "workspace", "external"]
"""What an attempt may change besides returning an answer. Attempts with effects are not repeated by default."""


if TYPE_CHECKING:
    from lee_llm_router.providers.model_limits import ModelLimitsConfig

    _AnyModelLimits: TypeAlias = ModelLimitsConfig
else:
    _AnyModelLimits = Annotated[Any, LateModel("providers.model_limits", "ModelLimitsConfig")]


class ProviderConfig(PluginSettings):
    """Settings that every provider has; a provider adds its own by subclassing."""

    setting_in_target_name: ClassVar[str] = "model"
    """The setting that the part of a target's name after the slash fills in (`LeeLLMRouter.of`). If it is not the
    model, each name makes a provider of its own."""

    type: str = Field(
        description="Kind of provider: a type (http, mock...), a vendor (groq, ollama...), or a type of your own."
    )
    model: str | None = Field(None, min_length=1, description="Model for targets that do not name one.")
    max_concurrency: Integer | None = Field(
        None, ge=1, le=1_000_000, description="Most attempts that this router makes at once. Default: no limit."
    )
    rpm: Integer | None = Field(
        None, ge=1, le=1_000_000, description="Most attempts started within 60 seconds. Default: no limit."
    )
    tpm: Integer | None = Field(
        None,
        ge=1,
        le=1_000_000_000_000,
        description="Most tokens, input and output, that attempts may use within 60 seconds. Default: no limit.",
    )
    model_limits: dict[str, _AnyModelLimits] = Field(
        default_factory=dict, max_length=1000, description="max_concurrency, rpm and tpm of individual models, by name."
    )
    budget: AnyProviderBudget | None = Field(
        None, description="What attempts at the provider may cost. Default: no limit."
    )

    @property
    def limits_tokens(self) -> bool:
        """Whether any of its attempts has a token limit."""
        return self.tpm is not None or any(limits.tpm is not None for limits in self.model_limits.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do. A request that needs more skips the provider's targets."""

    tools: bool = False
    """Takes `tools` and returns tool calls."""
    content_parts: bool = False
    """Takes messages whose content is a list that may hold parts other than text."""
    embeddings: bool = False
    """Has its own `embed`."""
    media: frozenset[MediaKind] | None = None
    """The kinds of parts that it takes: `image`, `audio`, `file`. None: any."""
    bounded: bool = False
    """Enforces its `timeout` itself, whatever the other side does. For others the router runs every call in a thread or
    task that it can abandon if the call hangs."""
    hedged: bool = True
    """May run at the same time as another attempt of the same call, if its role has a `hedge`. Programs on this machine
    may not: a second run would compete with the first."""


SettingsT = TypeVar("SettingsT", bound=ProviderConfig)


class Provider(ABC, Generic[SettingsT]):
    """Base of all providers.

    Args:
        name: Its name in the configuration, used in traces and errors.
        config: Its settings, already validated; an instance of `config_model`.
        clock: Tells it the time, and sleeps.
    """

    config_model: ClassVar[type[ProviderConfig]] = ProviderConfig
    capabilities: ClassVar[Capabilities] = Capabilities()
    inexpressible: ClassVar[Mapping[str, str]] = {}
    """Options of `LLMRequest` that it cannot express for any model, each with the reason."""

    def __init__(self, name: str, config: SettingsT, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self.config = config
        self.clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @property
    def effects(self) -> Effects:
        """What an attempt may change besides returning an answer."""
        return "none"

    def with_settings(self, config: SettingsT) -> Provider[SettingsT]:
        """Return the same provider with settings that name another key; both may share everything that does not depend
        on it."""
        return type(self)(self.name, config, self.clock)

    @classmethod
    def unsupported(cls, request: LLMRequest, settings: SettingsT) -> Mapping[str, str]:  # noqa: ARG003 - see below
        """Return the options of `request` that a target cannot express: each field's name, with the reason.

        The router skips the target, or with `drop_unsupported` leaves the options out. It also calls this for each role
        when it loads a configuration, without messages. By default this returns the options of `inexpressible` that are
        set; an override may also consider the model and the settings.
        """
        if not cls.inexpressible:
            return cls.inexpressible
        return {option: reason for option, reason in cls.inexpressible.items() if request.asks_for(option)}

    def settings_for(self, request: LLMRequest) -> SettingsT:  # noqa: ARG002 - most ask all alike
        """Return the settings to use for `request`: the provider's own, unless it has learned better ones."""
        return self.config

    def untakable(self, request: LLMRequest) -> str | None:  # noqa: ARG002 - most take all that they say they take
        """Return why the messages of `request`, which have parts other than text, cannot be sent; None if they can.

        If they cannot, the router skips the target. Use this for limits that `capabilities` cannot express, such as a
        file uploaded to another vendor.
        """
        return None

    def refused_before(self, request: LLMRequest) -> Mapping[str, str]:  # noqa: ARG002 - most learn nothing
        """Return the options of `request` that the target has already refused, each with the reason.

        With `drop_unsupported` the router leaves them out, like those of `unsupported`. Without it, it sends them all
        the same.
        """
        return {}

    @abstractmethod
    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """Make one attempt and return the whole answer.

        Args:
            request: What to ask.
            timeout: Seconds of wall-clock time the attempt may take.

        Raises:
            LLMRouterError: what failed.
        """

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        """As `complete`, for asyncio. By default, runs `complete` in a thread, which a cancellation abandons."""
        return await call_in_thread_async(self.complete, request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """Make one attempt and return the answer as a stream, once the other side has begun to answer.

        By default, waits for the whole answer of `complete`.

        Args:
            request: What to ask.
            timeout: Seconds of wall-clock time until the stream must be open.

        Raises:
            LLMRouterError: what failed.
        """
        return SingleChunkStream(self.complete(request, timeout))

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        """As `stream`, for asyncio."""
        return SingleChunkStream(await self.complete_async(request, timeout))

    def embed(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:  # noqa: ARG002 - see below
        """Make one attempt and return a vector for each text. Called only if `capabilities` has `embeddings`.

        An override takes the remaining texts from `request.batches`, appends each result to `request.done`, and returns
        `request.response()`.

        Args:
            request: The texts to embed.
            timeout: Seconds of wall-clock time all batches together may take.

        Raises:
            LLMRouterError: what failed.
        """
        raise UnavailableError("the provider has no embeddings", sent=False)

    async def embed_async(self, request: EmbeddingRequest, timeout: float) -> EmbeddingResponse:
        """As `embed`, for asyncio. By default, runs `embed` in a thread, which a cancellation abandons."""
        return await call_in_thread_async(self.embed, request, timeout)

    def secrets(self) -> Iterable[str]:
        """Return the values that must never appear in a trace, an error or a log: the current keys.

        By default, these are the values of environment variables in the settings; an override adds to them.
        """
        return self.config.filled_values()

    def close(self) -> None:
        """Release connections, files and other resources. Called once, after the last call."""

    async def aclose(self) -> None:
        """As `close`, for resources of the running event loop. By default, calls `close`."""
        self.close()

    def check(self) -> Iterable[tuple[Literal["ok", "warning", "error"], str]]:
        """Return what the doctor should report about this provider, as (level, sentence) pairs. Uses no network."""
        return ()


def read_key(name: str, provider: str) -> str:
    """Return the value of the environment variable `name`, the key of `provider`.

    Raises:
        AuthenticationError: it is unset or empty, or holds characters that no header can carry.
    """
    return checked_key(f"environment variable {name}", os.environ.get(name), provider)


def checked_key(what: str, value: str | None, provider: str, *, missing: str = "is not set") -> str:
    """Return `value`, the key of `provider` that was read from `what`, without surrounding white space.

    Raises:
        AuthenticationError: it is missing or empty, or holds characters that no header can carry.
    """
    value = (value or "").strip()
    if not value:
        raise AuthenticationError(f"{what} {missing}", provider=provider, sent=False)
    if not value.isascii() or not value.isprintable():
        raise AuthenticationError(
            f"{what} holds characters that no HTTP header may contain", provider=provider, sent=False
        )
    return value
