"""The JSON contract of an answer: `json_mode` and `schema`; and the words in which a model hears that it broke one.

A type is checked by pydantic; a JSON Schema given as a mapping by the `jsonschema` library (the extra
``lee-llm-router[schema]``). References in a schema are never fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from lee_llm_router._util.lenient_json import whole_escapes
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router.engine.json_text import json_text
from lee_llm_router.errors import ContractViolationError, InvalidRequestError, LLMRouterError
from lee_llm_router.providers.json_schema import adapter_of, type_name
from lee_llm_router.response import LLMRequest, LLMResponse, Message

_BROKEN = "the answer breaks its contract: "
_KEPT_OF_CUT_ANSWER = 2000
"""Characters shown to the model of an answer that was cut by length: it has to be another, shorter one anyway."""


def check_schema(schema: object) -> None:
    """Find out before anything is sent whether answers can be checked against `schema`.

    Raises:
        InvalidRequestError: it is no schema, or the library that checks it is not installed.
    """
    if isinstance(schema, Mapping):
        _compiled_check(_as_json(schema))
    elif schema is not None:
        adapter_of(schema)


def parse_answer(request: LLMRequest, response: LLMResponse) -> Any:
    """Return the parsed answer, if it keeps the contract; None for one that only calls tools.

    The contract binds the text of an answer: an answer that calls tools and says nothing has none yet.

    Text around the JSON is set aside where exactly one JSON value is left; see `json_text`.

    Raises:
        ContractViolationError: it is cut by length, is not JSON, or does not fit the schema.
    """
    if response.tool_calls and not response.text.strip():
        return None
    if response.finish_reason == "length":
        raise _violation(response, "the answer was cut by length (finish_reason length)")
    try:
        return _checked(request.schema, response.text)
    except _NotJSONError:
        pass
    except ValueError as error:
        raise _violation(response, str(error)) from None
    try:
        # Half characters, as a model or a server that counts in UTF-16 leaves them, are no JSON for the parsers used.
        return _checked(request.schema, json_text(whole_escapes(response.text)))
    except ValueError as error:
        raise _violation(response, str(error)) from None


class _NotJSONError(ValueError):
    """The text is no JSON."""


def _checked(schema: Any, text: str) -> Any:
    """Return the value in `text`, if it fits `schema`.

    Raises:
        ValueError: it does not; says why.
    """
    if schema is not None and not isinstance(schema, Mapping):
        try:
            return adapter_of(schema).validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            if first["type"] == "json_invalid":
                raise _NotJSONError(f"not JSON: {first['msg'].removeprefix('Invalid JSON: ')}") from None
            where = "".join(f".{part}" for part in first["loc"])
            raise ValueError(f"does not fit {type_name(schema)}{where}: {first['msg']}") from None
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise _NotJSONError(f"not JSON: {error}") from None
    problem = None if schema is None else _compiled_check(_as_json(schema))(value)
    if problem:
        raise ValueError(f"does not fit the schema: {problem}")
    return value


def _violation(response: LLMResponse, message: str) -> ContractViolationError:
    return ContractViolationError(f"{_BROKEN}{bounded(message, 300)}", response=response)


def repair_messages(error: LLMRouterError) -> tuple[Message, Message]:
    """Return the broken answer as the assistant's message, and the user's that says what is wrong with it.

    `error` is scrubbed and bounded by now. Tool calls of the answer are left out: a call without its result is refused.
    """
    answer = error.response
    text = "" if answer is None else answer.text
    ask = "Answer again, with one JSON value as asked for and nothing else."
    if answer is not None and answer.finish_reason == "length":
        text = text[:_KEPT_OF_CUT_ANSWER]
        ask = "Answer again, more briefly, with one whole JSON value as asked for and nothing else."
    return (
        # Some APIs refuse an empty message.
        {"role": "assistant", "content": text if text.strip() else "(no text)"},
        {"role": "user", "content": f"That answer cannot be used: {error.message.removeprefix(_BROKEN)}. {ask}"},
    )


def _as_json(schema: Any) -> bytes:
    try:
        return to_json(schema)
    except ValueError as error:
        raise InvalidRequestError(f"schema is not JSON: {error}", sent=False) from None


@lru_cache(maxsize=128)
def _compiled_check(schema_text: bytes) -> Callable[[Any], str | None]:
    """A function that says what is wrong with a value, or None; compiled once for a schema."""
    try:
        from jsonschema.exceptions import SchemaError, best_match  # noqa: PLC0415 - an extra, loaded when needed
        from jsonschema.validators import validator_for  # noqa: PLC0415
        from referencing import Registry  # noqa: PLC0415
        from referencing.exceptions import Unresolvable  # noqa: PLC0415
    except ImportError:
        raise InvalidRequestError(
            'checking answers against a JSON Schema needs an extra: pip install "lee-llm-router[schema]"'
            " (a type as schema needs none)",
            sent=False,
        ) from None
    schema = from_json(schema_text)
    validator_class = validator_for(schema)
    try:
        validator_class.check_schema(schema)
    except SchemaError as error:
        raise InvalidRequestError(f"schema is not a JSON Schema: {error.message}", sent=False) from None
    validator = validator_class(schema, registry=Registry())

    def problem(value: Any) -> str | None:
        try:
            error = best_match(validator.iter_errors(value))
        except Unresolvable as unresolvable:
            return f"a reference in it leads nowhere: {unresolvable}"
        return None if error is None else f"{error.json_path}: {error.message}"

    return problem
