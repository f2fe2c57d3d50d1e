"""The `dataclass` of the standard library, optimized for programs that load many such classes and use few.

The standard one compiles six functions for each class while its module loads, and examines each field with three
regular expressions. Here all classes share the functions to compare, hash, show and refuse assignments. The
``__init__`` of a class is compiled when its first object is made, and the standard library makes the result of `fields`
on first use. So `fields`, `replace`, `match` and type checkers see an ordinary dataclass.

- Gain: 193 of the 1,124 million instructions that ``import LeeLLMRouter`` took, and then 28 of 876.
- Cost: this file. Comparing two objects takes twice as long, showing one three times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, fields, replace
from functools import cache, partial
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

from lee_llm_router._util.frozen import compiled_init

__all__ = ["dataclass"]

_FIELDS = "__dataclass_fields__"
_PARAMETERS = "__dataclass_params__"


class _Plan:
    """The decorator's arguments for a class.

    Args:
        cls: The class.
        names: Its fields.
        defaults: What follows their names: a value or a `Field`.
        kw_only: Whether fields are keyword-only.
        frozen: Whether objects refuse assignments.
    """

    def __init__(self, cls: type, names: list[str], defaults: dict[str, Any], kw_only: bool, frozen: bool) -> None:
        self.cls = cls
        self.names = names
        self.defaults = defaults
        self._kw_only = kw_only
        self._frozen = frozen

    def by_the_library(self) -> Any:
        """Return a class with everything that `dataclasses` keeps for it, and give this class the same."""
        known = {"__module__": self.cls.__module__, "__annotations__": self.cls.__annotations__, "__doc__": "fields"}
        like: Any = type(self.cls.__name__, (), known | self.defaults)
        made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=self._kw_only)(like)
        # The standard library checks this before it makes a subclass.
        made.__dataclass_params__.frozen = self._frozen
        # Two threads at once: either one wins, and both do the same.
        type.__setattr__(self.cls, _FIELDS, made.__dataclass_fields__)
        type.__setattr__(self.cls, _PARAMETERS, made.__dataclass_params__)
        return made

    def has_assigned(self, instance: Any, places: tuple[Any, ...], named: dict[str, Any]) -> bool:
        """Assign the fields of `instance`, and return whether that worked: not if an argument is wrong."""
        given = dict(zip(self.cls.__match_args__, places, strict=False)) | named  # type: ignore[attr-defined]
        if len(given) < len(places) + len(named):
            return False
        values = {}
        for name in self.names:
            default: Any = self.defaults.get(name, MISSING)
            is_given = name in given
            if isinstance(default, Field):
                if not default.init and (is_given or default.default is MISSING):
                    return False
                factory: Any = default.default_factory
                if isinstance(factory, type) and not is_given:
                    values[name] = factory()
                    continue
                default = default.default
            if default is MISSING and not is_given:
                return False
            values[name] = given.pop(name) if is_given else default
        if given:
            return False
        for name, value in values.items():
            object.__setattr__(instance, name, value)
        if hasattr(instance, "__post_init__"):
            instance.__post_init__()
        return True


_UNCOMPILED = 24
"""Objects of a class whose fields are assigned one by one before its ``__init__`` is compiled.

Compiling takes as long as making 80 objects this way, and programs make only a few objects of most classes.
"""


class _InitOnFirstUse:
    """Replaces a class's ``__init__`` until that is looked up, or a few objects are made."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._left = _UNCOMPILED

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        # In Python 3.13, `inspect.signature` passes the class as the instance.
        if self._left and isinstance(instance, self._plan.cls):
            self._left -= 1
            return partial(self._assign, instance)
        init = self._compiled()
        return init if instance is None else init.__get__(instance, owner)

    def _compiled(self) -> Callable[..., None]:
        init = compiled_init(self._plan.cls)
        type.__setattr__(self._plan.cls, "__init__", init)  # two threads at once: either one wins, and both do the same
        return init

    def _assign(self, instance: Any, /, *places: Any, **named: Any) -> None:
        if not self._plan.has_assigned(instance, places, named):
            self._compiled()(instance, *places, **named)


class _OnFirstUse:
    """Replaces what `dataclasses` keeps for a class, until that is looked up."""

    def __init__(self, name: str, plan: _Plan) -> None:
        self._name = name
        self._plan = plan

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return getattr(self._plan.by_the_library(), self._name)


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
    """Do the same as `dataclasses.dataclass`."""

    def decorate(cls: type) -> type:
        assert not any(_FIELDS in vars(base) for base in cls.__mro__)  # noqa: S101 - it may bring other ways to be made
        names = [name for name, hint in cls.__annotations__.items() if "ClassVar" not in str(hint)]
        defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
        methods: dict[str, Any] = {} if cls.__doc__ else {"__doc__": cls.__name__}
        methods["__match_args__"] = tuple(name for name in names if _has_place(defaults.get(name), kw_only))
        for wanted, shared in ((repr, _SHOWN), (eq, _FROZEN_EQUAL if frozen else _EQUAL), (frozen, _FROZEN),
                               (frozen and slots, _PICKLED), (True, _REPLACED)):  # fmt: skip
            methods |= shared if wanted else {}
        methods = {name: method for name, method in methods.items() if vars(cls).get(name) is None}
        made = _with_slots(cls, names, methods, weakref_slot) if slots else _with_attributes(cls, defaults, methods)
        plan = _Plan(made, names, defaults, kw_only, frozen)
        for name in (_FIELDS, _PARAMETERS):
            type.__setattr__(made, name, _OnFirstUse(name, plan))
        if "__init__" not in vars(made):
            type.__setattr__(made, "__init__", _InitOnFirstUse(plan))
        return made

    return decorate if cls is None else decorate(cls)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _quick_dataclass


def _has_place(default: Any, kw_only: bool) -> bool:
    """Whether the field with this default is a positional argument."""
    if not isinstance(default, Field):
        return not kw_only
    return default.init and not (kw_only if default.kw_only is MISSING else default.kw_only)


def _with_slots(cls: type, names: list[str], methods: dict[str, Any], weakref_slot: bool) -> type:
    """Return a new version of `cls` with slots for its fields: an existing class cannot get any."""
    inherited = {slot for base in cls.__mro__[1:-1] for slot in vars(base).get("__slots__", ())}
    slots = [*names, "__weakref__"] if weakref_slot else names
    left_out = {*names, "__dict__", "__weakref__"}
    body = {name: value for name, value in vars(cls).items() if name not in left_out} | methods
    body |= {"__slots__": tuple(slot for slot in slots if slot not in inherited), "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, cls.__bases__, body)


def _with_attributes(cls: type, defaults: dict[str, Any], methods: dict[str, Any]) -> type:
    """Give `cls` its methods, and default values as attributes instead of each `Field`."""
    for name, default in defaults.items():
        if isinstance(default, Field) and default.default is MISSING:
            type.__delattr__(cls, name)
        elif isinstance(default, Field):
            type.__setattr__(cls, name, default.default)
    for name, method in methods.items():
        type.__setattr__(cls, name, method)
    return cls


@recursive_repr()
def _shown(self: Any) -> str:
    shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{self.__class__.__qualname__}({shown})"


@cache
def _compared(cls: Any) -> Callable[[Any], Any]:
    """Return a function that returns the compared fields of an object of `cls`."""
    names = [f.name for f in fields(cls) if f.compare]
    # `attrgetter` returns a tuple only for two or more names.
    return attrgetter(*names) if len(names) > 1 else lambda self: tuple(getattr(self, name) for name in names)


def _is_equal(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    values: Callable[[Any], Any] = _compared(self.__class__)  # type: ignore[arg-type]
    return values(self) == values(other)


def _hash(self: Any) -> int:
    cls: type = self.__class__
    return hash(_compared(cls)(self))


def _refuse_setting(self: Any, name: str, value: Any) -> None:
    """Refuse to assign to a field, and to any attribute of an object that has only fields.

    A subclass may have its own attributes. `typing` sets one, ``__orig_class__``, when a generic class is called with a
    type argument, and accepts an `AttributeError` as a refusal.
    """
    if "__setattr__" in vars(type(self)) or name in getattr(self, _FIELDS):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(self, name, value)


def _refuse_deleting(self: Any, name: str) -> None:
    if "__delattr__" in vars(type(self)) or name in getattr(self, _FIELDS):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(self, name)


def _replaced(self: Any, /, **changes: Any) -> Any:
    """Return a copy with `changes`: `copy.replace` of Python 3.13 asks for it."""
    return replace(self, **changes)


def _state(self: Any) -> list[Any]:
    """Return the state to pickle: unpickling cannot fill a frozen object in the usual way."""
    return [getattr(self, f.name) for f in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for f, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, f.name, value)


# The methods that a class gets, by its options. Two mutable objects may become equal, so they have no hash.
_SHOWN = {"__repr__": _shown}
_EQUAL = {"__eq__": _is_equal, "__hash__": None}
_FROZEN_EQUAL = {"__eq__": _is_equal, "__hash__": _hash}
_FROZEN = {"__setattr__": _refuse_setting, "__delattr__": _refuse_deleting}
_PICKLED = {"__getstate__": _state, "__setstate__": _set_state}
_REPLACED = {"__replace__": _replaced}
