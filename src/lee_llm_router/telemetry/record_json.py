"""Records to JSON and back, whatever they hold.

Writing never fails: `metadata` may hold anything, and no record is lost because of it. Everything written can be read
again: no number and no line is longer than a reader accepts. Reading accepts what an older or newer version of this
library has written, and what anybody else has; an impossible value counts as missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import lru_cache
from operator import attrgetter
from types import UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic_core import SchemaSerializer, core_schema, from_json, to_json, to_jsonable_python

from lee_llm_router._util.numbers import MAX_COUNT

ItemT = TypeVar("ItemT")
JsonType: TypeAlias = type | tuple[type, ...]

_MAX_DEPTH = 50
"""Levels of nesting to keep in a stand-in; deeper nesting is a cycle or a mistake."""

MAX_LINE = 8_000_000
"""Size in bytes of the longest line to write or read."""

_FIELD_SIZE = 150_000
"""Characters to keep of each field of a record whose line would be too long. Eight long fields of six bytes per
character fill a line."""
_LONGEST_WORD = 10_000
"""Length of the longest text to read into a field for a name, a reason or a time."""
_MOST_DIGITS = 600
"""Digits of the longest number to write; some readers accept no more than 640, none more than 4,300."""
_TOO_LARGE = 10**_MOST_DIGITS
_SAMPLING = 100
_KEPT_ENDINGS = 256
_DIGITS = re.compile(rb"[0-9]{%d}" % (_MOST_DIGITS // _SAMPLING))


def json_text(value: Any, indent: int | None = None, exclude: set[str] | None = None) -> bytes:
    """Return `value` as JSON, with a readable stand-in for what JSON cannot express. Never fails.

    Args:
        value: Anything; a dataclass becomes an object with its fields.
        indent: Spaces for each level; None writes one line.
        exclude: Fields of `value` to omit.
    """
    try:
        return to_json(value, indent=indent, exclude=exclude, inf_nan_mode="null")
    except Exception:  # noqa: BLE001 - metadata may contain objects whose methods raise
        return to_json(_json_stand_in(value), indent=indent, exclude=exclude, inf_nan_mode="null")


def json_writer(
    cls: type[Any], exclude: set[str], *, shared: Sequence[str], nested: Mapping[str, type[Any]]
) -> Callable[[Any], bytes]:
    """Return a function that writes an object of the dataclass `cls`, like `json_text` without the fields `exclude`.

    It raises if JSON cannot express an object; `json_text` then writes it. Its serializer knows the names of the
    fields; `to_json` looks them up for every object, which takes half as long again. With `shared` and `nested` a
    record takes 41,600 instructions instead of 55,500.

    Args:
        cls: The dataclass.
        exclude: Fields to omit.
        shared: Fields that hold the same few texts, booleans and None in most objects. They are written last, and their
            JSON is cached.
        nested: Fields that hold another dataclass, or None.
    """
    names = [f.name for f in fields(cls) if f.name not in exclude and f.name not in shared]
    write = SchemaSerializer(_schema(cls, names, nested), core_schema.CoreConfig(ser_json_inf_nan="null")).to_json
    values_of = attrgetter(*shared)

    @lru_cache(maxsize=_KEPT_ENDINGS, typed=True)
    def ending(*values: Any) -> bytes:
        return b"," + to_json(dict(zip(shared, values, strict=True)), inf_nan_mode="null")[1:]

    return lambda value: write(value, warnings=False)[:-1] + ending(*values_of(value))


def _schema(cls: type[Any], names: list[str], nested: Mapping[str, type[Any]]) -> core_schema.CoreSchema:
    """Return pydantic's schema for writing the fields `names` of `cls`."""
    schemas: dict[str, core_schema.CoreSchema] = {
        name: core_schema.nullable_schema(_schema(inner, [f.name for f in fields(inner)], {}))
        for name, inner in nested.items()
    }
    entries = [core_schema.dataclass_field(name, schemas.get(name) or core_schema.any_schema()) for name in names]
    return core_schema.dataclass_schema(
        cls, core_schema.dataclass_args_schema(cls.__name__, entries), names, slots=True
    )


def readable_line(line: bytes, value: Any, exclude: set[str]) -> bytes:
    """Return `line`, the JSON of the dataclass `value`, or the JSON of a shortened `value` if nobody could read it."""
    if len(line) <= MAX_LINE and not (_may_hold_large_number(line) and _holds_large_number(value)):
        return line
    shown = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in exclude}
    return to_json({name: plain_value(item, _FIELD_SIZE) for name, item in shown.items()}, inf_nan_mode="null")


def _may_hold_large_number(line: bytes) -> bool:
    """Return whether `line` may contain a number of that many digits. Walking through a record takes 20 times as long
    as writing it."""
    # A run of that many bytes includes one at every hundredth position.
    return _DIGITS.search(line[::_SAMPLING]) is not None


def _holds_large_number(value: Any) -> bool:
    """Return whether a number in `value`, at any depth, has more digits than a reader accepts."""
    queue, seen = [value], set()
    try:
        while queue:
            item = queue.pop()
            if isinstance(item, int):
                if not -_TOO_LARGE < item < _TOO_LARGE:
                    return True
            elif not isinstance(item, (str, bytes, bytearray, memoryview)) and id(item) not in seen:
                seen.add(id(item))
                if is_dataclass(item) and not isinstance(item, type):
                    item = {f.name: getattr(item, f.name) for f in fields(item)}
                if isinstance(item, Mapping):
                    queue += [*item, *item.values()]
                elif isinstance(item, (Sequence, Set)):
                    queue += item
    except Exception:  # noqa: BLE001 - as above
        return True
    return False


def plain_value(value: Any, size: int | None, change: Callable[[str], str] = str) -> Any:
    """Return `value` as plain JSON types with at most `size` characters in all; ``...`` replaces what does not fit.

    Args:
        value: Anything.
        size: Characters of all texts and names in it; a number or a bracket counts as eight. None: no limit.
        change: Applied to each text first.
    """
    return _Shortener(size, change).plain(value)


def json_object(line: bytes | str) -> dict[str, Any]:
    """Parse the JSON object on `line`.

    Raises:
        ValueError: it is not JSON, or not an object.
    """
    try:
        data = from_json(line)
    except ValueError:
        # This parser accepts at most 200 levels of nesting; the writer does not have that limit.
        data = _parse_deeply(line)
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    return data


def known_fields(
    cls: type[Any], data: Mapping[str, Any], *, long: Set[str] = frozenset(), signed: Set[str] = frozenset()
) -> dict[str, Any]:
    """Return the entries of `data` that are fields of the dataclass `cls` and have a valid value.

    Args:
        cls: The dataclass.
        data: A parsed JSON object.
        long: Fields with texts of any length.
        signed: Fields whose numbers may be negative.
    """
    known = {}
    rules = _rules_of(cls, frozenset(long), frozenset(signed))  # type: ignore[arg-type] # for mypy, not every class is hashable
    for name, value in data.items():
        rule = rules.get(name, _NO_FIELD).get(type(value))
        if rule is None:
            continue
        if rule is _ANY:
            fits = True
        elif rule is _WORD:
            fits = len(value) <= _LONGEST_WORD
        else:
            fits = (0 if rule is _COUNT else -MAX_COUNT) <= value <= MAX_COUNT
        if fits:
            known[name] = value
    return known


_ANY, _WORD, _NUMBER, _COUNT = "any", "word", "number", "count"
"""Checks of a value besides its type: none; that it is not too long; its size; and that it is not negative."""
_NO_FIELD: dict[type, str] = {}


@lru_cache
def _rules_of(cls: type[Any], long: frozenset[str], signed: frozenset[str]) -> dict[str, dict[type, str]]:
    """Return for each field of `cls` the types that parsed JSON may have for it, and the other check."""
    hints = get_type_hints(cls)
    rules: dict[str, dict[type, str]] = {}
    for f in fields(cls):
        kind, optional = _json_type(hints[f.name])
        rule = rules[f.name] = {}
        for one in kind if isinstance(kind, tuple) else (kind,):
            # For Python a bool is an int, but not for a record.
            rule[one] = (
                (_NUMBER if f.name in signed else _COUNT) if one in (int, float)
                else _WORD if one is str and f.name not in long
                else _ANY
            )  # fmt: skip
        if optional:
            rule[type(None)] = _ANY
    return rules


def _json_type(hint: Any) -> tuple[JsonType, bool]:
    """Return the type of parsed JSON for the annotation `hint`, and whether it may be null."""
    if get_origin(hint) in (Union, UnionType):
        (inner,) = (arg for arg in get_args(hint) if arg is not type(None))
        return _json_type(inner)[0], True
    kind = get_origin(hint) or hint
    if kind is Literal:  # a newer version may have more words
        return str, False
    if kind is float:
        return (int, float), False
    if is_dataclass(kind) or issubclass(kind, Mapping):
        return dict, False
    if issubclass(kind, Sequence) and kind is not str:
        return list, False
    return kind, False


def _parse_deeply(line: bytes | str) -> Any:
    import json  # noqa: PLC0415 - needed for very few lines

    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _json_stand_in(value: Any) -> Any:
    """Return `value` as plain JSON types, with a readable stand-in for what JSON cannot express."""
    return _Shortener().plain(value)


class _Shortener:
    """Makes plain JSON types of anything, with a readable stand-in for what JSON cannot express or does not fit.

    Args:
        size: As for `plain_value`; None means no limit.
        change: As for `plain_value`.
    """

    def __init__(self, size: int | None = None, change: Callable[[str], str] | None = None) -> None:
        self._size = size
        self._change = change

    def plain(self, value: Any, parents: frozenset[int] = frozenset()) -> Any:
        """Return `value`; `parents` are the ids of the values that contain it, to stop at a cycle."""
        if isinstance(value, str):
            return self._text(value)
        self._take(8)
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return value if -_TOO_LARGE < value < _TOO_LARGE else f"<number of {value.bit_length()} bits>"
        if id(value) in parents or len(parents) >= _MAX_DEPTH or self._is_full:
            return "..."
        try:
            return self._container(value, parents | {id(value)})
        except Exception:  # noqa: BLE001 - as above
            return f"<{type(value).__name__}>"

    def _container(self, value: Any, parents: frozenset[int]) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            value = {f.name: getattr(value, f.name) for f in fields(value)}
        if isinstance(value, Mapping):
            return {self._name(key): self.plain(item, parents) for key, item in self._fitting(value.items())}
        if isinstance(value, (Sequence, Set)) and not isinstance(value, (bytes, bytearray, memoryview)):
            return [self.plain(item, parents) for item in self._fitting(value)]
        return self.plain(to_jsonable_python(value, bytes_mode="base64"), parents)

    def _name(self, key: Any) -> str:
        return self._text(str(self.plain(key) if isinstance(key, int) else key))

    def _text(self, text: str) -> str:
        if self._size is not None and len(text) > self._size:
            text = text[: max(0, self._size)] + "..."
        if self._change is not None:
            text = self._change(text)
        self._take(len(text))
        return text.encode("utf-8", "backslashreplace").decode()

    def _fitting(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        for item in items:
            if self._is_full:
                return
            yield item

    @property
    def _is_full(self) -> bool:
        return self._size is not None and self._size <= 0

    def _take(self, size: int) -> None:
        if self._size is not None:
            self._size -= size
