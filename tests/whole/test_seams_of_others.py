"""Nothing foreign leaves the router, whatever the code of others at its seams raises or gives back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from helpers.support import END, Memory, config_for
from lee_llm_router import (
    Capabilities,
    ChunkStream,
    LeeLLMRouter,
    LLMConfig,
    LLMRequest,
    LLMResponse,
    LLMRouterError,
    LLMUsage,
    Provider,
    ProviderChoice,
    ProviderConfig,
    RateLimitError,
    StreamChunk,
    ToolCall,
    ToolCallDelta,
    register,
)
from lee_llm_router.testing import FakeClock


class EvilText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class EvilRepr(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class NotInitialized(LLMRouterError):
    def __init__(self) -> None:
        pass


class OtherArguments(RateLimitError):
    def __init__(self, code: int, *, region: str) -> None:
        super().__init__(f"{code} in {region}")


class Odd:
    """An object that breaks wherever it is looked at."""

    def _break(self, *args: Any) -> Any:
        raise LookupError("odd")

    __bool__ = __eq__ = __len__ = __iter__ = __str__ = __repr__ = __getattr__ = __hash__ = __float__ = _break


class OddMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise LookupError(key)

    def __iter__(self) -> Any:
        raise ArithmeticError

    def __len__(self) -> int:
        return 1


def _wrong_details() -> LLMRouterError:
    error = RateLimitError("busy", failure_type="OVERLOADED", retry_after="5", status_code="429")  # type: ignore[arg-type]
    error.provider = 5  # type: ignore[assignment]
    return error


RAISED: dict[str, Callable[[], Exception]] = {
    "evil text": EvilText,
    "evil repr": EvilRepr,
    "not initialized": NotInitialized,
    "other arguments": lambda: OtherArguments(429, region="x"),
    "wrong details": _wrong_details,
    "no such type": lambda: LLMRouterError("x", failure_type="NO_SUCH"),  # type: ignore[arg-type]
    "response text": lambda: LLMRouterError("x", response=LLMResponse(text=5)),  # type: ignore[arg-type]
    "a group": lambda: ExceptionGroup("many", [EvilText(), ValueError("x")]),
    "stop": StopIteration,
    "stop async": StopAsyncIteration,
    "recursion": RecursionError,
    "assertion": lambda: AssertionError(Odd()),
    "socket": lambda: socket.gaierror(-2, "no name"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "odd argument": lambda: ValueError(Odd()),
    "memory": MemoryError,
}  # fmt: skip

RETURNED: dict[str, Any] = {
    "none": None, "number": 5, "text": "text", "bytes": b"x", "list": [], "nones": [None], "dict": {}, "odd": Odd(),
    "odd mapping": OddMapping(), "decimal": Decimal("NaN"), "type": int, "generator": (i for i in range(3)),
    "choice of nothing": ProviderChoice(None),  # type: ignore[arg-type]
    "choice of a list": ProviderChoice([]),  # type: ignore[arg-type]
    "overrides none": ProviderChoice("p", None),  # type: ignore[arg-type]
    "overrides number": ProviderChoice("p", {}, 5),  # type: ignore[arg-type]
    "overrides odd": ProviderChoice("p", OddMapping()),
    "overrides of a role": ProviderChoice("p", {"deadline": 5}),
    "overrides unknown": ProviderChoice("p", {}, {"no_such": Odd()}),
    "overrides key": ProviderChoice("p", {5: 6}),  # type: ignore[dict-item]
    "fallback none": ProviderChoice("p", fallbacks=[None]),  # type: ignore[list-item]
    "fallback number": ProviderChoice("p", fallbacks=5),  # type: ignore[arg-type]
    "fallback odd": ProviderChoice("p", fallbacks=[ProviderChoice(Odd())]),  # type: ignore[arg-type]
    "fallbacks many": ProviderChoice("p", fallbacks=["p"] * 100_000),
    "no text": LLMResponse(text=None),  # type: ignore[arg-type]
    "bytes as text": LLMResponse(text=b"x"),  # type: ignore[arg-type]
    "odd fields": LLMResponse(text="x", tool_calls=5, reasoning=7, finish_reason=[], model={}),  # type: ignore[arg-type]
    "odd calls": LLMResponse(text="x", tool_calls=(ToolCall(id=None, name=5, arguments={}),)),  # type: ignore[arg-type]
    "odd usage": LLMResponse(text="x", usage=Odd(), cost_usd=Odd(), request_bytes="x"),  # type: ignore[arg-type]
    "odd numbers": LLMResponse(text="x", usage=LLMUsage(total_tokens=10**5000, prompt_tokens=Odd())),  # type: ignore[arg-type]
    "a long model": LLMResponse(text="x", model="m" * 10**6, finish_reason="\x1b[31m" * 1000),
}  # fmt: skip


class _Raises:
    def __init__(self, make: Callable[[], Exception]) -> None:
        self.make = make

    def give(self) -> Any:
        raise self.make()


class _Gives:
    def __init__(self, value: Any) -> None:
        self.value = value

    def give(self) -> Any:
        return self.value


ODD: dict[str, _Raises | _Gives] = {
    **{f"raises {name}": _Raises(make) for name, make in RAISED.items()},
    **{f"gives {name}": _Gives(value) for name, value in RETURNED.items()},
}


class SeamProvider(Provider[ProviderConfig]):
    """Does the odd thing at the seam `seam`; else it answers."""

    seam = ""
    odd: _Raises | _Gives

    def __init__(self, name: str, config: ProviderConfig, clock: Any) -> None:
        super().__init__(name, config, clock)
        if self.seam == "init":
            self.odd.give()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        if self.seam == "complete":
            return self.odd.give()  # type: ignore[no-any-return]
        if self.seam == "secrets":
            raise RuntimeError("x")
        return LLMResponse(text="[1]", finish_reason="stop")

    async def complete_async(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return self.complete(request, timeout)

    def stream(self, request: LLMRequest, timeout: float) -> ChunkStream:
        if self.seam == "stream":
            return self.odd.give()  # type: ignore[no-any-return]
        if self.seam in ("pull", "chunk", "close"):
            return SeamStream(self.seam, self.odd)
        return super().stream(request, timeout)

    async def stream_async(self, request: LLMRequest, timeout: float) -> ChunkStream:
        return self.stream(request, timeout)

    def secrets(self) -> Any:
        return self.odd.give() if self.seam == "secrets" else ()

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        return self.odd.give() if self.seam == "capabilities" else Capabilities(tools=True, bounded=True)

    @property
    def effects(self) -> Any:
        return self.odd.give() if self.seam == "effects" else "none"

    def close(self) -> None:
        if self.seam == "close":
            self.odd.give()


class SeamStream(ChunkStream):
    def __init__(self, seam: str, odd: _Raises | _Gives) -> None:
        self._seam, self._odd = seam, odd
        self._chunks = iter([StreamChunk(text="[1]"), END])

    def pull(self, timeout: float) -> StreamChunk | None:
        if self._seam == "pull":
            return self._odd.give()  # type: ignore[no-any-return]
        chunk = next(self._chunks, None)
        if self._seam == "chunk" and chunk is not None:
            odd = self._odd.give()
            delta: Any = ToolCallDelta(index=odd, id=odd, arguments=odd)
            return StreamChunk(
                text="x", reasoning=odd, tool_calls=(delta,), finish_reason=odd, usage=odd, model=odd, cost_usd=odd
            )
        return chunk

    async def pull_async(self, timeout: float) -> StreamChunk | None:
        return self.pull(timeout)

    def close(self) -> None:
        if self._seam == "close":
            self._odd.give()


class SeamListener:
    """A policy, store, sink, hook and judge that does the odd thing."""

    def __init__(self, odd: _Raises | _Gives) -> None:
        self._odd = odd

    def choose(self, role: str, config: LLMConfig) -> Any:
        return self._odd.give()

    def observe(self, record: Any) -> Any:
        return self._odd.give()

    write = emit = __call__ = observe

    def close(self) -> Any:
        return self._odd.give()


class Observing(SeamListener):
    def choose(self, role: str, config: LLMConfig) -> Any:
        return ProviderChoice("p")


PROVIDER_SEAMS = (
    "init", "complete", "stream", "pull", "chunk", "close", "secrets", "capabilities", "effects",
)  # fmt: skip
OPTION_SEAMS: dict[str, Callable[[SeamListener], dict[str, Any]]] = {
    "policy": lambda listener: {"policy": listener},
    "observer": lambda listener: {"policy": Observing(listener._odd)},
    "store": lambda listener: {"trace_store": listener},
    "sink": lambda listener: {"event_sink": [listener]},
    "usage hook": lambda listener: {"on_token_usage": listener},
    "compression": lambda listener: {"compression": listener},
    "wrapper": lambda listener: {"wrap_provider": listener},
    "random": lambda listener: {"random": listener._odd.give},
}
CALL_SEAMS: dict[str, Callable[[SeamListener], dict[str, Any]]] = {
    "accept": lambda listener: {"accept": listener},
    "schema": lambda listener: {"schema": _odd_type(listener)},
}


def _odd_type(listener: SeamListener) -> Any:
    from typing import Annotated

    from pydantic import AfterValidator

    return Annotated[list[int], AfterValidator(listener)]


def _router(seam: str, odd: _Raises | _Gives) -> tuple[LeeLLMRouter, dict[str, Any]]:
    kind = type("Seam", (SeamProvider,), {"seam": seam if seam in PROVIDER_SEAMS else "", "odd": odd})
    register("seam", kind, replace=True)
    listener = SeamListener(odd)
    role = {"provider": "p", "model": "m", "fallback_providers": ["q"], "deadline": 5, "retry": {"attempts": 2}}
    if seam == "random":
        providers: dict[str, Any] = {"p": {"type": "mock", "script": [{"error": "OVERLOADED"}]}, "q": {"type": "seam"}}
    else:
        providers = {"p": {"type": "seam"}, "q": {"type": "mock", "response_text": "[2]"}}
    options: dict[str, Any] = {"trace_store": Memory(), "clock": FakeClock()}
    options |= OPTION_SEAMS[seam](listener) if seam in OPTION_SEAMS else {}
    call = CALL_SEAMS[seam](listener) if seam in CALL_SEAMS else {}
    return LeeLLMRouter({"llm": {"providers": providers, "roles": {"r": role}}}, **options), call


def _ask(router: LeeLLMRouter, way: str, call: dict[str, Any]) -> LLMResponse:
    if way == "sync":
        return router.complete("r", "hi", **call)
    if way == "async":
        return asyncio.run(router.complete_async("r", "hi", **call))
    if way == "stream":
        with router.stream("r", "hi", **call) as stream:
            list(stream)
        return stream.response

    async def read() -> LLMResponse:
        async with router.stream_async("r", "hi", **call) as stream:
            _ = [chunk async for chunk in stream]
        return stream.response

    return asyncio.run(read())


@pytest.mark.parametrize("way", ["sync", "async", "stream", "stream_async"])
@pytest.mark.parametrize("seam", [*PROVIDER_SEAMS, *OPTION_SEAMS, *CALL_SEAMS])
def test_whatever_others_do_at_a_seam_the_call_ends_in_an_answer_or_a_typed_error(seam: str, way: str) -> None:
    """47 odd things at each of 19 seams in each of 4 ways: 3,572."""
    for name, odd in ODD.items():
        router, call = _router(seam, odd)
        try:
            answer = _ask(router, way, call)
            assert isinstance(answer.text, str) and isinstance(answer.usage, LLMUsage), name
            assert answer.model is None or len(answer.model) <= 200, name
        except LLMRouterError as error:
            assert isinstance(str(error), str) and repr(error) and error.request_id, name
            assert error.__context__ in (None, error.__cause__), name
        except Exception as error:
            raise AssertionError(f"{name} at {seam}: {type(error).__name__}") from error
        router.close()


MESSAGES: list[Any] = [
    [{"role": ["user"], "content": "x"}], [{"role": {}, "content": "x"}], [{"role": 10**5000, "content": "x"}],
    [{"role": Odd(), "content": "x"}], [OddMapping()], OddMapping(), Odd(), [Odd()], 5, None, b"x", [[]], [{}],
    [{"role": "user", "content": Odd()}], [{"role": "user", "content": [Odd()]}], [{"role": None, "content": "x"}],
    [{"role": "user", "content": [{"type": ["text"]}]}], [{"role": "user", "content": {"a": 1}}], (i for i in "ab"),
    [{"role": "\ud800", "content": "x"}], [{"role": "user", "content": [OddMapping()]}], [{5: 6}],
]  # fmt: skip


@pytest.mark.parametrize("messages", MESSAGES, ids=range(len(MESSAGES)))
def test_odd_messages_are_traced_invalid_requests(messages: Any) -> None:
    memory = Memory()
    router = LeeLLMRouter(config_for({"a": ["x"]}), trace_store=memory)
    with router, pytest.raises(LLMRouterError) as raised:
        router.complete("r", messages)
    assert raised.value.failure_type == "INVALID_REQUEST" and not raised.value.sent
    assert [record.attempt for record in memory.records] == [None]


@pytest.mark.parametrize("role", [[], {}, 5, b"r", Odd(), 10**5000, ("r",), True], ids=range(8))
def test_a_role_that_is_no_text_is_a_traced_invalid_request(role: Any) -> None:
    memory = Memory()
    with LeeLLMRouter(config_for({"a": ["x"]}), trace_store=memory) as router:
        with pytest.raises(LLMRouterError, match="the name of a role must be text") as raised:
            router.complete(role, "hi")
        with pytest.raises(LLMRouterError):
            router.resolve(role)
    assert raised.value.failure_type == "INVALID_REQUEST" and len(memory.records) == 1


OPTIONS = (
    "model", "temperature", "top_p", "max_tokens", "stop", "seed", "json_mode", "schema", "tools", "tool_choice",
    "extra_body", "headers", "timeout", "deadline", "metadata", "contract", "accept", "no_such_option",
)  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_odd_options_are_answered_or_refused(option: str) -> None:
    with LeeLLMRouter(config_for({"a": ["[1]"]}), trace_store=False) as router:
        for odd in [*RETURNED.values(), float("nan"), float("inf"), 10**5000, -1, 1e300, "\ud800", {5: Odd()}]:
            try:
                router.complete("r", "hi", **{option: odd})
            except LLMRouterError as error:
                assert str(error)
