"""The seams: a second implementation of each kind, from outside and in a few lines, touching no file of the package.

A dialect has a test file of its own: `tests/providers/http/test_dialect_seam.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from helpers.support import Memory
from lee_llm_router import (
    ConfigError,
    EventSink,
    LeeLLMRouter,
    LLMConfig,
    LLMRequest,
    LLMResponse,
    LLMUsage,
    Operation,
    PluginSettings,
    Provider,
    ProviderChoice,
    ProviderConfig,
    ProviderError,
    RouterEvent,
    TraceReader,
    TraceRecord,
    WrapperProvider,
    load_config,
    register,
    register_policy,
    register_sink,
    register_store,
)
from lee_llm_router.cli.trace.reading import trace_store
from lee_llm_router.doctor import diagnose
from lee_llm_router.engine.plan import CallPlan, Target

BASE: dict[str, Any] = {
    "providers": {name: {"type": "mock", "response_text": name} for name in "ab"},
    "roles": {"r": {"provider": "a", "model": "m", "fallback_providers": ["b"]}},
}


# A policy with settings


class LastSettings(PluginSettings):
    provider: str


class LastPolicy:
    config_model = LastSettings

    def __init__(self, settings: LastSettings) -> None:
        self.settings = settings

    def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
        return ProviderChoice(self.settings.provider)


register_policy("last", LastPolicy, replace=True)


def test_a_policy_takes_its_settings_from_the_file() -> None:
    config = {**BASE, "policy": {"type": "last", "provider": "b"}, "trace": {"enabled": False}}
    with LeeLLMRouter({"llm": config}) as router:
        assert router.complete("r", "hi").text == "b"


# A store without a file


class ListStore:
    config_model = PluginSettings
    kept: ClassVar[list[TraceRecord]] = []

    def __init__(self, settings: PluginSettings) -> None:
        self.settings = settings

    def write(self, record: TraceRecord) -> None:
        self.kept.append(record)

    def find(self, request_id: str) -> list[TraceRecord]:
        return [record for record in self.kept if record.request_id == request_id]

    def last(self, n: int = 1) -> list[TraceRecord]:
        calls = list(dict.fromkeys(record.request_id for record in self.kept))[-n:]
        return [record for call in calls for record in self.find(call)]


class WriteOnlyStore:
    def write(self, record: TraceRecord) -> None: ...


register_store("list", ListStore, replace=True)
register_store("write_only", WriteOnlyStore, replace=True)


@pytest.mark.parametrize("named", ["list", {"type": "list"}])
def test_a_store_named_in_the_file_is_written_and_read_by_all_who_need_it(
    named: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Router, command line and doctor; and no trace folder is made."""
    monkeypatch.chdir(tmp_path)
    text = f"llm: {{providers: {{a: {{type: mock}}}}, roles: {{r: {{provider: a}}}}, trace: {{store: {named}}}}}\n"
    (tmp_path / "lee-llm-router.yaml").write_text(text.replace("'", ""))
    with LeeLLMRouter(tmp_path / "lee-llm-router.yaml") as router:
        answer = router.complete("r", "hi")
        assert isinstance(router.trace_store, ListStore) and isinstance(router.trace_store, TraceReader)
    assert [record.request_id for record in trace_store(None).last(1)] == [answer.request_id]
    assert [result.subject for result in diagnose(text.replace("'", "")) if result.section == "traces"] == ["list"]
    assert not (tmp_path / ".lee-llm-router").exists()


def test_a_store_that_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "llm: {providers: {a: {type: mock}}, roles: {r: {provider: a}}, trace: {store: write_only}}\n"
    (tmp_path / "lee-llm-router.yaml").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        trace_store(None)


# A sink


class CountSettings(PluginSettings):
    start: int = 0


class CountSink:
    config_model = CountSettings
    counts: ClassVar[dict[str, int]] = {}

    def __init__(self, settings: CountSettings) -> None:
        self.counts.clear()
        self.counts["start"] = settings.start

    def emit(self, event: RouterEvent) -> None:
        self.counts[event.event] = self.counts.get(event.event, 0) + 1

    def close(self) -> None:
        self.counts["closed"] = 1


register_sink("count", CountSink, replace=True)


def test_sinks_named_in_the_file_get_every_event_besides_those_given_in_code(caplog: pytest.LogCaptureFixture) -> None:
    """The router closes the sinks it has built, and not those it was given."""
    caplog.set_level("DEBUG", "shop.llm")
    sinks = [{"type": "count", "start": 7}, {"type": "logging", "logger": "shop.llm"}]
    memory = Memory()
    with LeeLLMRouter({"llm": {**BASE, "sinks": sinks}}, trace_store=False, event_sink=memory) as router:
        router.complete("r", "hi")
    events = [event.event for event in memory.events]
    assert events[0] == "call.start" and events[-1] == "call.end"
    assert CountSink.counts == {"start": 7, "closed": 1, **dict.fromkeys(events, 1)}
    assert [record.llm_event for record in caplog.records if record.name == "shop.llm"] == events  # type: ignore[attr-defined]
    assert isinstance(memory, EventSink)


class UnbuildableSink:
    def __init__(self) -> None:
        raise OSError("no socket")

    def emit(self, event: RouterEvent) -> None: ...


def test_a_sink_that_cannot_be_built_is_a_config_error_and_leaves_none_open() -> None:
    register_sink("unbuildable", UnbuildableSink, replace=True)
    with pytest.raises(ConfigError, match="'unbuildable' cannot be built: no socket"):
        LeeLLMRouter({"llm": {**BASE, "sinks": ["count", "unbuildable"]}}, trace_store=False)
    assert CountSink.counts == {"start": 0, "closed": 1}


# What the file says of plugins is checked as everything else


@pytest.mark.parametrize(
    ("section", "finding"),
    [
        ("policy: lats", "llm.policy: unknown routing policy (did you mean 'last'?)"),
        ("policy: {type: lats}", "llm.policy.type: unknown routing policy (did you mean 'last'?)"),
        ("policy: {type: last, providr: b}", "llm.policy.providr: unknown key (did you mean 'provider'?)"),
        ("policy: last", "llm.policy.provider: missing"),
        ("policy: [last]", "llm.policy: a mapping is wanted"),
        ("trace: {store: jsnol}", "llm.trace.store: unknown trace store (did you mean 'jsonl'?)"),
        ("sinks: [{type: count, strat: 1}]", "llm.sinks[0].strat: unknown key (did you mean 'start'?)"),
        ("sinks: [{type: count, start: soon}]", "llm.sinks[0].start: a whole number is wanted"),
        ("sinks: count", "llm.sinks: a list is wanted"),
    ],
)
def test_mistakes_in_a_plugins_section_are_findings_at_their_place(section: str, finding: str) -> None:
    text = f"llm:\n  {section}\n  providers: {{a: {{type: mock}}}}\n  roles: {{r: {{provider: a}}}}\n"
    with pytest.raises(ConfigError) as raised:
        load_config(text)
    assert any(f.startswith("<text>:2:") and f.endswith(finding) for f in raised.value.findings), raised.value.findings


# A provider around a provider


class MemoryCache(WrapperProvider):
    answers: ClassVar[dict[Any, LLMResponse]] = {}

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        key = (self.name, request.model, str(request.messages))
        if key not in self.answers:
            self.answers[key] = super().complete(request, timeout)
        return self.answers[key]


def test_a_wrapper_stands_around_every_provider_the_router_builds() -> None:
    asked: list[str] = []

    class Counted(WrapperProvider):
        def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
            asked.append(self.name)
            return super().complete(request, timeout)

    with LeeLLMRouter({"llm": BASE}, trace_store=False, wrap_provider=lambda p: MemoryCache(Counted(p))) as router:
        assert [router.complete("r", "hi").text for _ in range(3)] == ["a"] * 3
    assert asked == ["a"]


# A second operation


@dataclass(frozen=True)
class Vectors:
    vectors: tuple[tuple[float, ...], ...]
    model: str | None


@dataclass(frozen=True)
class VectorRequest:
    inputs: tuple[str, ...]
    model: str | None


class Embedding(Operation):
    """Texts in, a vector for each out."""

    def checked(self, payload: Any) -> tuple[str, ...]:
        return tuple(payload)

    def request_for(self, plan: CallPlan, target: Target, reporter: Any) -> VectorRequest:
        return VectorRequest(plan.payload, target.model)

    def refusal(self, provider: Provider[Any], request: Any) -> str | None:
        return None if hasattr(provider, "measure") else "the provider cannot measure"

    def ask(self, provider: Any, request: VectorRequest, timeout: float) -> Vectors:
        answer: Vectors = provider.measure(request)
        return answer

    async def ask_async(self, provider: Any, request: VectorRequest, timeout: float) -> Vectors:
        return self.ask(provider, request, timeout)

    def accepted(self, plan: CallPlan, target: Target, request: VectorRequest, answer: Vectors) -> Vectors:
        if len(answer.vectors) != len(request.inputs):
            raise ProviderError("a vector is missing")
        return answer

    def facts(self, answer: Vectors) -> LLMResponse:
        return LLMResponse(text="", model=answer.model, usage=LLMUsage(prompt_tokens=2))

    def messages(self, request: VectorRequest) -> list[dict[str, Any]]:
        return [{"role": "input", "content": text} for text in request.inputs]


class LengthProvider(Provider[ProviderConfig]):
    """Its vector of a text is the length of the text; the first try is one short."""

    tries = 0

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise NotImplementedError

    def measure(self, request: VectorRequest) -> Vectors:
        self.tries += 1
        wanted = request.inputs[1:] if self.tries == 1 else request.inputs
        return Vectors(tuple((float(len(text)),) for text in wanted), request.model)


register("length", LengthProvider, replace=True)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_second_operation_has_the_chain_the_retries_the_health_and_the_traces_of_the_first(way: str) -> None:
    providers = {"chat": {"type": "mock"}, "vectors": {"type": "length"}}
    role = {"provider": "chat", "model": "m", "retry": {"backoff": 0}, "fallback_providers": ["vectors"]}
    config = {"providers": providers, "roles": {"r": role}, "trace": {"capture": "full"}}
    memory = Memory()
    with LeeLLMRouter({"llm": config}, trace_store=memory) as router:
        if way == "sync":
            answer = router.perform(Embedding(), "r", ["one", "three"])
        else:
            answer = asyncio.run(router.perform_async(Embedding(), "r", ["one", "three"]))
        assert answer == Vectors(((3.0,), (5.0,)), "m")
        assert router.health()["vectors", "m"].successes == 1
    assert [(r.provider, r.outcome) for r in memory.records] == [
        ("chat", "skipped"),
        ("vectors", "error"),
        ("vectors", "ok"),
    ]
    assert memory.records[-1].usage == LLMUsage(prompt_tokens=2)
    assert memory.records[-1].messages == [{"role": "input", "content": text} for text in ("one", "three")]
