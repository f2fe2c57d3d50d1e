"""A field of a frozen dataclass that is computed on first access.

`LLMResponse.raw` of a streamed answer is built from all events, which costs as much as reading them; few callers need
it. A class decorated with ``@deferrable("raw")`` accepts a `Deferred` for that field. Reading the field returns its
value; copies made by `frozen.copier` share the unread `Deferred`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

ClassT = TypeVar("ClassT", bound=type)


class Deferred:
    """A value that `make` computes on first access."""

    __slots__ = ("_make", "_value")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make: Callable[[], Any] | None = make
        self._value: Any = None

    def get(self) -> Any:
        """Return the value. Two threads that ask at the same time may both compute it."""
        make = self._make
        if make is not None:
            self._value = make()
            self._make = None
        return self._value


class DeferrableField:
    """Wraps a slot: returns the value of a `Deferred` in it, and any other value unchanged."""

    def __init__(self, slot: Any) -> None:
        self.slot = slot
        self.stored: Callable[..., Any] = slot.__get__
        """Returns what an object's slot holds."""
        self._store: Callable[[Any, Any], None] = slot.__set__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = self.stored(instance)
        return value.get() if type(value) is Deferred else value

    def __set__(self, instance: Any, value: Any) -> None:
        self._store(instance, value)


def deferrable(*names: str) -> Callable[[ClassT], ClassT]:
    """Let the fields `names` of a slotted dataclass hold a `Deferred`. A class decorator, to be the outermost."""

    def decorate(cls: ClassT) -> ClassT:
        for name in names:
            type.__setattr__(cls, name, DeferrableField(cls.__dict__[name]))
        return cls

    return decorate
