"""Dataclasses of the package behave as those of the standard library do, though their methods are made otherwise."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from typing import Any, get_type_hints

import pytest

from lee_llm_router._util import data_class
from lee_llm_router._util.data_class import _UNCOMPILED


class Parcel:
    """The fields of every class below."""

    type: str = "box"
    weight: float = 1.5
    stamps: list[int] = field(default_factory=list, kw_only=True)
    note: str = field(default="", repr=False, compare=False)
    place: int = field(default=3, init=False)


KINDS: list[dict[str, Any]] = [
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True, "weakref_slot": True},
    {"frozen": True},
    {"slots": True},
    {"slots": True, "eq": False},
    {"slots": True, "repr": False},
    {},
]


def _pair(**options: Any) -> tuple[type[Any], type[Any]]:
    """A class made by the standard library, and one made here."""
    ways: tuple[Callable[..., Any], ...] = (dataclasses.dataclass, data_class.dataclass)
    body = {name: value for name, value in vars(Parcel).items() if name not in ("__dict__", "__weakref__")}
    theirs, ours = (way(**options)(type("Made", (), dict(body))) for way in ways)
    return theirs, ours


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = request.param
    return options


@pytest.fixture(params=["new", "much used"])
def pair(request: pytest.FixtureRequest, kind: dict[str, Any]) -> tuple[type[Any], type[Any]]:
    """Of many objects, the later ones are made by other code than the first."""
    made = _pair(**kind)
    for _ in range(_UNCOMPILED + 1 if request.param == "much used" else 0):
        made[1](type="bag")
    return made


def test_objects_are_made_and_shown_alike(pair: tuple[type[Any], type[Any]]) -> None:
    """From the same arguments and defaults, with the same hints, and the same words for wrong ones."""
    theirs, ours = pair
    parameters = [[(p.name, p.kind) for p in inspect.signature(cls).parameters.values()] for cls in pair]
    assert parameters[0] == parameters[1]
    assert get_type_hints(ours.__init__) == get_type_hints(theirs.__init__)
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    assert ours.__match_args__ == theirs.__match_args__
    for arguments in ({}, {"note": ""}, {"type": "bag", "weight": 2.0, "note": "fragile", "stamps": [1]}):
        one, other = theirs(**arguments), ours(**arguments)
        assert dataclasses.asdict(one) == dataclasses.asdict(other)
        assert "__repr__" not in vars(ours) or repr(one) == repr(other)
    told = []
    for cls in pair:
        for places, named in (((), {"colour": "red"}), ((), {"place": 1}), (tuple(range(9)), {})):
            with pytest.raises(TypeError) as caught:
                cls(*places, **named)
            told.append(str(caught.value))
    assert told[:3] == told[3:]


def test_objects_are_compared_and_hashed_alike(pair: tuple[type[Any], type[Any]]) -> None:
    """By the fields that count; and what may change, or is no such object, is another matter."""
    results = []
    for cls in pair:
        one, same, other = cls(note="a", stamps=()), cls(note="b", stamps=()), cls(type="bag", stamps=())
        hashed = cls.__hash__ is not None
        results.append((
            one == one, one == same, one == other, one == (), one != same,
            hashed, hashed and hash(one) == hash(same),
        ))  # fmt: skip
    assert results[0] == results[1]


def test_objects_are_copied_and_pickled_alike(
    pair: tuple[type[Any], type[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for cls in pair:
        monkeypatch.setitem(globals(), "Made", cls)
        cls.__module__ = __name__
        made = cls(type="bag", stamps=[1])
        for again in (
            copy.copy(made),
            copy.deepcopy(made),
            pickle.loads(pickle.dumps(made)),
            dataclasses.replace(made),
        ):
            assert type(again) is cls
            assert dataclasses.asdict(again) == dataclasses.asdict(made)


def test_a_class_has_all_that_the_standard_library_gives_it(kind: dict[str, Any]) -> None:
    theirs, ours = _pair(**kind)
    assert vars(theirs).keys() <= vars(ours).keys()
    again = ours(weight=2.0).__replace__(type="bag")  # as `copy.replace` of Python 3.13 asks
    assert (type(again), again.type, again.weight) == (ours, "bag", 2.0)


@pytest.mark.parametrize("slots", [True, False])
def test_a_frozen_object_refuses_assignments_alike(slots: bool) -> None:
    """Fields are neither set nor deleted; a subclass may have attributes of its own, and is frozen too."""
    for cls in _pair(frozen=True, slots=slots):
        made = cls()
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'weight'"):
            made.weight = 2.0
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'weight'"):
            del made.weight
        sub = type("Sub", (cls,), {})(type="bag")
        assert (sub.type, sub.weight, sub.place) == ("bag", 1.5, 3)
        with pytest.raises(FrozenInstanceError):
            sub.weight = 2.0
        with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
            dataclasses.dataclass(type("Thawed", (cls,), {}))
        further: Any = dataclasses.dataclass(frozen=True)(
            type("Further", (cls,), {"__annotations__": {"more": "int"}, "more": 1})
        )
        assert (further(more=2).more, further().weight) == (2, 1.5)


def test_a_subclass_of_a_frozen_class_has_attributes_of_its_own() -> None:
    """Where it has slots too, which the standard library's `__setattr__` does not stand (CPython's issue 90562)."""
    _, ours = _pair(frozen=True, slots=True)
    sub = type("Sub", (ours,), {})()
    sub.colour = "red"
    assert sub.colour == "red"
    del sub.colour
    assert not hasattr(sub, "colour")


def test_methods_of_a_class_stay() -> None:
    """What it defines itself is not replaced, and its `__post_init__` runs, that of a subclass too."""

    @data_class.dataclass(frozen=True, slots=True)
    class Named:
        """Has all methods itself."""

        name: str
        length: int = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "length", len(self.name))

        def __repr__(self) -> str:
            return "own repr"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    class Longer(Named):
        """A subclass."""

    assert (repr(Named("a")), hash(Named("a")), Named("a") == Named("b")) == ("own repr", 7, True)
    assert (Named("four").length, Longer("three").length) == (4, 5)


def test_an_object_that_holds_itself_is_shown() -> None:
    @data_class.dataclass(slots=True)
    class Loop:
        """May hold itself."""

        inner: Any = None

    loop = Loop()
    loop.inner = loop
    assert repr(loop).endswith("Loop(inner=...)")


def test_what_the_standard_library_keeps_of_a_class_is_made_when_it_is_asked_for() -> None:
    """Not by making, comparing with another class, or matching a few objects: but then it is the same for all."""
    _, ours = _pair(frozen=True, slots=True)
    assert ours() != 1
    match ours("bag"):
        case ours(type=kind):
            assert kind == "bag"
    assert not isinstance(vars(ours)["__dataclass_fields__"], dict)
    first = dataclasses.fields(ours)
    assert first[0] is dataclasses.fields(ours())[0]
    assert isinstance(vars(ours)["__dataclass_fields__"], dict)


def test_a_missing_argument_is_named() -> None:
    """In the words of Python, for the first object and for a later one."""

    @data_class.dataclass(slots=True)
    class Needy:
        """Has a field without default."""

        needed: int

    for _ in range(_UNCOMPILED + 2):
        with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'needed'"):
            Needy()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"got multiple values for argument 'needed'"):
            Needy(1, needed=1)  # type: ignore[misc]
        assert Needy(1).needed == 1
