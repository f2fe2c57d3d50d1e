"""The `NamedTuple` of `typing`, made for programs that load many such classes and use a few.

That one compiles a function for each class while its module is loaded, and makes the class twice. Here all classes
share their methods. For modules that nearly every program loads; another has the standard library's.

- Gain: 6 of the 823 million instructions that ``import LeeLLMRouter`` took, for ten classes.
- Cost: this file. The signature of a class does not name its fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self

__all__ = ["NamedTuple"]


class _Named(tuple[Any, ...]):
    """What the classes made here have in common."""

    __slots__ = ()
    if TYPE_CHECKING:  # the hints of a class are those of its fields alone
        _fields: ClassVar[tuple[str, ...]]
        _field_defaults: ClassVar[dict[str, Any]]

    def __new__(cls, /, *values: Any, **named: Any) -> Self:
        if named or len(values) != len(cls._fields):
            values = cls._completed(values, named)
        return tuple.__new__(cls, values)

    @classmethod
    def _completed(cls, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """Return the values of all fields."""
        given = dict(zip(cls._fields, values, strict=False))
        if wrong := [name for name in named if name in given or name not in cls._fields]:
            raise TypeError(f"{cls.__name__}() got an argument twice or one that it does not take: {wrong}")
        if len(values) > len(cls._fields):
            raise TypeError(f"{cls.__name__}() takes {len(cls._fields)} arguments, and {len(values)} were given")
        filled = cls._field_defaults | given | named
        if missing := [name for name in cls._fields if name not in filled]:
            raise TypeError(f"{cls.__name__}() has no value for {missing}")
        return tuple(filled[name] for name in cls._fields)

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Self:
        return cls(*values)

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, /, **changed: Any) -> Self:
        if wrong := [name for name in changed if name not in self._fields]:
            raise ValueError(f"Got unexpected field names: {wrong}")
        return type(self)(**self._asdict() | changed)

    __replace__ = _replace

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class _Maker(type):
    """Makes of a class statement a subclass of `_Named`, whose type is `type`."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, body)
        names = tuple(body.get("__annotations__", ()))
        body["_field_defaults"] = {field: body.pop(field) for field in names if field in body}
        body |= {"_fields": names, "__match_args__": names, "__slots__": ()}
        body |= {field: property(itemgetter(index)) for index, field in enumerate(names)}
        return type(name, (_Named,), body)


class _QuickNamedTuple(metaclass=_Maker):
    """Stands as the base in a class statement."""


if TYPE_CHECKING:
    from typing import NamedTuple
else:
    NamedTuple = _QuickNamedTuple
