"""Frozen objects that are made as quickly as others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

ClassT = TypeVar("ClassT", bound=type)


def quickly_made(cls: ClassT) -> ClassT:
    """Give a frozen, slotted dataclass a quicker ``__init__`` with the same arguments.

    A frozen dataclass sets each field through `object.__setattr__`, at four times the price of an assignment. Here an
    object is of an unfrozen class of the same layout while its fields are set, and of its own from then on.
    """
    template = type(f"_{cls.__name__}", (), {"__slots__": cls.__slots__})  # type: ignore[attr-defined]
    slow: Callable[..., None] = cls.__dict__["__init__"]
    known: dict[str, Any] = {"_own": cls, "_template": template, "_frozen": slow, "_set": object.__setattr__}
    parameters, values = [], []
    for f in fields(cls):
        made = f.default_factory is not MISSING
        if made or f.default is not MISSING:
            known[f"_default_{f.name}"] = f.default_factory if made else f.default
        if f.kw_only and "*" not in parameters:
            parameters.append("*")
        parameters.append(f"{f.name}=_default_{f.name}" if f"_default_{f.name}" in known else f.name)
        values.append(f"_default_{f.name}() if {f.name} is _default_{f.name} else {f.name}" if made else f.name)
    lines = [
        f"def __init__(self, {', '.join(parameters)}):",
        "    if type(self) is not _own:",  # a subclass may have another layout
        f"        return _frozen(self, {', '.join(f'{f.name}={v}' for f, v in zip(fields(cls), values, strict=True))})",
        "    _set(self, '__class__', _template)",
        *(f"    self.{f.name} = {value}" for f, value in zip(fields(cls), values, strict=True)),
        "    self.__class__ = _own",
    ]
    exec("\n".join(lines), known)  # noqa: S102 - the names of our own fields, as `dataclass` itself does it
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    init.__annotations__ = slow.__annotations__
    type.__setattr__(cls, "__init__", init)
    return cls
