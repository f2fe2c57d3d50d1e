"""Writes requests to a model in this process: OpenAI's chat completions, without what llama.cpp cannot do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.response.types import LLMRequest

_SAMPLING = (
    "top_k", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "parallel_tool_calls",
)  # fmt: skip
_OURS = ("stream", "return_progress")
_MAX_REPEATS = 1000
"""The longest repetition to request in a grammar. llama.cpp refuses those above 2000, and prints the grammar."""
_MAX_GROUPS = 50
"""Groups of a pattern; llama.cpp fails if more than about 100 are nested."""
_LENGTHS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_DATA = frozenset({"const", "enum", "default", "examples", "example", "required"})
"""Keywords whose values are not schemas."""

_PIECE = re.compile(
    r'\\[dws]|\\[^A-Za-z0-9]|\[\^?(?:[^\]\\\["]|\\[dws]|\\[^A-Za-z0-9])+\]|\((?:\?:|(?!\?))|\)|\{\d{1,4}(?:,\d{0,4})?\}'
    r'|[|.*+?]|[^\\^$\[\](){}*+?|."]'
)
_IN_CLASS = re.compile(r"\\[dws]|\\[^A-Za-z0-9]|[^\\]")
_CLASSES = {r"\d": "0-9", r"\w": "a-zA-Z0-9_", r"\s": " "}
"""Replacements for character classes. JSON text cannot contain the other characters of `\\s` unescaped."""
_NO_TEXT = r'"\\\x00-\x1F'
"""Characters that JSON text cannot contain unescaped. llama.cpp would let them through."""
_REPEATS = ("*", "+", "?")
_KEPT_ESCAPES = frozenset("^$.[](){}|*+?-")
_ODD_SETS = ("--", "&&", "~~", "||")
"""Sequences that may have another meaning in a class, in a later version of Python's `re`."""


def finished_body(
    body: dict[str, Any], request: LLMRequest, extra: Mapping[str, Any], *, hold_to_schema: bool
) -> dict[str, Any]:
    """Return `body`, which the dialect of chat completions has written for `request`, in llama.cpp's form.

    Args:
        body: The body; it is changed.
        request: The request.
        extra: The provider's own additions.
        hold_to_schema: Whether llama.cpp should enforce the schema; otherwise only JSON.

    Raises:
        InvalidRequestError: `extra_body` sets a field that determines how answers are read.
    """
    for name in _OURS:
        if name in request.extra_body:
            raise InvalidRequestError(f"extra_body must not set {name}: it decides how answers are read", sent=False)
    body.pop("model", None)  # the answer then names the file that served
    for name in _SAMPLING:
        value = getattr(request, name)
        if value is not None:
            body.setdefault(name, value)
    if request.top_logprobs is not None:
        body.setdefault("logprobs", True)
    if request.reasoning_effort == "none":
        # Templates of thinking models have this switch.
        body.setdefault("chat_template_kwargs", {"enable_thinking": False})
    body.update(extra)
    body.update(request.extra_body)
    try:
        if "response_format" in body and "response_format" not in request.extra_body:
            body["response_format"] = _response_format(body["response_format"], hold_to_schema)
        body.update({"tools": for_grammar(body["tools"])} if body.get("tools") else {})
    except RecursionError:
        raise InvalidRequestError("the request is nested too deep", sent=False) from None
    body["stream"] = body["return_progress"] = True
    body["stream_options"] = {"include_usage": True}
    return body


def _response_format(asked: Any, hold_to_schema: bool) -> Any:
    if not isinstance(asked, Mapping) or asked.get("type") != "json_schema":
        return asked
    return for_grammar(asked) if hold_to_schema else {"type": "json_object"}


def for_grammar(schema: Any) -> Any:
    """Return the JSON Schema `schema`, or what holds one, without what llama.cpp cannot turn into a grammar.

    For those parts it would print a warning to standard error. The answer is still checked against the whole schema.
    """
    if isinstance(schema, Mapping):
        kept: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _LENGTHS and isinstance(value, (int, float)) and value > _MAX_REPEATS:
                continue
            if key == "pattern" and isinstance(value, str):
                pattern = grammar_pattern(value)
                if pattern is not None:
                    kept[key] = pattern
                continue
            kept[key] = value if key in _DATA else for_grammar(value)
        return kept
    if isinstance(schema, (list, tuple)):
        return [for_grammar(one) for one in schema]
    return schema


def grammar_pattern(pattern: str) -> str | None:
    """Return the regular expression `pattern` in llama.cpp's form; None if it has none."""
    is_whole = pattern.startswith("^") and pattern.endswith("$") and len(pattern) >= 2
    if not is_whole or pattern.count("(") > _MAX_GROUPS:
        return None
    inner, parts, position, piece = pattern[1:-1], list[str](), 0, ""
    while position < len(inner):
        match = _PIECE.match(inner, position)
        if match is None:
            return None
        before, piece, position = piece, match[0], match.end()
        if piece in _REPEATS and (before in _REPEATS or before.endswith("}")):
            return None  # a lazy or possessive quantifier
        part = _rewritten(piece)
        if part is None:
            return None
        parts.append(part)
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return None
    return f"^{''.join(parts)}$"


def _rewritten(piece: str) -> str | None:
    if piece in _CLASSES:
        return f"[{_CLASSES[piece]}]"
    if piece == ".":
        return f"[^{_NO_TEXT}]"
    if piece.startswith("["):
        return _rewritten_class(piece)
    if piece.startswith("\\"):
        return piece if piece[1] in _KEPT_ESCAPES else None if piece[1] in '\\"' else piece[1]
    if piece.startswith("{") and any(int(one) > _MAX_REPEATS for one in re.findall(r"\d+", piece)):
        return None
    return piece if piece.isprintable() else None


def _rewritten_class(piece: str) -> str | None:
    if any(odd in piece for odd in _ODD_SETS) or not piece.isprintable():
        return None
    negated = piece.startswith("[^")
    parts = []
    for one in _IN_CLASS.findall(piece[2 if negated else 1 : -1]):
        if one.startswith("\\") and one not in _CLASSES and one[1] not in "]-":
            if one[1] in '\\"^[':
                return None
            one = one[1]  # noqa: PLW2901 - llama.cpp knows no such escape
        parts.append(_CLASSES.get(one, one))
    return f"[^{''.join(parts)}{_NO_TEXT}]" if negated else f"[{''.join(parts)}]"
