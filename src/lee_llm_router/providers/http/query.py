"""Query parameters of requests: where the settings may have them, and which of their values are secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, TypeAlias
from urllib.parse import parse_qsl, quote

from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError

from lee_llm_router._util.scrubbing import is_sensitive_parameter
from lee_llm_router.errors import InvalidRequestError


def _as_text(fields: Any) -> Any:
    """Return `fields` with numbers as text: users may write a version as a number."""
    if not isinstance(fields, Mapping):
        return fields
    return {
        name: str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        for name, value in fields.items()
    }


def _checked(fields: dict[str, str]) -> dict[str, str]:
    for name, value in fields.items():
        if not name or not name.isprintable() or not value.isprintable():
            raise PydanticCustomError("wanted_query", "a query parameter needs a name, and printable characters")
    return fields


QueryFields: TypeAlias = Annotated[dict[str, str], BeforeValidator(_as_text), AfterValidator(_checked)]
"""Type of a setting that becomes query parameters, by name."""


def with_query_apart(data: Any) -> Any:
    """Return the settings in `data` with the query of their `base_url` moved into `query`, which wins over it.

    Anything else is returned unchanged, for pydantic to refuse.
    """
    url = data.get("base_url") if isinstance(data, Mapping) else None
    if not isinstance(url, str) or "?" not in url or "#" in url:
        return data
    base, _, text = url.partition("?")
    pairs = parse_qsl(text, keep_blank_values=True)
    if len(dict(pairs)) < len(pairs):
        raise PydanticCustomError("wanted_url", "the query of base_url names a parameter twice")
    query = data.get("query", {})
    if not isinstance(query, Mapping):
        return data
    return {**data, "base_url": base, "query": {**dict(pairs), **query}}


def query_text(query: Mapping[str, str]) -> str:
    """Return `query` in its form after the question mark of a URL."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in query.items())


def query_of(asked: Mapping[str, Any]) -> str:
    """As `query_text`, for parameters that a caller passes.

    Raises:
        InvalidRequestError: one has no name, or holds something that a URL cannot.
    """
    try:
        return query_text(_checked({name: str(value) for name, value in asked.items()}))
    except (PydanticCustomError, UnicodeEncodeError):
        raise InvalidRequestError("a query parameter needs a name, and printable characters", sent=False) from None


def secret_query_values(query: Mapping[str, str], filled: Collection[str]) -> Iterator[str]:
    """Yield the values of parameters whose name suggests a secret, or that hold one of `filled`; also in encoded
    form."""
    for name, value in query.items():
        if is_sensitive_parameter(name) or any(secret and secret in value for secret in filled):
            yield value
            yield _quoted(value)


def _quoted(text: str) -> str:
    return quote(text, safe="")
