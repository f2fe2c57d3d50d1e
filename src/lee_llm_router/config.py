"""The configuration: what a file may say, as frozen pydantic models, and `load_config`.

The file is the truth: `load_config` reports every mistake at once, each with line, column and a suggestion.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny

from lee_llm_router.providers.base import Integer, Number, ProviderConfig, Seconds

DEFAULT_TIMEOUT = 120.0
DEFAULT_DEADLINE = 600.0


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class CallSettings(_Section):
    """What a role, a fallback, a policy or a caller may ask of a call. Unset means: not sent."""

    temperature: Number | None = Field(None, ge=0, description="Sampling temperature.")
    top_p: Number | None = Field(None, gt=0, le=1, description="Nucleus sampling: share of probability kept.")
    max_tokens: Integer | None = Field(None, gt=0, description="Upper bound on generated tokens.")
    stop: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] | None = Field(
        None, description="A string, or a list of them, at which generation ends."
    )
    seed: Integer | None = Field(None, description="Seed for vendors that sample repeatably.")
    reasoning_effort: str | None = Field(None, description="How much to think: the vendor's word (low, high...).")
    json_mode: bool | None = Field(None, description="The answer must be one JSON value; it is parsed and checked.")
    response_schema: dict[str, Any] | type[BaseModel] | None = Field(
        None, alias="schema", description="JSON Schema the answer must fit; it is parsed and checked."
    )
    extra_body: dict[str, Any] | None = Field(None, description="Fields merged into the request body as they are.")
    headers: dict[str, str] | None = Field(None, description="HTTP headers added to the request.")
    timeout: Seconds | None = Field(None, description="Seconds one attempt may take. Default 120.")


class RetryConfig(_Section):
    """How often to try. Waits are drawn evenly from 0 to ``min(max_backoff, backoff * 2**n)`` seconds."""

    attempts: Integer = Field(3, ge=1, le=100, description="Attempts at one target, the first included.")
    max_attempts: Integer = Field(6, ge=1, le=1000, description="Attempts of the whole call, over all targets.")
    backoff: Number = Field(0.5, ge=0, description="Seconds: the upper end of the first wait.")
    max_backoff: Number = Field(8.0, ge=0, description="Seconds: no wait of our own choosing is longer.")


class FallbackConfig(CallSettings):
    """A further target of a role's chain. In the file a bare provider name will do."""

    provider: str = Field(description="Name of a provider in `providers`.")
    model: str | None = Field(None, min_length=1, description="Default: the provider's model, else the role's.")


def _named(value: Any) -> Any:
    return {"provider": value} if isinstance(value, str) else value


Fallback: TypeAlias = Annotated[FallbackConfig, BeforeValidator(_named)]


class RoleConfig(CallSettings):
    """Who serves a role, and how."""

    provider: str = Field(description="Name of the provider that is asked first.")
    model: str | None = Field(None, min_length=1, description="Model; default: the provider's own.")
    deadline: Seconds = Field(DEFAULT_DEADLINE, description="Seconds the whole call may take, waits included.")
    retry: RetryConfig = Field(default_factory=RetryConfig, description="How often to try.")
    fallback_providers: tuple[Fallback, ...] = Field((), description="Further targets, in order.")
    fallback_on: frozenset[Literal["INVALID_REQUEST", "CONTENT_FILTER"]] = Field(
        frozenset(), description="Failures that end a call by default and shall go on to the next target instead."
    )
    retry_effects: bool = Field(
        False, description="Repeat or replace attempts that may have changed something (effects other than none)."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Notes that go into every trace of the role.")


class TraceConfig(_Section):
    """Where traces go, and what is in them."""

    enabled: bool = Field(True, description="Write traces to files.")
    dir: str | None = Field(None, description="Folder. Default: .lee-llm-router/traces under the workspace.")
    workspace: str | None = Field(None, description="Folder traces belong to, noted in each. Default: here.")
    keep_days: Integer = Field(30, ge=0, description="Days to keep; 0 keeps all.")
    capture: Literal["meta", "full"] = Field("meta", description="full: prompts and answers are stored too.")


class LLMConfig(_Section):
    """The whole of ``llm:``."""

    default_role: str | None = Field(None, description="Role used where none is asked for. Default: the only role.")
    policy: str = Field("simple", description="Routing policy by entry point name.")
    providers: dict[str, SerializeAsAny[ProviderConfig]] = Field(description="Providers by name.")
    roles: dict[str, RoleConfig] = Field(description="Roles by name.")
    trace: TraceConfig = Field(default_factory=TraceConfig, description="Traces.")


class TargetSpec(_Section):
    """One entry of a chain, before its provider is built."""

    provider: str
    model: str | None = None
    settings: CallSettings = Field(default_factory=CallSettings)
