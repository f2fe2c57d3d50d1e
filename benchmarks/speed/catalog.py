"""All subjects, in the order they are shown."""

from __future__ import annotations

from speed.dialects import FORMATS
from speed.subject import ASYNC, Subject

_ALL = (*ASYNC, "sync", "chunk")

OURS = (
    Subject(
        "ours",
        "**Lee LLM Router**",
        "speed.ours:over_http",
        distributions=("lee-llm-router", "pydantic"),
        cases=_ALL,
        options=("httpx",),
    ),
    Subject(
        "ours-fast",
        "**Lee LLM Router [fast]**",
        "speed.ours:over_http",
        needs=("httptools",),
        distributions=("httptools",),
        cases=_ALL,
        options=("auto",),
    ),
)
CLIENTS = (
    Subject("sockets", "raw asyncio socket + json", "speed.raw:sockets"),
    Subject(
        "pyreqwest",
        "pyreqwest",
        "speed.clients:with_pyreqwest",
        needs=("pyreqwest",),
        distributions=("pyreqwest",),
        cases=(*ASYNC, "sync"),
    ),
    Subject("aiohttp", "aiohttp", "speed.clients:with_aiohttp", needs=("aiohttp",), distributions=("aiohttp",)),
    Subject(
        "httpx-aiohttp",
        "httpx over aiohttp",
        "speed.raw:with_httpx",
        needs=("httpx_aiohttp",),
        distributions=("httpx-aiohttp",),
        options=("aiohttp",),
    ),
    Subject(
        "httpx", "httpx", "speed.raw:with_httpx", distributions=("httpx", "httpcore", "anyio"), cases=_ALL, slow=True
    ),
    Subject(
        "httpx2",
        "httpx2",
        "speed.raw:with_httpx",
        needs=("httpx2",),
        distributions=("httpx2", "httpcore2"),
        cases=_ALL,
        options=("httpx2",),
    ),
    Subject("httpx-1000", "httpx, pool of 1,000", "speed.raw:with_httpx", options=("pool=1000",), slow=True),
    Subject(
        "httpx2-1000",
        "httpx2, pool of 1,000",
        "speed.raw:with_httpx",
        needs=("httpx2",),
        options=("httpx2", "pool=1000"),
        slow=True,
    ),
)
LIBRARIES = (
    Subject(
        "openai",
        "openai",
        "speed.sdks:with_openai",
        needs=("openai",),
        distributions=("openai",),
        cases=_ALL,
        slow=True,
    ),
    Subject(
        "any-llm",
        "any-llm",
        "speed.sdks:with_any_llm",
        needs=("any_llm", "openai"),
        distributions=("any-llm-sdk",),
        slow=True,
    ),
    Subject(
        "pydantic-ai",
        "pydantic-ai FallbackModel",
        "speed.sdks:with_pydantic_ai",
        needs=("pydantic_ai", "openai"),
        distributions=("pydantic-ai-slim",),
        cases=(*ASYNC, "chunk"),
        slow=True,
    ),
    Subject(
        "langchain",
        "langchain with_fallbacks",
        "speed.sdks:with_langchain",
        needs=("langchain_openai",),
        distributions=("langchain-core", "langchain-openai"),
        cases=(*ASYNC, "sync"),
        slow=True,
    ),
    Subject(
        "litellm",
        "litellm Router",
        "speed.sdks:with_litellm",
        needs=("litellm",),
        distributions=("litellm",),
        cases=_ALL,
        slow=True,
    ),
)
CALLS = (*CLIENTS, *OURS, *LIBRARIES)

_MOCK = "speed.ours:alone"
ALONE = (
    Subject("alone", "router alone, traces to a file", _MOCK, cases=("async-1", "sync")),
    Subject("alone-sqlite", "router alone, traces to SQLite", _MOCK, cases=("async-1", "sync"), options=("sqlite",)),
    Subject("alone-untraced", "router alone, traces off", _MOCK, cases=("async-1", "sync"), options=("untraced",)),
    Subject("overrides", "traces off, tools and two settings in the call", _MOCK, cases=("async-1", "sync"),
            options=("untraced", "tools")),
    Subject("overrides-schema", "traces off, a schema and two settings in the call", _MOCK, cases=("async-1", "sync"),
            options=("untraced", "schema")),
    Subject("cost", "traces off, with prices", _MOCK, cases=("async-1", "sync"), options=("untraced", "cost")),
    Subject("budget", "traces off, with prices and a budget", _MOCK, cases=("async-1", "sync"),
            options=("untraced", "cost", "budget")),
    Subject("opentelemetry-api", "traces off, OpenTelemetry without an SDK", _MOCK, needs=("opentelemetry",),
            distributions=("opentelemetry-api",), cases=("async-1", "sync"), options=("untraced", "opentelemetry-api")),
    Subject("opentelemetry", "traces off, OpenTelemetry with its SDK, exported to nowhere", _MOCK,
            needs=("opentelemetry.sdk",), distributions=("opentelemetry-sdk",), cases=("async-1", "sync"),
            options=("untraced", "opentelemetry")),
    Subject("opentelemetry-off", "traces off, OpenTelemetry with its SDK, no call sampled", _MOCK,
            needs=("opentelemetry.sdk",), cases=("async-1", "sync"), options=("untraced", "opentelemetry-off")),
    Subject("prometheus", "traces off, Prometheus", _MOCK, needs=("prometheus_client",),
            distributions=("prometheus-client",), cases=("async-1", "sync"), options=("untraced", "prometheus")),
)  # fmt: skip
POLICIES = (
    Subject("policy-context", "a policy that takes context", _MOCK, cases=("async-1",), options=("context",)),
    Subject("policy-observe", "a policy with observe", _MOCK, cases=("async-1",), options=("observe",)),
)
COUNTS = (2, 10, 100, 1000)
CONFIGURED = tuple(
    Subject(f"configured-{count}", f"{count:,}", _MOCK, cases=("async-1",), options=(f"count={count}",))
    for count in COUNTS
)
ASKED = tuple(
    Subject(f"asked-{count}", f"{count:,}", _MOCK, cases=("async-1",), options=(f"count={count}", "all"))
    for count in COUNTS
)
DIALECTS = tuple(
    Subject(f"by-{name}", f"by {name}", "speed.ours:over_http", needs=("httptools",), cases=("async-1", "chunk"),
            options=("auto", name))
    for name in FORMATS
)  # fmt: skip
SUBJECTS = {subject.name: subject for subject in (*CALLS, *ALONE, *POLICIES, *CONFIGURED, *ASKED, *DIALECTS)}
