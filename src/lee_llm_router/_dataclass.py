"""`dataclass` as in the standard library, for slotted classes, at a third of the price of defining one.

The standard library compiles each method of each class by itself (up to Python 3.12). With some thirty classes that is
a tenth of what importing this package costs. Here only ``__init__`` is compiled; and objects of a frozen class, whose
fields the standard library sets through `object.__setattr__`, are made as quickly as others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeAlias

__all__ = ["dataclass"]

_Methods: TypeAlias = dict[str, Callable[..., Any] | None]


def _dataclass(
    *, frozen: bool = False, kw_only: bool = False, eq: bool = True, slots: bool = True
) -> Callable[[type[Any]], type[Any]]:
    """As `dataclasses.dataclass`, for classes with slots and without a base that has fields."""
    if not slots:
        raise TypeError("a class without slots is not for this decorator")

    def made(cls: type[Any]) -> type[Any]:
        # Not frozen, as far as the standard library is told: it would compile a __setattr__ for this very class.
        cls = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
        params = cls.__dataclass_params__
        params.init, params.repr, params.eq, params.frozen = True, True, eq, frozen
        fields = dataclasses.fields(cls)
        methods: _Methods = {"__init__": _init(cls, fields, frozen), "__repr__": _repr(fields)}
        if eq:
            methods |= _comparisons(fields, frozen)
        if frozen:
            methods |= _protection(cls, frozenset(f.name for f in fields))
        for name, method in methods.items():
            if name not in cls.__dict__:
                setattr(cls, name, method)
        return cls

    return made


def _init(cls: type[Any], fields: Sequence[dataclasses.Field[Any]], frozen: bool) -> Callable[..., None]:
    known: dict[str, Any] = {"_own": cls, "_set": object.__setattr__}
    parameters, later = ["self"], list[str]()
    values: dict[str, str] = {}
    for f in fields:
        default = f"_default_{f.name}"
        made = f.default_factory is not dataclasses.MISSING
        if made or f.default is not dataclasses.MISSING:
            known[default] = f.default_factory if made else f.default
        if f.init:
            (later if f.kw_only else parameters).append(f"{f.name}={default}" if default in known else f.name)
            values[f.name] = f"{default}() if {f.name} is {default} else {f.name}" if made else f.name
        elif default in known:
            values[f.name] = f"{default}()" if made else default
    body = [f"self.{name} = {value}" for name, value in values.items()] or ["pass"]
    if frozen:
        # While its fields are set, an object is of an unfrozen class of the same layout.
        known["_unfrozen"] = type(f"_{cls.__name__}", (), {"__slots__": cls.__slots__})
        body = [
            "if type(self) is _own:",
            *(f" {line}" for line in ("_set(self, '__class__', _unfrozen)", *body, "self.__class__ = _own")),
            "else:",  # a subclass may have another layout
            *([f" _set(self, {name!r}, {value})" for name, value in values.items()] or [" pass"]),
        ]
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters += ["*", *later] if later else []
    code = "\n ".join([f"def __init__({', '.join(parameters)}):", *body])
    exec(code, known)  # noqa: S102 - made of the names of our own fields, as `dataclasses` does it
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = {**{f.name: f.type for f in fields if f.init}, "return": None}
    return init


def _repr(fields: Sequence[dataclasses.Field[Any]]) -> Callable[[Any], str]:
    names = [f.name for f in fields if f.repr]

    @recursive_repr()
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _comparisons(fields: Sequence[dataclasses.Field[Any]], frozen: bool) -> _Methods:
    names = [f.name for f in fields if f.compare]
    values: Callable[[Any], Any] = attrgetter(*names) if names else type

    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(values(self) == values(other))

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}


def _protection(cls: type[Any], names: frozenset[str]) -> _Methods:
    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {
        "__setattr__": __setattr__, "__delattr__": __delattr__, "__getstate__": _get_state, "__setstate__": _set_state,
    }  # fmt: skip


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, f.name) for f in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for f, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
