"""Values that an SDK's own types can express, as JSON: made of the fields of its pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel

_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=6),
    int: st.integers(0, 9),
    float: st.floats(-9, 9).map(lambda number: round(number, 2)),
    bool: st.booleans(),
    object: st.none() | st.text(max_size=3) | st.integers(0, 9),
    NoneType: st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """JSON values of the type `kind`: a model of an SDK, or what its fields are made of."""
    origin = get_origin(kind)
    if origin is Annotated:
        return values_of(get_args(kind)[0])
    if origin in (Union, UnionType):
        return st.one_of(*map(values_of, get_args(kind)))
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin is list:
        return st.lists(st.deferred(lambda: values_of(get_args(kind)[0])), max_size=2)
    if origin is dict:
        return st.dictionaries(st.text(max_size=3), st.deferred(lambda: values_of(get_args(kind)[1])), max_size=2)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _objects(kind)
    return _PLAIN.get(kind, _PLAIN[object])


@cache
def _objects(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a model: with all that it needs, and some of what it may have."""
    needed: dict[str, Any] = {}
    allowed: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        chosen = needed if field.is_required() else allowed
        chosen[field.alias or name] = st.deferred(lambda kind=field.annotation: values_of(kind))  # type: ignore[misc]
    return st.fixed_dictionaries(needed, optional=allowed)


def with_fields(kind: type[BaseModel], **fixed: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a model, some of whose fields are given; each a value, or a strategy."""
    given = st.fixed_dictionaries({
        name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fixed.items()
    })  # fmt: skip

    def filled(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> dict[str, Any]:
        return {**pair[0], **pair[1]}

    return st.tuples(_objects(kind), given).map(filled)
