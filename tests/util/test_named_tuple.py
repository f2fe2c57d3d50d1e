"""Named tuples of the package behave as those of `typing` do, though they are made otherwise."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from lee_llm_router._util import named_tuple


class Theirs(typing.NamedTuple):
    """A point."""

    x: int
    y: int = 2
    tags: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The sum."""
        return self.x + self.y


class Ours(named_tuple.NamedTuple):
    """A point."""

    x: int
    y: int = 2
    tags: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The sum."""
        return self.x + self.y


def _told(cls: Any) -> list[object]:
    one = cls(1, tags=("a",))
    x, *rest = one
    match one:
        case cls(x=1, y=second):
            rest.append(second)
    return [
        one, repr(one).partition("(")[2], one.x, one.y, one.total, x, rest, one[1:], len(one), one == (1, 2, ("a",)),
        one._replace(y=7), one._asdict(), cls._make((1, 2, ())), cls._fields, cls._field_defaults, cls.__match_args__,
        cls.__doc__, typing.get_type_hints(cls), sorted([cls(3), cls(1, 5), cls(1)]), hash(one), cls.x.__get__(one),
        copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), hasattr(one, "__dict__"), type(cls),
        cls.__bases__ == (tuple,) or issubclass(cls, tuple), cls.__qualname__ in ("Ours", "Theirs"), cls.__module__,
    ]  # fmt: skip


def test_objects_do_what_those_of_the_standard_library_do() -> None:
    assert _told(Ours) == _told(Theirs)
    assert type(Ours(1)._replace(x=2)) is type(copy.copy(Ours(1))) is type(pickle.loads(pickle.dumps(Ours(1)))) is Ours


@pytest.mark.parametrize(
    ("places", "named"), [((), {}), ((1, 2, (), 4), {}), ((1,), {"x": 1}), ((), {"x": 1, "colour": "red"})]
)
def test_wrong_arguments_are_refused(places: tuple[Any, ...], named: dict[str, Any]) -> None:
    for cls in (Ours, Theirs):
        with pytest.raises(TypeError, match=r"Ours\(\)|__new__\(\)"):
            cls(*places, **named)
        with pytest.raises(ValueError, match="unexpected field names"):
            cls(1)._replace(colour="red")  # type: ignore[call-arg]
        with pytest.raises(AttributeError):
            cls(1).x = 2  # type: ignore[misc]
