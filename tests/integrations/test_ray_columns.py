"""Columns of Ray's batches in each of its forms, by stand-ins for NumPy, pandas and Arrow, which it brings itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from lee_llm_router import ConfigError
from lee_llm_router.integrations.ray import RouterStage
from lee_llm_router.integrations.ray_columns import (
    ANSWER_COLUMNS,
    cells_of,
    columns_of,
    names_of,
    plain_value,
    with_columns,
)

OUTCOMES: list[Mapping[str, Any]] = [
    {"text": "Rome", "usage": {"prompt_tokens": 3}, "cost_usd": 0.5, "tool_calls": []},
    {"error": "TIMEOUT", "message": "half \ud800", "parsed": {"é": 1}, "tool_calls": [{"name": "f"}]},
]


class Array(list[Any]):
    """A column of NumPy's: a sequence that `tolist` makes plain."""

    dtype: object = None

    def tolist(self) -> list[Any]:
        return list(self)


class Series(Array):
    """A column of pandas'."""


class Frame:
    """A DataFrame of pandas'."""

    index = "its index"

    def __init__(self, **columns: Series) -> None:
        self.columns, self._columns = list(columns), columns

    def __getitem__(self, name: str) -> Series:
        return self._columns[name]

    def assign(self, **more: Series) -> Frame:
        return Frame(**self._columns, **more)


class Column:
    """A column of Arrow's."""

    def __init__(self, cells: list[Any], type: str = "string") -> None:
        self._cells, self.kind = cells, type

    def to_pylist(self) -> list[Any]:
        return list(self._cells)


class Table:
    """A table of Arrow's."""

    def __init__(self, columns: dict[str, Column]) -> None:
        self._columns, self.column_names = columns, list(columns)

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def append_column(self, name: str, column: Column) -> Table:
        return Table({**self._columns, name: column})


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def array(cells: list[Any], dtype: object) -> Array:
        made = Array(cells)
        made.dtype = dtype
        return made

    def series(cells: list[Any], index: object, dtype: str) -> Series:
        assert index == Frame.index, "rows are matched by their index"
        made = Series(cells)
        made.dtype = dtype
        return made

    arrow = SimpleNamespace(array=Column, type_for_alias=lambda alias: f"arrow {alias}")
    for name, module in (
        ("numpy", SimpleNamespace(array=array)), ("pandas", SimpleNamespace(Series=series)), ("pyarrow", arrow),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)


FORMS: dict[str, Any] = {
    "NumPy": {"prompt": Array(["one", "two"])},
    "pandas": Frame(prompt=Series(["one", "two"])),
    "Arrow": Table({"prompt": Column(["one", "two"])}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_keeps_its_form_and_gets_columns(form: str) -> None:
    batch = FORMS[form]
    found = with_columns(batch, columns_of(OUTCOMES))
    assert type(found) is type(batch)
    assert names_of(batch) == ["prompt"] and names_of(found) == ["prompt", *ANSWER_COLUMNS]
    assert cells_of(found, "prompt") == ["one", "two"]
    assert cells_of(found, "text") == ["Rome", None] and cells_of(found, "prompt_tokens") == [3, None]
    assert cells_of(found, "message") == [None, "half ?"], "Arrow takes no half characters"
    assert [cell and json.loads(cell) for cell in cells_of(found, "parsed")] == [None, {"é": 1}]
    assert cells_of(found, "tool_calls") == [None, '[{"name": "f"}]']


@pytest.mark.parametrize(
    ("form", "kinds"),
    [
        ("NumPy", {"text": object, "prompt_tokens": object, "cost_usd": object}),
        ("pandas", {"text": "object", "prompt_tokens": "Int64", "cost_usd": "Float64"}),
        ("Arrow", {"text": "arrow string", "prompt_tokens": "arrow int64", "cost_usd": "arrow float64"}),
    ],
)
def test_columns_have_types_that_can_lack_a_value(form: str, kinds: dict[str, Any]) -> None:
    """So a batch in which nothing has a cost has the same schema as any other."""
    found = with_columns(FORMS[form], columns_of(OUTCOMES))
    for name, kind in kinds.items():
        assert getattr(found[name], "dtype", None) == kind or getattr(found[name], "kind", None) == kind


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_answered(form: str) -> None:
    config = {"providers": {"m": {"type": "mock", "echo": True}}, "roles": {"r": {"provider": "m", "model": "x"}}}
    answered = RouterStage({"llm": config}, "r")(FORMS[form])
    assert cells_of(answered, "answer_text") == ["one", "two"]


def test_without_numpy_a_list_is_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert with_columns({"prompt": ["one"]}, {"text": ["Rome"]}) == {"prompt": ["one"], "text": ["Rome"]}


def test_what_is_no_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="of the type list"):
        names_of(["one"])


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("nan"), None),
        (Array([Array([1]), {"a": None, "b": float("nan")}]), [[1], {"b": None}]),
        ((1, 2), [1, 2]),
        ("[1]", "[1]"),
    ],
)
def test_cells_become_plain_values(value: Any, plain: Any) -> None:
    """What is missing in a mapping is left out: Arrow gives each a place for every key."""
    assert plain_value(value) == plain


@pytest.mark.parametrize(("text", "plain"), [("[1]", [1]), ("half [", "half ["), ("[" * 200_000, "[" * 200_000)])
def test_text_that_is_to_be_json_is_read_if_it_is(text: str, plain: Any) -> None:
    assert plain_value(text, is_json=True) == plain
