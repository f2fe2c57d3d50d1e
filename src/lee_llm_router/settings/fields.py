"""Field types that settings models share: numbers, seconds, names of variables, addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from lee_llm_router._util.hosts import host_port
from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.scrubbing import looks_like_key

_PLACEHOLDER = late_pattern(r"(?<![A-Za-z0-9_])(RESOURCE|REGION|PROJECT|WORKSPACE)(?![A-Za-z0-9_])")
"""Placeholders in vendors' addresses that users must replace with their own values."""
_ENV_NAME = late_pattern(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_KEYS = 100
"""The most keys that one provider may have."""


def _number(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        raise PydanticCustomError("wanted_number", "a number is wanted")
    return value


def _integer(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        raise PydanticCustomError("wanted_integer", "a whole number is wanted")
    return value


def _names_a_variable(value: str) -> str:
    if not _ENV_NAME.fullmatch(value) or looks_like_key(value):
        raise PydanticCustomError(
            "wanted_env_name",
            "the name of an environment variable is wanted (OPENAI_API_KEY, say), never the key itself",
        )
    return value


def _is_base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host: str | None = host_port(parts.netloc).host
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not value.isprintable() or " " in value:
        raise PydanticCustomError("wanted_url", "an address is wanted: http:// or https://, a host, perhaps a path")
    if "@" in parts.netloc:
        raise PydanticCustomError(
            "url_credentials", "an address must not contain a user or password: name the key with api_key_env"
        )
    if parts.query or parts.fragment:
        raise PydanticCustomError("wanted_url", "an address ends with its path: nothing after ? or #")
    if word := _PLACEHOLDER.search(value):
        raise PydanticCustomError("placeholder", "replace {word} with your own", {"word": word[1]})
    return value.rstrip("/")


Number: TypeAlias = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
"""A finite number. Text and booleans are refused."""
Integer: TypeAlias = Annotated[int, BeforeValidator(_integer)]
"""A whole number. Text and booleans are refused."""
MAX_SECONDS = 2_000_000.0
"""The longest duration: 23 days. The system's own waits hold at most 24."""
Seconds: TypeAlias = Annotated[Number, Field(gt=0, le=MAX_SECONDS)]
"""A duration greater than 0, and at most `MAX_SECONDS`."""
Wait: TypeAlias = Annotated[Number, Field(ge=0, le=MAX_SECONDS)]
"""A duration that may be 0."""
MAX_DURATION = 315_360_000.0
"""The longest retention time: 10 years."""
_DURATION = late_pattern(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def _seconds_of(value: Any) -> Any:
    if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())) is not None:
        return float(found[1]) * _UNITS[found[2]]
    if isinstance(value, (bool, str)):
        raise PydanticCustomError("wanted_duration", "seconds are wanted, or a number with its unit: 30s, 15m, 12h, 1d")
    return value


class _OneOrSeveral:
    """Gives a field the schema of one variable name or a list of names. A list of one equals the name alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that checks each name, and reports errors on the field as a whole."""
        return core_schema.no_info_wrap_validator_function(
            _each_name, handler.generate_schema(EnvName), serialization=core_schema.simple_ser_schema("any")
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema of a name, with a list of names as the alternative."""
        one = handler(schema)
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_KEYS}]}


def _each_name(value: Any, check: Callable[[Any], str]) -> Any:
    if not isinstance(value, (list, tuple)):
        return check(value)
    if not 0 < len(value) <= MAX_KEYS:
        what = f"the names of 1 to {MAX_KEYS} variables are wanted"
        raise PydanticCustomError("wanted_env_names", "{what}", {"what": what})
    names = tuple(check(one) for one in value)
    if len(set(names)) < len(names):
        raise PydanticCustomError("wanted_env_names", "a variable may be named only once")
    return names if len(names) > 1 else names[0]


EnvNames: TypeAlias = Annotated[str | tuple[str, ...], _OneOrSeveral()]
"""The name of a variable that holds a key, or a tuple of two or more of them."""


class AllowString:
    """Marks a field whose JSON Schema allows a bare string as well.

    Args:
        or_number: Whether it allows a bare number too.
    """

    def __init__(self, *, or_number: bool = False) -> None:
        self._type = ["number", "string"] if or_number else "string"

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the field's schema with a string as the alternative."""
        return {"anyOf": [{"type": self._type}, handler(schema)]}


Duration: TypeAlias = Annotated[
    float, BeforeValidator(_seconds_of), Field(gt=0, le=MAX_DURATION, allow_inf_nan=False), AllowString()
]
"""How long something is kept: seconds, or a number with its unit (``30s``, ``15m``, ``12h``, ``1d``, ``2w``)."""
EnvName: TypeAlias = Annotated[
    str,
    Field(max_length=128, json_schema_extra={"pattern": f"^{_ENV_NAME.pattern}$"}),
    AfterValidator(_names_a_variable),
]
"""The name of an environment variable that holds a key. The key itself never appears in a file."""
BaseUrl: TypeAlias = Annotated[str, AfterValidator(_is_base_url)]
"""An http(s) address that paths are appended to: without user, password, query or trailing slash."""
