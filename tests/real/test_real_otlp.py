"""A real receiver of OTLP, Arize Phoenix, shows a call as one parent and three children."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from helpers.servers import eventually
from lee_llm_router import LeeLLMRouter, OpenTelemetrySink
from real.processes import HANG

pytestmark = pytest.mark.real

SCRIPT = [{"error": "PROVIDER_ERROR", "status_code": 500}, {"error": "RATE_LIMIT", "status_code": 429}]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _read(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=HANG) as answer:
        text = answer.read()
    return json.loads(text) if text[:1] == b"{" else None


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Phoenix, which `LEE_REAL_PHOENIX` names."""
    program = os.environ.get("LEE_REAL_PHOENIX", "")
    if not program or shutil.which(program) is None:
        pytest.skip("LEE_REAL_PHOENIX does not name the program phoenix")
    port, folder = _free_port(), tmp_path_factory.mktemp("phoenix")
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(_free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([Path(program).absolute(), "serve"], env=environment, stdout=log, stderr=log)
    try:
        assert eventually(lambda: server.poll() is not None or _answers(url), 5 * HANG) and server.poll() is None
        yield url
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    try:
        _read(f"{url}/healthz")
    except OSError:
        return False
    return True


def _complete(router: LeeLLMRouter) -> None:
    router.complete("planner", "hi")


def _complete_async(router: LeeLLMRouter) -> None:
    asyncio.run(router.complete_async("planner", "hi"))


def _in_a_thread(router: LeeLLMRouter) -> None:
    asyncio.run(asyncio.to_thread(_complete, router))


def _read_in_another_thread(router: LeeLLMRouter) -> None:
    stream = router.stream("planner", "hi")
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    thread.join()


def _read_in_another_task(router: LeeLLMRouter) -> None:
    async def read(stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            pass

    stream = router.stream_async("planner", "hi")
    thread = threading.Thread(target=lambda: asyncio.run(read(stream)))
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    "ask", [_complete, _complete_async, _in_a_thread, _read_in_another_thread, _read_in_another_task],
    ids=lambda way: way.__name__.strip("_"),
)  # fmt: skip
def test_phoenix_shows_one_parent_and_three_children(receiver: str, ask: Callable[[LeeLLMRouter], None]) -> None:
    project = ask.__name__.strip("_")
    resource = Resource.create({"openinference.project.name": project})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{receiver}/v1/traces")))
    config = {
        "providers": {"busy": {"type": "mock", "script": SCRIPT}, "spare": {"type": "mock", "response_text": "yes"}},
        "roles": {"planner": {"provider": "busy", "model": "m", "fallback_providers": ["spare"],
                              "retry": {"backoff": 0.01}}},
        "trace": {"enabled": False},
    }  # fmt: skip
    sink, request = OpenTelemetrySink(tracer_provider=tracers), tracers.get_tracer("shop")
    with LeeLLMRouter({"llm": config}, event_sink=sink) as router, request.start_as_current_span("request"):
        ask(router)
    tracers.shutdown()
    address = f"{receiver}/v1/projects/{project}/spans?limit=100"
    assert eventually(lambda: len(_spans(address)) == 5, HANG)
    spans = sorted(_spans(address), key=lambda span: str(span["start_time"]))
    by_name = {span["name"]: span for span in spans}
    call, attempts = by_name["chat planner"], [span for span in spans if span["name"] == "chat m"]
    assert call["parent_id"] == by_name["request"]["context"]["span_id"]
    assert [attempt["parent_id"] for attempt in attempts] == [call["context"]["span_id"]] * 3
    assert [attempt["status_code"] for attempt in attempts] == ["ERROR", "ERROR", "UNSET"]
    assert [attempt["span_kind"] for attempt in attempts] == ["LLM"] * 3
    assert call["span_kind"] != "LLM", "it would count the call as a fourth question"
    assert [attempt["attributes"].get("error.type") for attempt in attempts] == ["PROVIDER_ERROR", "RATE_LIMIT", None]
    assert [attempt["attributes"].get("llm.token_count.total") for attempt in attempts] == [None, None, 2]
    assert not [name for name in call["attributes"] if "token" in name or name.startswith("error")]


def _spans(address: str) -> list[Any]:
    try:
        found: list[Any] = _read(address)["data"]
    except OSError:  # the project is made with its first span
        return []
    return found
