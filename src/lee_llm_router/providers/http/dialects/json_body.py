"""JSON bodies: writes them, reads them, and describes bodies that are not JSON. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any, NoReturn

from pydantic_core import to_json

from lee_llm_router._util.lenient_json import read_json
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.errors import InvalidRequestError, InvalidResponseError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.sse import BOM


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Return `body` as JSON text in UTF-8.

    Raises:
        InvalidRequestError: JSON cannot express it: NaN, lone surrogates, objects, a cycle.
    """
    try:
        data = to_json(body, fallback=_plain)
        if b"NaN" in data or b"Infinity" in data:
            # Strings may contain both; only a parser can tell.
            json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, TypeError, RecursionError) as error:
        reason = bounded(str(error).removeprefix("Error serializing to JSON: "), 200)
        raise InvalidRequestError(f"the request cannot be written as JSON: {reason}", sent=False) from error
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, Set)):
        return list(value)
    raise TypeError(f"no JSON for the type {type(value).__name__}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def decode_json(reply: HTTPReply) -> dict[str, Any]:
    """Return the JSON object in the body.

    Raises:
        InvalidResponseError: the body is anything else.
    """
    try:
        value = read_json(reply.body.removeprefix(BOM))
    except ValueError as error:
        raise invalid_answer(reply, f"not JSON but {describe_body(reply)}") from error
    if not isinstance(value, dict):
        raise invalid_answer(reply, f"not a JSON object but {describe_body(reply)}")
    return value


def describe_body(reply: HTTPReply, *, is_no_answer: bool = False) -> str:
    """Describe an unexpected body in a few words; `is_no_answer` permits quoting one that came with a success.

    Without it, such a body may be an answer or part of one, which no message may quote.
    """
    if not reply.body:
        return "an empty body"
    text = reply.body[:4096].decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        is_quoted = is_no_answer or not reply.ok
        return f"{reply.quote(text, 100)!r}" if is_quoted else f"{len(reply.body)} bytes of text"
    title = re.search(r"<title[^>]*>([^<]{1,300})</title", text, re.IGNORECASE)
    return f"a web page ({reply.quote(title[1], 100)})" if title else "a web page"


def invalid_answer(reply: HTTPReply, what: str) -> InvalidResponseError:
    """Return the error for an invalid answer: `what` continues "the answer is"."""
    return InvalidResponseError(f"the answer is {what}", status_code=reply.status)


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object, otherwise an empty one. For optional fields."""
    return value if isinstance(value, dict) else {}


def string(value: Any) -> str | None:
    """Return `value` if it is non-empty text, otherwise None. For optional fields."""
    return value if isinstance(value, str) and value else None
