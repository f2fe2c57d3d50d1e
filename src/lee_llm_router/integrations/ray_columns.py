"""Columns of a Ray batch: read from any form it has, and added in the same form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from lee_llm_router.errors import ConfigError

_JSON = ("parsed", "tool_calls")
_USAGE = ("prompt_tokens", "completion_tokens")

ANSWER_COLUMNS: Mapping[str, str] = {
    "text": "string",
    "parsed": "string",
    "tool_calls": "string",
    "finish_reason": "string",
    "provider": "string",
    "model": "string",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "cost_usd": "float64",
    "request_id": "string",
    "error": "string",
    "message": "string",
}
"""The new columns, and their Arrow types; null if there is no value. `parsed` and `tool_calls` are JSON as text, since
a column has one type. `error` is the failure type of a failed row, and `message` describes it."""


def columns_of(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns for these outcomes, by name."""
    return {name: [_cell(name, outcome) for outcome in outcomes] for name in ANSWER_COLUMNS}


def _cell(name: str, outcome: Mapping[str, Any]) -> Any:
    if name in _USAGE:
        return (outcome.get("usage") or {}).get(name)
    value = outcome.get(name)
    if name in _JSON:
        # An empty list of tool calls becomes null.
        value = None if value is None or value == [] else json.dumps(value, ensure_ascii=False)
    # Arrow refuses lone surrogates.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def names_of(batch: Any) -> list[str]:
    """Return the names of the columns of a batch.

    Raises:
        ConfigError: Ray has no such form of batch.
    """
    if isinstance(batch, Mapping):
        return [str(name) for name in batch]
    if hasattr(batch, "column_names"):
        return list(batch.column_names)
    if hasattr(batch, "columns"):
        return [str(name) for name in batch.columns]
    raise ConfigError(f"a batch of Ray is expected, and this is of the type {type(batch).__name__}", sent=False)


def cells_of(batch: Any, name: str) -> list[Any]:
    """Return a column of a batch as plain Python values."""
    column = batch[name]
    for method in ("to_pylist", "tolist"):  # Arrow; NumPy and pandas
        if hasattr(column, method):
            return [plain_value(cell) for cell in getattr(column, method)()]
    return [plain_value(cell) for cell in column]


def plain_value(value: Any, *, is_json: bool = False) -> Any:
    """Return a cell as plain data: arrays become lists, and missing entries of a mapping are left out.

    A column of mappings has a place for every key that any of them has, filled with null.
    """
    if is_json and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items() if item is not None}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    # pandas uses nan for a missing text.
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124


def with_columns(batch: Any, columns: Mapping[str, list[Any]]) -> Any:
    """Return `batch` with further columns, in its own form."""
    if isinstance(batch, Mapping):
        array = _numpy_array()
        return {**batch, **{name: array(cells) for name, cells in columns.items()}}
    if hasattr(batch, "append_column"):
        return _arrow_with(batch, columns)
    return _pandas_with(batch, columns)


def _numpy_array() -> Callable[[list[Any]], Any]:
    """Return the function that makes a column of objects; without NumPy, which Ray brings along, a list is enough."""
    try:
        numpy: Any = import_module("numpy")
    except ImportError:
        return list
    return lambda cells: numpy.array(cells, dtype=object)


def _arrow_with(table: Any, columns: Mapping[str, list[Any]]) -> Any:
    pyarrow: Any = import_module("pyarrow")
    types = list(ANSWER_COLUMNS.values())
    for (name, cells), kind in zip(columns.items(), types, strict=True):
        table = table.append_column(name, pyarrow.array(cells, type=pyarrow.type_for_alias(kind)))
    return table


def _pandas_with(frame: Any, columns: Mapping[str, list[Any]]) -> Any:
    pandas: Any = import_module("pandas")
    dtypes = {"string": "object", "int64": "Int64", "float64": "Float64"}
    kinds = [dtypes[kind] for kind in ANSWER_COLUMNS.values()]
    added = {
        name: pandas.Series(cells, index=frame.index, dtype=kind)
        for (name, cells), kind in zip(columns.items(), kinds, strict=True)
    }
    return frame.assign(**added)
