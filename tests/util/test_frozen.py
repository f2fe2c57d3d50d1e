"""Generated code of frozen classes: what a debugger, a traceback and `inspect` see of it."""

from __future__ import annotations

import inspect
import linecache
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, field

import pytest

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.frozen import copier, late_copier, late_maker, maker
from lee_llm_router.response.types import LLMResponse, LLMUsage, StreamChunk, make_chunk, make_response, make_usage


def _no_labels() -> list[str]:
    raise ValueError("no labels today")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A class with a default that may fail."""

    weight: int
    labels: list[str] = field(default_factory=_no_labels)


reweigh = copier(Parcel, "weight")
make_parcel = maker(Parcel)


def test_a_traceback_shows_the_generated_line_that_failed() -> None:
    """Also after `linecache.checkcache`, by which tracebacks and debuggers drop files that have changed."""
    linecache.checkcache()
    with pytest.raises(ValueError, match="no labels today") as caught:
        Parcel(1)
    shown = "".join(traceback.format_exception(caught.value))
    assert "self.labels = _default_labels() if labels is _default_labels else labels" in shown

    with pytest.raises(TypeError) as wrong:
        reweigh("not a parcel", 2)
    assert "return _replace_fields(self, weight=weight)" in "".join(traceback.format_exception(wrong.value))


def test_inspect_finds_the_source_of_a_generated_function() -> None:
    assert inspect.getsource(Parcel.__init__).splitlines()[0].strip() == (
        "def __init__(self, weight, labels=_default_labels):"
    )
    assert "self.weight = weight" in inspect.getsource(Parcel.__init__)
    assert "new.weight = weight" in inspect.getsource(reweigh)


def test_every_generated_function_has_a_file_name_of_its_own_that_says_what_it_is() -> None:
    names = [
        function.__code__.co_filename
        for function in (Parcel.__init__, LLMResponse.__init__, LLMUsage.__init__, reweigh, copier(Parcel, "weight"))
    ]
    assert len(set(names)) == len(names)
    assert names[1].startswith("<lee_llm_router generated lee_llm_router.response.types.LLMResponse.__init__ ")
    assert "Parcel.copy" in names[3] and "Parcel.copy" in names[4]


def test_a_maker_makes_what_the_class_makes() -> None:
    """With the same parameters, defaults and errors; the object is as frozen."""
    assert make_parcel(1, ["fragile"]) == Parcel(1, ["fragile"])
    made = make_parcel(weight=2, labels=[])
    assert type(made) is Parcel
    with pytest.raises(FrozenInstanceError):
        made.weight = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="no labels today"):
        make_parcel(1)
    with pytest.raises(TypeError, match="weight"):
        make_parcel()  # type: ignore[call-arg]
    for make, cls, asked in (
        (make_usage, LLMUsage, {"prompt_tokens": 1}),
        (make_response, LLMResponse, {"text": "yes", "model": "m"}),
        (make_chunk, StreamChunk, {"text": "yes", "raw": {}}),
    ):
        assert repr(make(**asked)) == repr(cls(**asked))


def test_what_is_compiled_late_is_the_same_function_afterwards() -> None:
    """Whoever imported it before its first call has the compiled one too, with its defaults and errors."""
    make, heavier = late_maker(Parcel), late_copier(Parcel, "weight")
    held = (make, heavier)
    assert heavier(make(1, ["fragile"]), 2) == Parcel(2, ["fragile"])
    assert [function.__code__.co_filename.startswith("<lee_llm_router generated") for function in held] == [True, True]
    assert make(labels=[], weight=3) == Parcel(3, [])
    with pytest.raises(ValueError, match="no labels today"):
        make(1)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'weight'"):
        late_maker(Parcel)()  # type: ignore[call-arg]


def test_two_threads_may_make_the_first_call_at_once() -> None:
    for _ in range(20):
        make = late_maker(Parcel)
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda weight, make=make: make(weight, []), range(4)))
        assert [one.weight for one in made] == [0, 1, 2, 3]
