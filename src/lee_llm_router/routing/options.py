"""The options that a caller or a policy may override, checked, as plain request fields."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from lee_llm_router.config.models import CallSettings
from lee_llm_router.engine.acceptance import AcceptHook
from lee_llm_router.engine.settings import AcceptConfig, AnyAccept, AnyHedge, ContractConfig, HedgeConfig
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.settings.fields import Seconds

SchemaT = TypeVar("SchemaT")
Schema: TypeAlias = "type[SchemaT] | TypeAdapter[SchemaT]"
"""A `schema` from which type checkers know the type of `LLMResponse.parsed`."""


class SharedOptions(TypedDict, total=False):
    """The options that calls and roles share, except `schema`."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: str | Sequence[str]
    seed: int
    top_k: int
    frequency_penalty: float
    presence_penalty: float
    logprobs: bool
    top_logprobs: int
    reasoning_effort: str
    service_tier: str
    json_mode: bool
    """The answer must be JSON; it is returned parsed as `LLMResponse.parsed`."""
    parallel_tool_calls: bool
    extra_body: Mapping[str, Any]
    extra_query: Mapping[str, str]
    headers: Mapping[str, str]
    drop_unsupported: bool
    """Leave out options that a target cannot express, and note that in the trace; otherwise the target is skipped."""
    timeout: float
    """Seconds one attempt may take."""
    deadline: float
    """Seconds the whole call may take."""
    metadata: Mapping[str, Any]
    """Notes for the trace; never sent."""


class OptionsWithoutSchema(SharedOptions, total=False):
    """The `CallOptions` without `schema`, a separate parameter from which type checkers infer `LLMResponse.parsed`."""

    model: str
    """Model for the targets that would use the role's model."""
    contract: Mapping[str, Any]
    """What to do if the answer breaks its contract: ``{"repair": 0, "on_failure": "raise"}``, as for a role."""
    accept: AcceptConfig | Mapping[str, Any] | AcceptHook
    """What makes an answer acceptable; replaces the role's rules. Rules, or a function that judges an answer."""
    hedge: HedgeConfig | Mapping[str, Any] | str | float
    """When to hedge a slow target with another one; replaces the role's setting. ``{"max": 0}``: never. A delay alone
    (``"p95"``, seconds) stands for ``{"after": ...}``."""
    tool_choice: str | Mapping[str, Any]
    no_cache: bool
    """Call a provider even if there is a kept answer; the new answer replaces it."""


class CallOptions(OptionsWithoutSchema, total=False):
    """Keyword arguments of `LeeLLMRouter.complete`. Each replaces what the configuration says, for one call."""

    schema: Any
    """What the answer must fit; it is returned parsed as `LLMResponse.parsed`.

    A JSON Schema (a mapping), or a type that pydantic can validate: a model, a dataclass, a TypedDict, ``list[Trip]``,
    a union, a `TypeAdapter`. Type checkers infer the type of `parsed` from it. They do so for a union only as a
    ``TypeAdapter[A | B]``, and not if `tools` are given too, since an answer that only calls tools has nothing parsed.
    """
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]]
    """Tools in the OpenAI shape, or plain functions, described by their hints and docstrings. See `tools.tool_of`."""


class EmbeddingOptions(TypedDict, total=False):
    """Keyword arguments of `LeeLLMRouter.embed`. Each replaces what the configuration says, for one call."""

    model: str
    """Model for the targets that would use the role's model."""
    extra_body: Mapping[str, Any]
    extra_query: Mapping[str, str]
    headers: Mapping[str, str]
    timeout: float
    """Seconds one attempt may take, for all batches."""
    deadline: float
    """Seconds the whole call may take."""
    metadata: Mapping[str, Any]
    """Notes for the trace; never sent."""
    no_cache: bool
    """Call a provider even if there are kept vectors; the new vectors replace them."""


OF_WHOLE_CALL = ("accept", "contract", "deadline", "hedge", "metadata", "no_cache")
"""Options about a whole call, not about the request to one of its targets."""


def _as_tools(tools: tuple[Any, ...]) -> tuple[Mapping[str, Any], ...]:
    """Return `tools` as mappings, with functions turned into tools."""
    found: list[Mapping[str, Any]] = []
    for tool in tools:
        if isinstance(tool, Mapping):
            found.append(tool)
        elif callable(tool):
            from lee_llm_router.response.tools import known_tool  # noqa: PLC0415 - most programs have no functions as tools

            found.append(known_tool(tool))
        else:
            raise PydanticCustomError("wanted_tool", "a mapping or a function is wanted for each tool")
    names = [name for tool in found if isinstance(name := _tool_name(tool), str)]
    if len(set(names)) < len(names):
        raise PydanticCustomError("wanted_tool", "two tools have the same name")
    return tuple(found)


def _tool_name(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, Mapping) else None


@cache
def _checker() -> TypeAdapter[dict[str, Any]]:
    """Return the validator of `CallOptions`, made when first needed: most programs never need it.

    It returns a dict of the passed options; a model would add 6 us to the 60 us of a call.
    """
    fields: dict[str, Any] = {
        "model": Annotated[str, Field(min_length=1)] | None,
        "tools": Annotated[tuple[Any, ...], AfterValidator(_as_tools)] | None,
        "tool_choice": str | dict[str, Any] | None,
        "deadline": Seconds | None,
        "metadata": dict[str, Any] | None,
        "contract": ContractConfig | None,
        "hedge": AnyHedge | None,
        "accept": AnyAccept | None,
        "no_cache": Annotated[bool, Field(strict=True)] | None,
    }
    for name, field in CallSettings.model_fields.items():
        fields[field.alias or name] = (
            Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        )
    config = with_config(ConfigDict(extra="forbid", hide_input_in_errors=True))
    return TypeAdapter(config(TypedDict("Options", fields, total=False)))  # type: ignore[operator]


_SECTIONS: dict[int | str, type[BaseModel]] = {"accept": AcceptConfig, "contract": ContractConfig, "hedge": HedgeConfig}
"""Options whose value has named fields of its own."""


def request_fields(settings: BaseModel) -> dict[str, Any]:
    """Return the settings under the field names of `LLMRequest` (and `timeout`, `deadline`), without unset ones."""
    fields = {name: value for name in settings.model_fields_set if (value := getattr(settings, name)) is not None}
    if "response_schema" in fields:
        fields["schema"] = fields.pop("response_schema")
    return fields


def validate_options(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Check `overrides` with the rules of the configuration, and return them under the field names of `LLMRequest`.

    Raises:
        InvalidRequestError: a name is unknown, or a value is of the wrong kind; the message says which, and suggests a
            name.
    """
    if not overrides:
        return {}
    if len(overrides) == 1 and _is_plain_metadata(overrides.get("metadata")):
        # A batch, or a program that tags its calls, passes only this each time: 5 us less per call.
        return dict(overrides)
    try:
        checked = _checker().validate_python(dict(overrides))
        return {name: value for name, value in checked.items() if value is not None}
    except InvalidRequestError:
        raise
    except ValidationError as error:
        invalid = error
    except Exception as error:  # noqa: BLE001 - a caller's own value may raise anything when it is read
        raise InvalidRequestError(f"an option cannot be read ({type(error).__name__})", sent=False) from None
    from lee_llm_router.routing.option_problems import problems_of  # noqa: PLC0415 - most calls have no wrong options

    raise InvalidRequestError(problems_of(invalid, CallOptions, _SECTIONS), sent=False)


def _is_plain_metadata(value: Any) -> bool:
    if type(value) is not dict:
        return False
    for name in value:  # noqa: SIM110 - `all` takes 0.3 us more
        if type(name) is not str:
            return False
    return True


def refuse_foreign_options(fields: Mapping[str, Any], options: Collection[str]) -> None:
    """Check that `fields` contains only names in `options`.

    Raises:
        InvalidRequestError: it contains others.
    """
    if foreign := sorted(fields.keys() - options):
        what = ", ".join(foreign)
        raise InvalidRequestError(f"no such option for this kind of call: {what}", sent=False)
