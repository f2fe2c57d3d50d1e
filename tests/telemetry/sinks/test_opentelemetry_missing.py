"""Without the SDK nothing changes, without the API the file is refused, and who names no sink imports none."""

from __future__ import annotations

import subprocess
import sys


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)


WITHOUT_API = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "opentelemetry" or name.startswith("opentelemetry."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
from lee_llm_router import ConfigError, LeeLLMRouter, load_config
from lee_llm_router.telemetry.sinks.opentelemetry import OpenTelemetrySink
config = {"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}}, "trace": {"enabled": False}}}
with LeeLLMRouter(config) as router:
    router.complete("r", "hi")
for attempt in (lambda: load_config({"llm": {**config["llm"], "sinks": ["opentelemetry"]}}), OpenTelemetrySink):
    try:
        attempt()
    except ConfigError as error:
        print(error)
"""


def test_without_the_api_the_file_is_refused_with_what_to_install_and_all_else_works() -> None:
    done = _run("-c", WITHOUT_API)
    assert done.stdout.count('pip install "lee-llm-router[otel]"') == 2, done


WITHOUT_SDK = """
from lee_llm_router import LeeLLMRouter
config = {"llm": {"providers": {"m": {"type": "mock", "response_text": "hello"}}, "roles": {"r": {"provider": "m"}},
                  "trace": {"enabled": False}, "sinks": [{"type": "opentelemetry", "propagate": True}]}}
with LeeLLMRouter(config) as router:
    print(router.complete("r", "hi").text, "".join(c.text for c in router.stream("r", "hi")), router.telemetry_errors)
import sys
print(any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


def test_without_the_sdk_nothing_changes_and_nothing_breaks() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_SDK], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["hello", "hello", "0", "False"], done


def test_nothing_of_opentelemetry_is_imported_by_who_does_not_name_it() -> None:
    code = (
        "import sys; from lee_llm_router import LeeLLMRouter;"
        "LeeLLMRouter({'llm': {'providers': {'m': {'type': 'mock'}}, 'roles': {'r': {'provider': 'm'}},"
        " 'trace': {'enabled': False}}}).complete('r', 'hi');"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'prometheus_client'))])"
    )
    done = _run("-c", code)
    assert done.stdout.strip() == "[]"


SDK_LATER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from lee_llm_router import LeeLLMRouter
router = LeeLLMRouter({"llm": {"providers": {"m": {"type": "mock"}}, "roles": {"r": {"provider": "m"}},
                               "trace": {"enabled": False}, "sinks": ["opentelemetry"]}})
router.complete("r", "before")
kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
router.complete("r", "after")
print([span.name for span in kept.get_finished_spans()], router.telemetry_errors)
"""


def test_an_sdk_that_is_set_up_after_the_router_gets_the_calls_from_then_on() -> None:
    assert _run("-c", SDK_LATER).stdout.strip() == "['chat', 'chat r'] 0"
