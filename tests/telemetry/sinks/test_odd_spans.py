"""Spans and metrics in odd cases: an SDK that comes later, attempts without a record, names without end."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from helpers.spans import MemorySDK
from helpers.support import config_for, router_for
from lee_llm_router import ConfigError, LLMResponse
from lee_llm_router.telemetry.following import AttemptStart, CallStart
from lee_llm_router.telemetry.sinks import opentelemetry, opentelemetry_calls, prometheus, prometheus_metrics
from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySettings, OpenTelemetrySink
from lee_llm_router.telemetry.sinks.prometheus import PrometheusSink


def begun() -> CallStart:
    return CallStart(request_id="1", role="r", policy="simple", operation=None, stream=False, metadata={})


def attempt(model: str = "m", index: int = 0) -> AttemptStart:
    return AttemptStart(
        index=index, provider="p", model=model, provider_type="mock", base_url=None, operation=None, request=None,
        stream=False,
    )  # fmt: skip


def test_calls_have_spans_from_when_the_application_sets_its_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may do so at any time; before, a call costs nothing."""
    sink = OpenTelemetrySink.from_settings(OpenTelemetrySettings(type="opentelemetry"))
    assert sink.follow(begun()) is None

    class Provider:
        """That of an SDK, by where it comes from."""

    monkeypatch.setattr(trace, "get_tracer_provider", Provider)
    assert sink.follow(begun()) is not None
    monkeypatch.undo()
    assert sink.follow(begun()) is not None, "once is enough"


def test_a_breaker_that_opens_is_noted_on_the_span_of_its_call() -> None:
    sdk = MemorySDK()
    call: Any = sdk.sink.follow(begun())
    call.breaker_changed("p", "m", "open")
    call.ended("error", "TIMEOUT", 5.0)
    ((event,),) = [span.events for span in sdk.spans]
    assert event.name == "lee_llm_router.breaker.open"
    assert dict(event.attributes) == {"lee_llm_router.provider": "p", "lee_llm_router.model": "m"}


def test_no_span_stays_open_of_an_attempt_of_which_no_record_came() -> None:
    """Nor of a call without any."""
    sdk = MemorySDK()
    call: Any = sdk.sink.follow(begun())
    call._attempts[0] = opentelemetry_calls._Attempt(sdk.tracer.start_span("attempt"), call._context, {})
    call.ended("cancelled", None, 5.0)
    assert [span.name for span in sdk.spans] == ["attempt", "chat r"]


def test_names_of_models_without_end_do_not_fill_the_memory_or_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers says what its model is called, and may say another name each time."""
    monkeypatch.setattr(opentelemetry_calls, "_MAX_TARGETS", 3)
    sdk = MemorySDK()
    answers = [LLMResponse(text="yes", model=f"m-{number}") for number in range(9)]
    router, _, _ = router_for(config_for({"a": answers}), event_sink=sdk.sink)
    for _ in answers:
        router.complete("r", "hi")
    points = sdk.points("gen_ai.client.operation.duration")
    named = {point[0].get("gen_ai.response.model") for point in points}
    assert len(named) == 4 and None in named
    instruments = sdk.sink._instruments
    for number in range(9):
        assert instruments.target_attributes(attempt(f"m{number}"))["gen_ai.request.model"] == f"m{number}"
    assert len(instruments._known_targets) <= 3


def test_a_copy_of_the_package_that_is_not_installed_has_spans_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(opentelemetry_calls, "version", version)
    sdk = MemorySDK()
    router, _, _ = router_for(config_for({"a": ["yes"]}), event_sink=sdk.sink)
    router.complete("r", "hi")
    assert len(sdk.attempts()) == 1 and sdk.call().instrumentation_scope.version == ""


@pytest.mark.parametrize("sink", [OpenTelemetrySink, PrometheusSink])
def test_without_its_package_a_sink_says_what_to_install(sink: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None:
        if name == "opentelemetry.trace":
            raise ModuleNotFoundError(name)

    monkeypatch.setattr(opentelemetry, "find_spec", find_spec)
    monkeypatch.setattr(prometheus, "find_spec", find_spec)
    with pytest.raises(ConfigError, match="pip install"):
        sink()


def test_a_sink_that_serves_no_port_can_be_closed() -> None:
    from prometheus_client import CollectorRegistry

    PrometheusSink(registry=CollectorRegistry()).close()


def test_one_port_shows_one_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    from prometheus_client import CollectorRegistry

    class Port:
        def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
            self.registry, self.users = registry, 0

    monkeypatch.setattr(prometheus_metrics, "ServedPort", Port)
    monkeypatch.setattr(prometheus_metrics, "_served", {})
    mine = CollectorRegistry()
    first = prometheus_metrics.open_port("127.0.0.1", 9, mine)
    assert prometheus_metrics.open_port("127.0.0.1", 9, mine) is first and first.users == 2
    with pytest.raises(ConfigError, match="another registry is already served at"):
        prometheus_metrics.open_port("127.0.0.1", 9, CollectorRegistry())


def test_of_several_processes_the_metrics_of_all_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the client's multiprocess mode."""
    from prometheus_client import CollectorRegistry

    mine = CollectorRegistry()
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert prometheus_metrics._scraped(mine) is mine
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert prometheus_metrics._scraped(mine) is not mine
    assert os.listdir(tmp_path) == []
