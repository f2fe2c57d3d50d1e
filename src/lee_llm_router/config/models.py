"""The configuration: what a file may say, as frozen pydantic models, and `load_config`.

The file is the truth: `load_config` reports every mistake at once, each with line, column and a suggestion.
"""

# Annotations are evaluated where they stand: as text, pydantic would have to compile each of them when this is loaded.
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from lee_llm_router.config.references import MAX_CHAIN, check_references
from lee_llm_router.engine.settings import RetryConfig, StreamConfig
from lee_llm_router.errors import ConfigError
from lee_llm_router.health.settings import HealthConfig
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.settings.fields import Integer, Number, Seconds
from lee_llm_router.settings.model import Path, Section
from lee_llm_router.telemetry.settings import TraceConfig

DEFAULT_DEADLINE = 600.0


class _OrText:
    """Says in the JSON Schema that a bare string will do as well."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string"}, handler(schema)]}


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class CallSettings(Section):
    """What a role, a fallback, a policy or a caller may ask of a call. Unset means: not sent."""

    temperature: Number | None = Field(None, ge=0, description="Sampling temperature.")
    top_p: Number | None = Field(None, gt=0, le=1, description="Nucleus sampling: share of probability kept.")
    max_tokens: Integer | None = Field(None, gt=0, description="Upper bound on generated tokens.")
    stop: Annotated[tuple[str, ...], BeforeValidator(_one_or_many), _OrText()] | None = Field(
        None, description="A string, or a list of them, at which generation ends."
    )
    seed: Integer | None = Field(None, description="Seed for vendors that sample repeatably.")
    reasoning_effort: str | None = Field(None, description="How much to think: the vendor's word (low, high...).")
    json_mode: bool | None = Field(None, description="The answer must be one JSON value; it is parsed and checked.")
    response_schema: dict[str, Any] | SkipJsonSchema[type[BaseModel]] | None = Field(
        None, alias="schema", description="JSON Schema the answer must fit; it is parsed and checked."
    )
    extra_body: dict[str, Any] | None = Field(None, description="Fields merged into the request body as they are.")
    headers: dict[str, str] | None = Field(None, description="HTTP headers added to the request.")
    timeout: Seconds | None = Field(None, description="Seconds one attempt may take. Default 120.")


class FallbackConfig(CallSettings):
    """A further target of a role's chain. In the file a bare provider name will do."""

    provider: str = Field(description="Name of a provider in `providers`.")
    model: str | None = Field(None, min_length=1, description="Default: the provider's model, else the role's.")


def _named(value: Any) -> Any:
    return {"provider": value} if isinstance(value, str) else value


Fallback: TypeAlias = Annotated[FallbackConfig, BeforeValidator(_named), _OrText()]


class RoleConfig(CallSettings):
    """Who serves a role, and how."""

    provider: str = Field(description="Name of the provider that is asked first.")
    model: str | None = Field(None, min_length=1, description="Model; default: the provider's own.")
    deadline: Seconds = Field(DEFAULT_DEADLINE, description="Seconds the whole call may take, waits included.")
    retry: RetryConfig = Field(default_factory=RetryConfig, description="How often to try.")
    stream: StreamConfig = Field(default_factory=StreamConfig, description="How to stream.")
    fallback_providers: tuple[Fallback, ...] = Field((), max_length=MAX_CHAIN, description="Further targets, in order.")
    fallback_on: frozenset[Literal["INVALID_REQUEST", "CONTENT_FILTER"]] = Field(
        frozenset(), description="Failures that end a call by default and shall go on to the next target instead."
    )
    retry_effects: bool = Field(
        False, description="Repeat or replace attempts that may have changed something (effects other than none)."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Notes that go into every trace of the role.")


def validate_provider(value: Any) -> Any:
    """The settings of one provider, checked by the model of its `type`, with the defaults of an alias filled in.

    The result carries the real type where an alias was written. What is neither a mapping nor a `ProviderConfig` is
    handed on for pydantic to refuse.

    Raises:
        pydantic.ValidationError: an unknown type, or settings that do not fit it.
    """
    if not isinstance(value, Mapping):
        return value
    name = value.get("type")
    if not isinstance(name, str):
        return ProviderConfig.model_validate({"type": name} if "type" in value else {})
    type_name, defaults = registry.resolve(name)
    try:
        model = registry.get(type_name).config_model
    except ConfigError as error:
        known = registry.available()
        message = error.message if name in known else f"unknown provider type{_suggest()(name, known)}"
        raise _invalid("unknown_type", [(("type",), message)]) from error
    try:
        return model.model_validate({**defaults, **value, "type": type_name})
    except ValidationError:
        raise
    except Exception as error:
        raise _invalid("broken_settings", [((), f"checking these settings raised {type(error).__name__}")]) from error


def _suggest() -> Callable[[object, Iterable[str]], str]:
    # Here, because only mistakes need it.
    from lee_llm_router.config.findings import Suggester  # noqa: PLC0415

    return Suggester().did_you_mean


def _invalid(kind: str, problems: list[tuple[tuple[str | int, ...], str]]) -> ValidationError:
    details = [
        InitErrorDetails(type=PydanticCustomError(kind, "{text}", {"text": text}), loc=path, input=None)
        for path, text in problems
    ]
    return ValidationError.from_exception_data("configuration", details, hide_input=True)


AnyProvider: TypeAlias = Annotated[SerializeAsAny[ProviderConfig], BeforeValidator(validate_provider)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]


class LLMConfig(Section):
    """The whole of ``llm:``. Built from a mapping directly, it checks the same things as `load_config`."""

    default_role: str | None = Field(
        None, description="Role used where none, or an unknown one, is asked for. Default: the only role."
    )
    policy: str = Field("simple", description="Routing policy, by the name of its entry point.")
    providers: dict[Name, AnyProvider] = Field(min_length=1, description="Providers by name.")
    roles: dict[Name, RoleConfig] = Field(min_length=1, description="Roles by name.")
    health: HealthConfig = Field(default_factory=HealthConfig, description="Breaker and retry budget.")
    trace: TraceConfig = Field(default_factory=TraceConfig, description="Traces.")

    @model_validator(mode="after")
    def _references_lead_somewhere(self) -> Self:
        roles = {name: role.model_dump(exclude_unset=True, by_alias=True) for name, role in self.roles.items()}
        view = {"default_role": self.default_role, "policy": self.policy, "providers": self.providers, "roles": roles}
        broken = list(check_references(view))
        if broken:
            suggest = _suggest()
            texts = [(found.path, found.message + suggest(found.word, found.known)) for found in broken]
            raise _invalid("reference", texts)
        if self.default_role is None:
            # The only role is the default one. The model is frozen, and this is still its making.
            self.__dict__["default_role"] = next(iter(self.roles))
        return self

    def chain(self, role: str) -> tuple["TargetSpec", ...]:
        """The targets of `role`, in order: its own provider, then its fallbacks.

        A target's model is the one written there, else its provider's; a fallback then takes the role's. What a
        fallback says of the call replaces what the role says, one setting at a time; ``null`` unsets it.

        Raises:
            ConfigError: no such role.
        """
        found = self.roles.get(role)
        if found is None:
            raise ConfigError(f"no such role in the configuration{_suggest()(role, self.roles)}", sent=False)
        targets: tuple[RoleConfig | FallbackConfig, ...] = (found, *found.fallback_providers)
        return tuple(self._target(found, target) for target in targets)

    def _target(self, role: RoleConfig, target: RoleConfig | FallbackConfig) -> "TargetSpec":
        named = (layer for layer in (target, self.providers[target.provider], role) if layer.model)
        owner: RoleConfig | FallbackConfig | ProviderConfig = next(named, target)
        values: dict[str, Any] = {}
        filled: dict[Path, tuple[str, ...]] = {}
        for layer in (role, target):
            said = layer.model_fields_set & CallSettings.model_fields.keys()
            values |= {name: getattr(layer, name) for name in said}
            filled = {path: used for path, used in filled.items() if path[0] not in said}
            filled |= {path: used for path, used in layer._filled.items() if path[0] in said}
        settings = CallSettings.model_construct(_fields_set=set(values), **values)
        settings._filled.update(filled)
        spec = TargetSpec(provider=target.provider, model=owner.model, settings=settings)
        for source, path in ((target, ("provider",)), (owner, ("model",))):
            if path in source._filled:
                spec._filled[path] = source._filled[path]
        return spec


class TargetSpec(Section):
    """One entry of a chain, before its provider is built."""

    provider: str
    model: str | None = None
    settings: CallSettings = Field(default_factory=CallSettings)
    """What is asked of the call here, the role's settings included. Unset means: not sent."""


def load_config(source: str | PathLike[str] | Mapping[str, Any]) -> LLMConfig:
    """Read a configuration.

    Args:
        source: A path; or YAML text, which is a string with a newline in it; or a mapping. The router's part stands
            under the key ``llm``; a file's other top-level keys are left to the application.

    Raises:
        ConfigError: anything is wrong. Its `findings` hold every mistake at once, in the order of the file, each as
            ``file:line:column: path: message (did you mean ...?)``, lines and columns from 1. No value is shown.
    """
    # Here, because a program that brings no file should not load a YAML library.
    from lee_llm_router.config.load import load  # noqa: PLC0415

    return load(source, LLMConfig)


def json_schema(*, installed: bool = False) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file.

    Args:
        installed: Describe every provider type that is registered or installed here; by default the built-in ones.
            Either way other types pass.
    """
    from lee_llm_router.config.schema import build_schema  # noqa: PLC0415

    return build_schema(LLMConfig, installed=installed)


def schema_text() -> str:
    """The JSON Schema file that ships with the package: `json_schema()` as text."""
    return _template("llm.schema.json")


def template_text() -> str:
    """The annotated example configuration that ships with the package. It loads as it is, and needs no network."""
    return _template("llm.example.yaml")


def _template(name: str) -> str:
    from importlib.resources import files  # noqa: PLC0415

    return files("lee_llm_router.config").joinpath("templates", name).read_text(encoding="utf-8")
