"""The models of a configuration file: frozen pydantic models, one for each part of ``llm:``."""

# Annotations are evaluated in place: if they were text, pydantic would have to compile each one at import.
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from lee_llm_router._util.suggestions import Suggester
from lee_llm_router.config.policy_section import AnyPolicy
from lee_llm_router.config.provider_section import AnyProvider, Name
from lee_llm_router.config.references import MAX_CHAIN, check_references
from lee_llm_router.engine.settings import AnyAccept, AnyHedge, ContractConfig, RetryConfig, StreamConfig
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.health.shared.plugins import AnyState
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.cassette.settings import AnyCassette
from lee_llm_router.providers.json_schema import is_type, schema_problem
from lee_llm_router.settings.fields import AllowString, Integer, Number, Seconds
from lee_llm_router.settings.late_model import LateModel
from lee_llm_router.settings.mistakes import validation_error
from lee_llm_router.settings.model import KeyPath, OriginSection, Section
from lee_llm_router.settings.plugins import PluginSettings
from lee_llm_router.telemetry.plugins import AnySink
from lee_llm_router.telemetry.pricing.settings import AnyBudget, PricingConfig
from lee_llm_router.telemetry.settings import TraceConfig

if TYPE_CHECKING:
    from lee_llm_router.providers.cache.settings import CacheConfig

    _AnyCache: TypeAlias = CacheConfig
    _AnyRoleCache: TypeAlias = CacheConfig | Literal[False]
else:
    _AnyCache = Annotated[Any, LateModel("providers.cache.settings", "CacheConfig", bare="type")]
    _AnyRoleCache = Annotated[Any, LateModel("providers.cache.settings", "CacheConfig", bare="type", or_false=True)]

DEFAULT_DEADLINE = 600.0


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _is_type(value: Any) -> Any:
    if not is_type(value):
        raise PydanticCustomError("wanted_type", "a mapping or a type is wanted")
    return value


def _is_schema(value: dict[str, Any]) -> dict[str, Any]:
    problem = schema_problem(value)
    if problem is not None:
        raise PydanticCustomError("wanted_schema", "{problem}", {"problem": f"a JSON Schema is wanted; this {problem}"})
    return value


class CallSettings(Section):
    """The settings of a call that a role, a fallback, a policy or a caller may set. An unset one is not sent."""

    temperature: Number | None = Field(None, ge=0, description="Sampling temperature.")
    top_p: Number | None = Field(None, gt=0, le=1, description="Nucleus sampling: share of probability kept.")
    max_tokens: Integer | None = Field(None, gt=0, description="Upper bound on generated tokens.")
    stop: Annotated[tuple[str, ...], BeforeValidator(_one_or_many), AllowString()] | None = Field(
        None, description="A string, or a list of them, at which generation ends."
    )
    seed: Integer | None = Field(None, description="Seed for vendors that sample repeatably.")
    top_k: Integer | None = Field(None, ge=1, description="Sample only from this many of the likeliest tokens.")
    frequency_penalty: Number | None = Field(
        None, ge=-2, le=2, description="Lowers the chance of tokens by how often they have already occurred."
    )
    presence_penalty: Number | None = Field(
        None, ge=-2, le=2, description="Lowers the chance of tokens that have already occurred."
    )
    logprobs: bool | None = Field(None, description="Return the probabilities of the tokens chosen.")
    top_logprobs: Integer | None = Field(
        None, ge=0, le=20, description="Return this many of the likeliest tokens at each position; implies logprobs."
    )
    reasoning_effort: str | None = Field(
        None,
        min_length=1,
        description="How much to think: none, minimal, low, medium, high, xhigh or max, mapped to what the vendor has;"
        " or the vendor's own word.",
    )
    service_tier: str | None = Field(
        None, min_length=1, description="The vendor's name for a level of cost and speed: flex, priority, ..."
    )
    parallel_tool_calls: bool | None = Field(None, description="Whether one answer may call several tools.")
    json_mode: bool | None = Field(None, description="The answer must be one JSON value; it is parsed and checked.")
    response_schema: (
        Annotated[dict[str, Any], AfterValidator(_is_schema)]
        | SkipJsonSchema[Annotated[Any, AfterValidator(_is_type)]]
        | None
    ) = Field(None, alias="schema", description="JSON Schema the answer must fit; it is parsed and checked.")
    extra_body: dict[str, Any] | None = Field(None, description="Fields merged into the request body as they are.")
    extra_query: dict[str, str] | None = Field(None, description="Query parameters added to the request's address.")
    headers: dict[str, str] | None = Field(None, description="HTTP headers added to the request.")
    drop_unsupported: bool | None = Field(
        None,
        description="Leave out options that a target does not support, and note it in the trace. Default: skip the"
        " target.",
    )
    timeout: Seconds | None = Field(None, description="Seconds one attempt may take. Default: 120.")


class FallbackConfig(CallSettings):
    """A further target of a role's chain. In the file, the name of a provider alone is enough."""

    provider: str = Field(description="Name of a provider in `providers`.")
    model: str | None = Field(
        None, min_length=1, description="Default: the provider's model, else the role's; null: never the role's."
    )

    @property
    def may_have_role_model(self) -> bool:
        """Whether the role's model applies if neither this nor the provider names one; false if null is written."""
        return "model" not in self.model_fields_set


# All roles without such a section share one instance: a file may have many roles, and the models are frozen.


@cache
def _default_retry() -> RetryConfig:
    return RetryConfig()


@cache
def _default_stream() -> StreamConfig:
    return StreamConfig()


@cache
def _default_contract() -> ContractConfig:
    return ContractConfig()


def _from_provider_name(value: Any) -> Any:
    return {"provider": value} if isinstance(value, str) else value


Fallback: TypeAlias = Annotated[FallbackConfig, BeforeValidator(_from_provider_name), AllowString()]


class RoleConfig(CallSettings):
    """A role: its provider, its fallbacks, and how to call them."""

    provider: str = Field(description="Name of the provider that is asked first.")
    model: str | None = Field(None, min_length=1, description="Model; default: the provider's own.")
    deadline: Seconds = Field(DEFAULT_DEADLINE, description="Seconds the whole call may take, waits included.")
    retry: RetryConfig = Field(default_factory=_default_retry, description="How often to try.")
    hedge: AnyHedge | None = Field(None, description="When to ask another target while one is slow. Default: never.")
    stream: StreamConfig = Field(default_factory=_default_stream, description="How to stream.")
    contract: ContractConfig = Field(
        default_factory=_default_contract, description="What to do if an answer breaks json_mode or schema."
    )
    accept: AnyAccept | None = Field(None, description="What an acceptable answer is. Default: any answer.")
    fallback_providers: tuple[Fallback, ...] = Field((), max_length=MAX_CHAIN, description="Further targets, in order.")
    fallback_on: frozenset[Literal["INVALID_REQUEST", "CONTENT_FILTER"]] = Field(
        frozenset(), description="Failures that end a call by default, but shall lead to the next target here."
    )
    retry_effects: bool = Field(
        False, description="Repeat or replace attempts that may have changed something (effects other than none)."
    )
    budget: AnyBudget | None = Field(None, description="What calls to the role may cost. Default: no limit.")
    policy: AnyPolicy | None = Field(
        None, description="Routing policy of the role: its name, or its type and settings. Default: the file's."
    )
    cache: _AnyRoleCache | None = Field(
        None,
        description="Cache of answers to equal requests. Default: the file's; false: none.",
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Notes to store in every trace of the role.")


class ChainEntry(Section):
    """One entry of a role's chain: the name of the provider, the model, and the settings of the call."""

    provider: str
    model: str | None = None
    settings: CallSettings = Field(default_factory=CallSettings)
    """The settings of the call, including the role's settings. An unset one is not sent."""


class LLMConfig(OriginSection):
    """All of ``llm:``. Built directly from a mapping, it makes the same checks as `load_config`."""

    default_role: str | None = Field(
        None, description="Role of calls that name none, or an unknown one. Default: the only role."
    )
    unknown_role: Literal["default", "error"] = Field(
        "default",
        description="What a call to an unknown role gets: the default role and a warning, or an error.",
    )
    policy: AnyPolicy = Field(
        # Created on demand: an instance here would build its model at import.
        default_factory=lambda: PluginSettings(type="simple"),
        description="Routing policy: its name, or its type and settings. Default: simple.",
    )
    providers: dict[Name, AnyProvider] = Field(min_length=1, description="Providers by name.")
    roles: dict[Name, RoleConfig] = Field(min_length=1, description="Roles by name.")
    health: HealthConfig = Field(default_factory=HealthConfig, description="Breaker and retry budget.")
    state: AnyState | None = Field(
        None,
        description="Shares limits, breakers and budgets with other processes: its type and settings. Default: none.",
    )
    pricing: PricingConfig = Field(default_factory=PricingConfig, description="What models cost.")
    budget: AnyBudget | None = Field(None, description="What all calls together may cost. Default: no limit.")
    cache: _AnyCache | None = Field(None, description="Cache of roles that do not set one. Default: none.")
    trace: TraceConfig = Field(default_factory=TraceConfig, description="Traces.")
    cassette: AnyCassette | None = Field(
        None, description="Records all answers in a file, and plays them without a network, for tests. Default: none."
    )
    sinks: tuple[AnySink, ...] = Field((), description="Receivers of events: their names, or their types and settings.")

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        roles = {name: role.model_dump(exclude_unset=True, by_alias=True) for name, role in self.roles.items()}
        view = {
            "default_role": self.default_role, "providers": self.providers, "roles": roles, "pricing": self.pricing,
        }  # fmt: skip
        if mistakes := list(check_references(view)):
            raise validation_error("reference", mistakes)
        if self.default_role is None:
            # The only role is the default. Bypass the frozen model's guard, since the model is still being built.
            self.__dict__["default_role"] = next(iter(self.roles))
        return self

    @property
    def has_budgets(self) -> bool:
        """Whether there is any budget: for all calls, a role or a provider."""
        roles, providers = self.roles.values(), self.providers.values()
        return bool(self.budget or any(r.budget for r in roles) or any(p.budget for p in providers))

    @property
    def has_caches(self) -> bool:
        """Whether any role has a cache."""
        return any(self.cache_of(role) for role in self.roles)

    def cache_of(self, role: str) -> _AnyCache | None:
        """Return the cache settings of `role`: its own, else the file's; None if there are none."""
        own = self.roles[role].cache
        return (self.cache if own is None else own) or None

    def chain(self, role: str) -> tuple[ChainEntry, ...]:
        """Return the chain of `role` in order: its own provider, then its fallbacks.

        The model of an entry is its own, else its provider's, else, for a fallback, the role's. Each setting of a
        fallback replaces the role's; ``null`` unsets it.

        Raises:
            ConfigError: there is no such role.
        """
        found = self.roles.get(role)
        if found is None:
            hint = Suggester().did_you_mean(role, self.roles)
            raise ConfigError(f"no such role in the configuration{hint}", sent=False)
        targets: tuple[RoleConfig | FallbackConfig, ...] = (found, *found.fallback_providers)
        return tuple(self._chain_entry(found, target) for target in targets)

    def _chain_entry(self, role: RoleConfig, target: RoleConfig | FallbackConfig) -> ChainEntry:
        own_model = isinstance(target, FallbackConfig) and not target.may_have_role_model
        layers = (
            (target, self.providers[target.provider]) if own_model else (target, self.providers[target.provider], role)
        )
        with_model = (layer for layer in layers if layer.model)
        model_owner: RoleConfig | FallbackConfig | ProviderConfig = next(with_model, target)
        values: dict[str, Any] = {}
        filled: dict[KeyPath, tuple[str, ...]] = {}
        for layer in (role, target):
            written = layer.model_fields_set & CallSettings.model_fields.keys()
            values |= {name: getattr(layer, name) for name in written}
            filled = {path: used for path, used in filled.items() if path[0] not in written}
            filled |= {path: used for path, used in layer._filled.items() if path[0] in written}
        # Skip validation: the values come from validated models.
        settings = CallSettings.model_construct(_fields_set=set(values), **values)
        settings._filled.update(filled)
        entry = ChainEntry(provider=target.provider, model=model_owner.model, settings=settings)
        for source, path in ((target, ("provider",)), (model_owner, ("model",))):
            if path in source._filled:
                entry._filled[path] = source._filled[path]
        return entry
