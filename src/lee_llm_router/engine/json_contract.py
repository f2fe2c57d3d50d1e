"""The JSON contract of an answer (`json_mode` and `schema`), and the messages that tell a model that it broke one.

A type is checked by pydantic; a JSON Schema given as a mapping by `schema_check`. A broken contract is reported by path
and rule: the report goes into traces and logs, which contain no word of an answer unless asked to. The answer itself is
the error's `response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json
from pydantic_core.core_schema import ErrorType

from lee_llm_router._util.lenient_json import whole_escapes
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router._util.work_limit import WorkLimit
from lee_llm_router.engine.acceptance import BROKEN_CONTRACT
from lee_llm_router.engine.json_text import json_text
from lee_llm_router.engine.schema_check import schema_check_of, shown_path, words_of
from lee_llm_router.errors import ContractViolationError, LLMRouterError
from lee_llm_router.providers.json_schema import adapter_of, json_schema_of, type_name
from lee_llm_router.response.types import LLMRequest, LLMResponse, Message

MAX_CHECKED = 4_000_000
"""The most characters of an answer that are checked; more than any model writes."""
_KEPT_OF_CUT_ANSWER = 2000
"""Characters shown to the model of an answer cut by length: the new answer has to be shorter anyway."""
_CHARACTERS_A_STEP = 100
_SAID_BY_PYDANTIC = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""Kinds of errors whose messages come from pydantic, not from a third-party validator."""


def check_schema(schema: object) -> None:
    """Check, before anything is sent, that answers can be checked against `schema`.

    Raises:
        InvalidRequestError: it is not a schema, or the library that checks it is not installed.
    """
    if isinstance(schema, Mapping):
        schema_check_of(schema)
    elif schema is not None:
        adapter_of(schema)


def parse_answer(request: LLMRequest, response: LLMResponse, limit: WorkLimit) -> Any:
    """Return the parsed answer, if it keeps the contract; None for one that only calls tools.

    The contract applies to the text of an answer: an answer that only calls tools has none yet.

    Text around the JSON is ignored if exactly one JSON value remains; see `json_text`.

    Raises:
        ContractViolationError: it is cut by length, is not JSON, or does not fit the schema.
        WorkLimitError: the check takes longer than `limit` allows.
    """
    if response.tool_calls and not response.text.strip():
        return None
    if response.finish_reason == "length":
        raise _violation(response, "the answer was cut by length (finish_reason length)")
    if len(response.text) > MAX_CHECKED:
        raise _violation(response, f"it is too long to be checked ({len(response.text)} characters)")
    try:
        return _checked(request.schema, response.text, limit)
    except _NotJSONError:
        pass
    except ValueError as error:
        raise _violation(response, str(error)) from None
    try:
        # Lone surrogates, which models and servers that count in UTF-16 leave behind, are not JSON for the parsers
        # used.
        return _checked(request.schema, json_text(whole_escapes(response.text)), limit)
    except ValueError as error:
        raise _violation(response, str(error)) from None


def unchecked(response: LLMResponse) -> ContractViolationError:
    """Return the error for an answer whose check takes too long. A retry is pointless: it may get the same answer."""
    return ContractViolationError(f"{BROKEN_CONTRACT}checking it takes too long", response=response, final=True)


class _NotJSONError(ValueError):
    """The text is not JSON."""


def _checked(schema: Any, text: str, limit: WorkLimit) -> Any:
    """Return the value in `text`, if it fits `schema`.

    Raises:
        ValueError: it does not; says why.
        WorkLimitError: as `parse_answer`.
    """
    limit.spend(1 + len(text) // _CHARACTERS_A_STEP)
    if schema is not None and not isinstance(schema, Mapping):
        return _validated(schema, text)
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise _NotJSONError(f"not JSON: {error}") from None
    problem = None if schema is None else schema_check_of(schema)(value, limit)
    if problem:
        raise ValueError(f"does not fit the schema: {problem}")
    return value


def _validated(schema: Any, text: str) -> Any:
    """Return the value in `text`, of the type `schema`.

    Raises:
        ValueError: as `_checked`.
    """
    try:
        return adapter_of(schema).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    except Exception as error:  # noqa: BLE001 - a third-party validator may raise anything
        raise ValueError(f"does not fit {type_name(schema)}: its validator raised {type(error).__name__}") from None
    if first["type"] == "json_invalid":
        raise _NotJSONError(f"not JSON: {first['msg'].removeprefix('Invalid JSON: ')}")
    where = shown_path(first["loc"], _words_of_type(schema))
    raise ValueError(f"does not fit {type_name(schema)}{where}: {_said(first)}")


def _said(error: ErrorDetails) -> str:
    """Return the message of a pydantic error, if it does not quote the value."""
    quotes_value = {"tag", "error"} & error.get("ctx", {}).keys()
    return error["msg"] if error["type"] in _SAID_BY_PYDANTIC and not quotes_value else bounded(error["type"], 60)


def _words_of_type(schema: Any) -> frozenset[str]:
    """Return the words that may be shown in a path within a value of the type: those of its JSON Schema."""
    try:
        return words_of(json_schema_of(schema))
    except LLMRouterError:  # JSON Schema cannot express it
        return frozenset()


def _violation(response: LLMResponse, message: str) -> ContractViolationError:
    return ContractViolationError(f"{BROKEN_CONTRACT}{bounded(message, 300)}", response=response)


def repair_messages(error: LLMRouterError) -> tuple[Message, Message]:
    """Return the broken answer as an assistant message, and the user message that says what is wrong with it.

    `error` is already scrubbed and bounded. The answer's tool calls are left out: a call without its result is refused.
    """
    answer, what = error.response, error.message.removeprefix(BROKEN_CONTRACT)
    text = "" if answer is None else answer.text
    ask = "Answer again, with one JSON value as asked for and nothing else."
    if answer is not None and answer.finish_reason == "length":
        text = text[:_KEPT_OF_CUT_ANSWER]
        ask = "Answer again, more briefly, with one whole JSON value as asked for and nothing else."
    return (
        # Some APIs refuse an empty message.
        {"role": "assistant", "content": text if text.strip() else "(no text)"},
        {"role": "user", "content": f"That answer cannot be used: {what}. {ask}"},
    )
