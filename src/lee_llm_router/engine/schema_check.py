"""Checks values against a JSON Schema given as a mapping, with the `jsonschema` library, within a limit on the work.

How this works. The model writes the value, so it also decides how long a check takes: `jsonschema` compares all items
of a list with each other, searches with Python's `re`, and follows a recursive schema down every branch. So each
keyword counts a step of a `WorkLimit`, and keywords with quadratic or worse run time are replaced: items are compared
by a text form, patterns are searched with `TextPattern`. References are never fetched.

A value that does not fit is reported by its path and the rule that it breaks. The path contains only words from the
schema: the answer's own words go into no error, trace or log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, TypeAlias

from pydantic_core import from_json, to_json

from lee_llm_router._util.scrubbing import bounded
from lee_llm_router._util.text_pattern import PatternError, compile_pattern
from lee_llm_router._util.work_limit import WorkLimit, WorkLimitError
from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.json_schema import schema_problem

SchemaCheck: TypeAlias = Callable[[Any, WorkLimit], str | None]
"""Returns what is wrong with a value, or None; raises `WorkLimitError`."""
_Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterable[Any] | None]

_limit: ContextVar[WorkLimit] = ContextVar("limit of the current schema check")

_OVER_ALL_PARTS = frozenset({
    "items", "prefixItems", "additionalItems", "contains", "properties", "patternProperties", "additionalProperties",
    "propertyNames", "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "enum", "const",
})  # fmt: skip
"""Keywords that look at each part of a list or an object."""


def schema_check_of(schema: Mapping[str, Any]) -> SchemaCheck:
    """Return the check of values against `schema`; it is cached.

    Raises:
        InvalidRequestError: it is not a JSON Schema, or the library that checks it is not installed.
    """
    problem = schema_problem(schema)
    if problem is not None:
        raise _wrong(f"schema {problem}")
    return _compiled_check(_as_json(schema))


def _as_json(schema: Mapping[str, Any]) -> bytes:
    try:
        return to_json(schema)
    except (ValueError, TypeError, RecursionError) as error:
        raise _wrong(f"schema is not JSON: {error}") from None


def words_of(schema: Any) -> frozenset[str]:
    """Return all names and texts in a JSON Schema: the words that may be shown in a path within an answer."""
    words: set[str] = set()
    queue = [schema]
    while queue:
        node = queue.pop()
        if isinstance(node, str):
            words.add(node)
        elif isinstance(node, Mapping):
            words.update(name for name in node if isinstance(name, str))
            queue += node.values()
        elif isinstance(node, (list, tuple)):
            queue += node
    return frozenset(words)


def shown_path(path: Iterable[Any], words: frozenset[str]) -> str:
    """Return `path` as ``.name.0``; a name that is not in the schema becomes ``*``."""
    return "".join(f".{part if isinstance(part, int) or part in words else '*'}" for part in path)


@lru_cache(maxsize=128)
def _compiled_check(schema_text: bytes) -> SchemaCheck:
    try:
        from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - an extra, loaded when needed
        from jsonschema.validators import validator_for  # noqa: PLC0415
        from referencing import Registry  # noqa: PLC0415
    except ImportError:
        raise _wrong(
            'checking answers against a JSON Schema needs an extra: pip install "lee-llm-router[schema]"'
            " (a type as schema needs none)"
        ) from None
    try:
        schema = from_json(schema_text)
        validator_class = validator_for(schema)
        validator_class.check_schema(schema)
        _check_patterns(schema)
        # Leave out `$schema`: because of it, the library would use its own class inside a reference.
        validator = _bounded_class(validator_class)(_without_dialect(schema), registry=Registry())
    except SchemaError as error:
        raise _wrong(f"schema is not a JSON Schema: {error.message}") from None
    except PatternError as error:
        raise _wrong(f"schema has an invalid pattern: {error}") from None
    except Exception as error:  # noqa: BLE001 - a third-party mapping may make the library raise anything
        raise _wrong(f"schema is not a JSON Schema: {type(error).__name__}") from None
    return partial(_problem, validator, words_of(schema))


def _problem(validator: Any, words: frozenset[str], value: Any, limit: WorkLimit) -> str | None:
    from jsonschema.exceptions import best_match  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    token = _limit.set(limit)
    try:
        error = best_match(validator.iter_errors(value))
        return None if error is None else f"${shown_path(error.absolute_path, words)}: {_broken_rule(error)}"
    except WorkLimitError:
        raise
    except Unresolvable as unresolvable:
        return f"a reference in it cannot be resolved: {unresolvable}"
    except Exception as error:  # noqa: BLE001 - too deep for the library, a number too large for it, ...
        return f"it cannot be checked ({type(error).__name__})"
    finally:
        _limit.reset(token)


def _broken_rule(error: Any) -> str:
    """Return the rule that `error` reports as broken, in words of the schema only."""
    keyword, wanted = error.validator, error.validator_value
    if keyword == "required" and isinstance(wanted, list):
        return f"lacks {', '.join(repr(name) for name in wanted if name not in error.instance)}"
    if keyword == "type":
        return f"not of type {' or '.join(map(repr, [wanted] if isinstance(wanted, str) else wanted))}"
    if keyword == "additionalProperties":
        return "has properties that are not allowed"
    if keyword == "uniqueItems":
        return "has items that are not unique"
    if isinstance(wanted, (str, int, float, list)) and keyword is not None:
        return f"breaks {keyword}: {bounded(to_json(wanted, fallback=repr).decode(), 100)}"
    return f"breaks {keyword or 'false, which nothing fits'}"


def _bounded_class(validator_class: Any) -> Any:
    """Return `validator_class` with keywords that count steps and take at most linear time."""
    from jsonschema.validators import extend  # noqa: PLC0415

    ours: dict[str, _Keyword] = {
        "uniqueItems": _unique_items, "pattern": _pattern, "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }  # fmt: skip
    known = validator_class.VALIDATORS
    return extend(  # type: ignore[no-untyped-call]
        validator_class,
        {name: _counting(name, ours.get(name, keyword)) for name, keyword in known.items()},
    )


def _counting(name: str, keyword: _Keyword) -> _Keyword:
    over_all_parts = name in _OVER_ALL_PARTS

    def counted(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        size = len(value) if over_all_parts and isinstance(value, (list, dict)) else 0
        _limit.get().spend(1 + size)
        yield from keyword(validator, wanted, value, schema) or ()

    return counted


def _error(message: str) -> Any:
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415

    return ValidationError(message)


def _unique_items(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
    if not wanted or not isinstance(value, list):
        return
    seen: set[str] = set()
    for item in value:
        key = _text_of(item)
        if key in seen:
            yield _error("items are not unique")
            return
        seen.add(key)


def _text_of(value: Any) -> str:
    """Return a text that two JSON values share only if they are equal: 1 and 1.0 are equal, 1 and true are not.

    It is text because only hashes of text cannot be chosen by the author of the values. It is in base 16 because that
    has no digit limit.
    """
    _limit.get().spend()
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{int(value):x}" if value.is_integer() else repr(value)
    if isinstance(value, int):
        return f"{value:x}"
    if isinstance(value, list):
        return f"[{','.join(map(_text_of, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name!r}:{_text_of(value[name])}" for name in sorted(value)) + "}"
    return repr(value)


def _pattern(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
    if isinstance(value, str) and not _matches(wanted, value):
        yield _error("does not match")


def _matches(pattern: str, text: str) -> bool:
    return compile_pattern(pattern).is_in(text, _limit.get())


def _pattern_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ARG001
    if isinstance(value, dict):
        for pattern, subschema in wanted.items():
            for name, part in value.items():
                if _matches(pattern, name):
                    yield from validator.descend(part, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, part in value.items():
        if name in named or any(_matches(pattern, name) for pattern in patterns):
            continue
        if isinstance(wanted, dict):
            yield from validator.descend(part, wanted, path=name)
        elif not wanted:
            yield _error("has properties that are not allowed")
            return


def _without_dialect(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_dialect(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        name: value if name in ("const", "enum") else _without_dialect(value)
        for name, value in node.items()
        if name != "$schema" or not isinstance(value, str)
    }


def _check_patterns(schema: Any) -> None:
    """Compile every pattern in `schema`; refuse patterns that the library's own `re` would search for in keys.

    Raises:
        PatternError: one cannot be used.
    """
    queue, found = [schema], set()
    while queue:
        node = queue.pop()
        if isinstance(node, Mapping):
            found |= {"patternProperties", "unevaluatedProperties"} & node.keys()
            if isinstance(pattern := node.get("pattern"), str):
                compile_pattern(pattern)
            if isinstance(patterns := node.get("patternProperties"), Mapping):
                for one in patterns:
                    compile_pattern(one)
            queue += node.values()
        elif isinstance(node, Sequence) and not isinstance(node, str):
            queue += node
    if len(found) == 2:
        raise PatternError("patternProperties together with unevaluatedProperties")


def _wrong(message: str) -> InvalidRequestError:
    return InvalidRequestError(bounded(message, 300), sent=False)
