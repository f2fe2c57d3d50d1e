"""Frozen objects that are made and copied as quickly as others.

A frozen dataclass sets each field through `object.__setattr__`, at four times the price of an assignment. Here an
object is of an unfrozen class of the same layout while its fields are set, and of its own class from then on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from typing import Any, TypeVar

ClassT = TypeVar("ClassT", bound=type)


def quickly_made(cls: ClassT) -> ClassT:
    """Give a frozen, slotted dataclass a quicker ``__init__`` with the same arguments."""
    slow: Callable[..., None] = cls.__dict__["__init__"]
    known: dict[str, Any] = {"_own": cls, "_unfrozen": _unfrozen(cls), "_slow": slow, "_set": object.__setattr__}
    parameters, values = ["self"], {}
    for f in fields(cls):
        made = f.default_factory is not MISSING
        default = f"_default_{f.name}"
        if made or f.default is not MISSING:
            known[default] = f.default_factory if made else f.default
        if not f.init:
            values[f.name] = f"{default}()" if made else default
            continue
        if f.kw_only and "*" not in parameters:
            parameters.append("*")
        parameters.append(f"{f.name}={default}" if default in known else f.name)
        values[f.name] = f"{default}() if {f.name} is {default} else {f.name}" if made else f.name
    lines = [
        f"def __init__({', '.join(parameters)}):",
        "    if type(self) is not _own:",  # a subclass may have another layout
        f"        return _slow(self, {', '.join(f'{f.name}={values[f.name]}' for f in fields(cls) if f.init)})",
        "    _set(self, '__class__', _unfrozen)",
        *(f"    self.{name} = {value}" for name, value in values.items()),
        "    self.__class__ = _own",
    ]
    init = _defined(cls, "__init__", lines, known)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = slow.__annotations__
    type.__setattr__(cls, "__init__", init)
    return cls


def copier(cls: type, *changed: str) -> Callable[..., Any]:
    """A function that copies an object of a frozen, slotted dataclass, taking new values of the fields `changed`.

    It is `dataclasses.replace` with those fields as positional arguments, at a tenth of its price.
    """
    known = {"_own": cls, "_unfrozen": _unfrozen(cls), "_new": object.__new__, "_replaced": _replaced}
    lines = [
        f"def copy(self, {', '.join(changed)}):",
        "    if type(self) is not _own:",
        f"        return _replaced(self, {', '.join(f'{name}={name}' for name in changed)})",
        "    new = _new(_unfrozen)",
        *(f"    new.{f.name} = {f.name if f.name in changed else f'self.{f.name}'}" for f in fields(cls)),
        "    new.__class__ = _own",
        "    return new",
    ]
    return _defined(cls, "copy", lines, known)


def _replaced(self: Any, **changed: Any) -> Any:
    """As `dataclasses.replace`, for fields too that are no arguments of the class."""
    new = replace(self, **{name: value for name, value in changed.items() if _is_argument(self, name)})
    for name, value in changed.items():
        if not _is_argument(self, name):
            object.__setattr__(new, name, value)
    return new


def _is_argument(instance: Any, name: str) -> bool:
    return any(f.name == name and f.init for f in fields(instance))


def _unfrozen(cls: type) -> type:
    return type(f"_{cls.__name__}", (), {"__slots__": cls.__slots__})  # type: ignore[attr-defined]


def _defined(cls: type, name: str, lines: list[str], known: dict[str, Any]) -> Callable[..., Any]:
    """The function that `lines` define, in the module of `cls`, so that its annotations can be resolved there."""
    code = "\n ".join([f"def made({', '.join(known)}):", *lines, f"return {name}"])
    found: dict[str, Any] = {}
    exec(code, sys.modules[cls.__module__].__dict__, found)  # noqa: S102 - names of our own fields, as in `dataclass`
    function: Callable[..., Any] = found["made"](**known)
    return function
