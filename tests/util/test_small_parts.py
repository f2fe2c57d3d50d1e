"""Call ids, fork-safe locks, the failure table, backoff arithmetic, what health remembers, how numbers are written."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import os
import pickle
import signal
import sys
import typing
import uuid
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from lee_llm_router._util.counted_things import counted
from lee_llm_router._util.fork_lock import ForkLock
from lee_llm_router._util.ids import new_request_id
from lee_llm_router._util.numbers import written_out
from lee_llm_router.config import ContractConfig, RetryConfig
from lee_llm_router.engine.failure_rules import RULES, backoff, decide
from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.policy import ProviderChoice
from lee_llm_router.providers import registry
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage, StreamChunk, bind_to_call, with_provider
from lee_llm_router.router import LeeLLMRouter
from lee_llm_router.telemetry import TraceRecord


def test_call_ids_are_uuid7_and_sort_by_time() -> None:
    """Also within one millisecond; the time can be read back from them."""
    moments = [1_800_000_000.0 + i * 0.0003 for i in range(2000)]
    ids = [new_request_id(moment) for moment in moments]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    parsed = uuid.UUID(ids[0])
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == 1_800_000_000_000


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_ids_of_its_own() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_request_id(0.0).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as of_child:
        assert of_child.read() != new_request_id(0.0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_finds_locks_open() -> None:
    """Even one that another thread of the parent held at that moment."""
    lock = ForkLock()
    with lock:
        child = os.fork()
        if child == 0:
            with lock:
                os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize("reentrant", [False, True])
def test_no_python_code_runs_while_a_lock_is_taken_or_released(reentrant: bool) -> None:
    """There Ctrl-C could strike, and leave the lock taken for ever."""
    lock, calls = ForkLock(reentrant), []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            calls.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        with lock:
            pass
    finally:
        sys.setprofile(None)
    assert calls == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_may_register_a_provider_while_its_parent_does() -> None:
    children: list[int] = []

    class Forking(str):
        """A name that forks when it is looked up, which is while the registry is locked."""

        def __hash__(self) -> int:
            if not children:
                children.append(os.fork())
                if children[0] == 0:
                    signal.alarm(60)  # a child that hangs is ended; none comes near
                    try:
                        registry.register("of-the-child", "m:C")
                        os._exit(7)
                    finally:
                        os._exit(1)
            return super().__hash__()

        __eq__ = str.__eq__

    with pytest.raises(ValueError, match="already registered"):
        registry.register(Forking("mock"), "m:C")
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7
    assert "of-the-child" not in registry.available()


def test_every_failure_type_has_a_rule_and_a_class() -> None:
    assert set(RULES) == set(FailureType)
    for failure_type in FailureType:
        error = error_for(failure_type, "x")
        assert isinstance(error, LLMRouterError) and error.failure_type is failure_type


@pytest.mark.parametrize(("failures", "bound"), [(1, 0.5), (2, 1.0), (4, 4.0), (5, 8.0), (10_000, 8.0)])
def test_backoff_is_drawn_from_the_upper_half_of_a_doubling_bound(failures: int, bound: float) -> None:
    """Evenly between half and all of min(8, 0.5 * 2**n) seconds: no retry comes after next to nothing."""
    assert backoff(RetryConfig(), failures, lambda: 0.0) == bound / 2
    assert backoff(RetryConfig(), failures, lambda: 0.5) == bound * 3 / 4


def test_a_wait_the_vendor_named_is_taken_as_it_is() -> None:
    """Neither capped at max_backoff, nor rounded, nor replaced by a shorter backoff."""
    error = error_for(FailureType.RATE_LIMIT, "x", retry_after=1234.567)
    retry = RetryConfig()
    advice = decide(
        error, tries=1, failures=1, retry=retry, contract=ContractConfig(), fallback_on=(), repeatable=True,
        random=lambda: 0.5,
    )  # fmt: skip
    assert advice.again_after == 1234.567


@pytest.mark.parametrize("cls", [LLMRequest, LLMResponse, LLMUsage, StreamChunk, TraceRecord, ProviderChoice])
def test_a_class_with_a_fast_init_is_as_frozen_dataclasses_are(cls: type[Any]) -> None:
    """Arguments, defaults, repr and errors are the same; they are frozen, and can be copied and pickled."""
    plain = dataclasses.make_dataclass(
        cls.__name__,
        [
            (
                f.name,
                f.type,
                dataclasses.field(default=f.default, default_factory=f.default_factory, kw_only=f.kw_only, repr=f.repr),
            )
            for f in dataclasses.fields(cls)
            if f.init
        ],
        frozen=True,
        slots=True,
    )
    parameters = [(p.name, p.kind) for p in inspect.signature(cls).parameters.values()]
    assert parameters == [(p.name, p.kind) for p in inspect.signature(plain).parameters.values()]
    needed = {n: n for n, p in inspect.signature(plain).parameters.items() if p.default is inspect.Parameter.empty}
    one, other = cls(**needed), cls(**needed)
    assert type(one) is cls and one == other and one != plain(**needed) and one is not None
    assert repr(one) == repr(plain(**needed))
    if cls is LLMUsage:
        assert len({one, other, cls(prompt_tokens=1)}) == 2
    assert {**dataclasses.asdict(plain(**needed)), "kind": None} == {**dataclasses.asdict(one), "kind": None}
    name = dataclasses.fields(cls)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, name, "x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(one, name)
    with pytest.raises(TypeError):
        cls(**needed, nothing_of_the_kind=1)
    assert pickle.loads(pickle.dumps(one)) == copy.copy(one) == dataclasses.replace(one) == one
    for made in (f.name for f in dataclasses.fields(cls) if f.default_factory is not dataclasses.MISSING):
        assert getattr(one, made) is not getattr(other, made), "a default of its own"


@pytest.mark.parametrize(
    "function",
    [
        LeeLLMRouter.complete,
        LeeLLMRouter.__init__,
        LLMRequest.__init__,
        LLMResponse.__init__,
        ProviderChoice.__init__,
        TraceRecord.__init__,
    ],
)
def test_type_hints_of_public_functions_can_be_read(function: Callable[..., Any]) -> None:
    """As dependency injection and documentation tools read them, before anything else is imported."""
    assert typing.get_type_hints(function)


def test_a_subclass_of_a_class_with_a_fast_init_may_have_fields_and_a_layout_of_its_own() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Priced(LLMResponse):
        price: int = 1

    class Noted(LLMResponse):
        pass

    assert with_provider(Priced(text="a", price=3), "p", "i") == Priced(text="a", price=3, provider="p", request_id="i")
    noted = Noted(text="a")
    assert noted.text == "a" and noted.tool_calls == () and type(with_provider(noted, "p", "i")) is Noted


class _SubRequest(LLMRequest):
    """A request of somebody's own kind."""


def test_a_request_of_a_subclass_can_be_copied_for_a_call() -> None:
    request = _SubRequest(messages=(), model="m")
    copied = bind_to_call(request, ({"role": "user", "content": "x"},), "r", "id", {"a": 1})
    assert type(copied) is _SubRequest
    assert (copied.model, copied.messages[0]["content"], copied.role, copied.request_id) == ("m", "x", "r", "id")


@pytest.mark.parametrize(("number", "words"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (12_000, "12,000 calls")])
def test_what_is_counted_has_its_plural(number: int, words: str) -> None:
    assert counted(number, "call") == words


@pytest.mark.parametrize(
    ("number", "told"),
    [(5.0, "5"), (0.25, "0.25"), (1e-06, "0.000001"), (31_700.0, "31700"), (1e7, "10000000"), (0.0, "0"), (2.5, "2.5")],
)
def test_a_number_is_written_without_powers_of_ten(number: float, told: str) -> None:
    assert written_out(number, 3) == told
