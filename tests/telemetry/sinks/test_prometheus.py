"""Calls and attempts are counted under labels of few values, in any number of routers, processes and registries."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from helpers.support import END, Pieces, config_for, router_for
from lee_llm_router import ConfigError, LeeLLMRouter, LLMResponse, LLMRouterError, LLMUsage, load_config
from lee_llm_router.errors import FailureType, error_for
from lee_llm_router.telemetry.sinks.prometheus import PrometheusSink
from lee_llm_router.telemetry.sinks.prometheus_metrics import MAX_TARGETS

DOWN = error_for(FailureType.PROVIDER_ERROR, "the server broke", status_code=500, sent=True)
LIMITED = error_for(FailureType.RATE_LIMIT, "slow down", status_code=429, sent=True)


class _Counted:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sink = PrometheusSink(registry=self.registry)

    def router(self, outcomes: dict[str, Any]) -> LeeLLMRouter:
        return router_for(config_for(outcomes), event_sink=self.sink)[0]

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"lee_llm_router_{name}", labels)


def test_attempts_retries_fallbacks_tokens_and_money_are_counted() -> None:
    counted = _Counted()
    usage = LLMUsage(prompt_tokens=7, completion_tokens=3, cached_tokens=2)
    answer = LLMResponse(text="yes", usage=usage, cost_usd=0.5, model="served by a vendor", finish_reason="stop")
    counted.router({"a": [DOWN, LIMITED], "b": [answer]}).complete("r", "hi")
    a, b = {"role": "r", "provider": "a", "model": "m"}, {"role": "r", "provider": "b", "model": "m"}
    assert counted.value("attempts_total", **a, outcome="error", failure="PROVIDER_ERROR") == 1
    assert counted.value("attempts_total", **b, outcome="ok", failure="") == 1
    assert counted.value("retries_total", **a) == 1
    assert counted.value("fallbacks_total", **a) == 1
    assert counted.value("calls_total", role="r", outcome="ok", failure="") == 1
    assert counted.value("saved_calls_total", role="r") == 1
    assert counted.value("tokens_total", **b, type="input") == 7
    assert counted.value("tokens_total", **b, type="cache_read") == 2
    assert counted.value("cost_usd_total", **b) == 0.5
    assert counted.value("call_seconds_count", role="r", outcome="ok") == 1


def test_the_first_output_of_a_stream_is_measured() -> None:
    counted = _Counted()
    list(counted.router({"a": [Pieces("one", END)]}).stream("r", "hi"))
    assert counted.value("first_token_seconds_count", role="r", provider="a", model="m") == 1


def test_calls_that_fail_or_are_refused_are_counted_by_why() -> None:
    counted = _Counted()
    router = counted.router({"a": [error_for(FailureType.AUTH, "no key", sent=True)]})
    for payload in ("hi", cast("str", 7)):
        with pytest.raises(LLMRouterError):
            router.complete("r", payload)
    assert counted.value("calls_total", role="r", outcome="error", failure="AUTH") == 1
    assert counted.value("calls_total", role="r", outcome="error", failure="INVALID_REQUEST") == 1


def test_an_open_breaker_shows() -> None:
    counted = _Counted()
    router = counted.router({"a": [DOWN], "b": ["ok"]})
    for _ in range(10):
        router.complete("r", "hi")
    assert counted.value("breaker_open", provider="a", model="m") == 1


def test_models_that_callers_ask_for_are_no_endless_labels() -> None:
    counted = _Counted()
    router = counted.router({"a": ["ok"]})
    for number in range(MAX_TARGETS + 20):
        router.complete("r", "hi", model=f"model {number}")
    labels = {sample.labels["model"] for metric in counted.registry.collect() for sample in metric.samples
              if "model" in sample.labels}  # fmt: skip
    assert len(labels) == MAX_TARGETS + 1
    assert counted.value("attempts_total", role="r", provider="a", model="other", outcome="ok", failure="") == 20


def test_no_label_holds_what_a_vendor_or_a_caller_writes() -> None:
    counted = _Counted()
    answer = LLMResponse(text="secret text", model="served", finish_reason="odd")
    counted.router({"a": [answer]}).complete("r", "secret prompt", metadata={"user": "secret user"})
    shown = str([sample for metric in counted.registry.collect() for sample in metric.samples])
    assert not [word for word in ("secret", "served", "odd") if word in shown]


def test_several_routers_count_in_the_same_metrics() -> None:
    counted = _Counted()
    for _ in range(3):
        sink = PrometheusSink(registry=counted.registry)
        router_for(config_for({"a": ["ok"]}), event_sink=sink)[0].complete("r", "hi")
    assert counted.value("calls_total", role="r", outcome="ok", failure="") == 3


def _file(port: int, *more: str) -> Any:
    providers = {"m": {"type": "mock"}}
    sinks = [{"type": "prometheus", "port": port}, *more]
    return load_config({"llm": {"providers": providers, "roles": {"served": {"provider": "m"}},
                                "trace": {"enabled": False}, "sinks": sinks}})  # fmt: skip


def test_the_file_can_have_the_metrics_served_and_two_routers_share_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with LeeLLMRouter(_file(port)) as router:
        with LeeLLMRouter(_file(port, "logging")) as other:
            other.complete("served", "hi")
        router.complete("served", "hi")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            text = page.read().decode()
    assert 'lee_llm_router_calls_total{failure="",outcome="ok",role="served"} 2.0' in text
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_a_port_that_is_taken_is_a_mistake_of_the_configuration() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match="metrics cannot be served"),
    ):
        PrometheusSink(registry=CollectorRegistry(), port=taken.getsockname()[1])


MANY_PROCESSES = """
import os, sys
from lee_llm_router import LeeLLMRouter
router = LeeLLMRouter({"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}},
                               "trace": {"enabled": False}, "sinks": ["prometheus"]}})
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        for _ in range(5):
            router.complete("r", "hi")
        os._exit(0)
    children.append(child)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
router.complete("r", "hi")
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(registry.get_sample_value("lee_llm_router_calls_total", {"role": "r", "outcome": "ok", "failure": ""}))
"""


def test_in_the_multiprocess_mode_of_the_client_all_processes_are_counted(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", MANY_PROCESSES], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "11.0", done.stderr


WITHOUT_CLIENT = """
import sys
sys.modules["prometheus_client"] = None
from lee_llm_router import ConfigError, load_config
try:
    load_config({"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}},
                         "sinks": ["prometheus"]}})
except ConfigError as error:
    print(error)
"""


def test_without_the_client_the_file_is_refused_with_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_CLIENT], capture_output=True, text=True, check=True)
    assert 'pip install "lee-llm-router[prometheus]"' in done.stdout, done
