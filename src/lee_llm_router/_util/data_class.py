"""The `dataclass` of the standard library, made for programs that load many such classes and use a few.

That one compiles six functions for each class while its module is loaded. Here all classes share the functions that
compare, hash, show and refuse assignments, and the ``__init__`` of a class is compiled when its first object is made.
The rest is left to the standard library: `fields`, `replace`, `match` and type checkers see a dataclass like any other.

- Gain: 193 of the 1,124 million instructions that ``import LeeLLMRouter`` took.
- Cost: this file. To compare two objects takes twice as long, to show one three times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.frozen import compiled_init

__all__ = ["dataclass"]


class _InitOnFirstUse:
    """Stands in the place of a class's ``__init__`` until that is looked up."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        init = compiled_init(self._cls)
        type.__setattr__(self._cls, "__init__", init)  # two threads at once: one or the other, which do the same
        return init if instance is None else init.__get__(instance, owner)


def _quick_dataclass(
    cls: type | None = None,
    /,
    *,
    frozen: bool = False,
    repr: bool = True,
    eq: bool = True,
    slots: bool = False,
    kw_only: bool = False,
    weakref_slot: bool = False,
) -> Any:
    """Do what `dataclasses.dataclass` does."""

    def decorate(cls: type) -> type:
        assert not any(is_dataclass(base) for base in cls.__bases__)  # noqa: S101 - it may bring other ways to be made
        if cls.__doc__ is None:
            cls.__doc__ = cls.__name__  # else the standard library writes the signature there, for which it is compiled
        made: Any = dataclasses.dataclass(
            init=False, repr=False, eq=False, slots=slots, kw_only=kw_only, weakref_slot=weakref_slot
        )(cls)
        # What the standard library looks at before it makes a subclass.
        made.__dataclass_params__.frozen = frozen
        methods: dict[str, Any] = {"__init__": _InitOnFirstUse(made)}
        if repr:
            methods["__repr__"] = _shown
        if eq:
            methods |= _comparing(made, frozen)
        if frozen:
            methods |= _refusing(made)
            if slots:
                methods |= {"__getstate__": _state, "__setstate__": _set_state}
        for name, method in methods.items():
            if vars(made).get(name) is None:
                type.__setattr__(made, name, method)
        return made  # type: ignore[no-any-return]

    return decorate if cls is None else decorate(cls)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _quick_dataclass


@recursive_repr()
def _shown(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{self.__class__.__qualname__}({shown})"


def _comparing(cls: type, frozen: bool) -> dict[str, Any]:
    """Return what makes objects equal by their fields, and a hash of these where they cannot change."""
    names = [f.name for f in fields(cls) if f.compare]
    values: Callable[[Any], Any] = attrgetter(*names) if len(names) > 1 else _few_values(names)

    def __eq__(self: Any, other: object) -> bool:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}


def _few_values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Do what `attrgetter` does, which returns a tuple for two names and more only."""
    return lambda self: tuple(getattr(self, name) for name in names)


def _refusing(cls: type) -> dict[str, Any]:
    """Return what refuses assignments.

    A subclass may have attributes of its own. `typing` sets one, ``__orig_class__``, where a generic class is called
    with a type argument, and takes an `AttributeError` for a no.
    """
    names = frozenset(f.name for f in fields(cls))

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


def _state(self: Any) -> list[Any]:
    """Return what is pickled: a frozen object cannot be filled in the usual way."""
    return [getattr(self, f.name) for f in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for f, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)
