"""All subjects, in the order they are shown."""

from __future__ import annotations

from speed.subject import ASYNC, Subject

_STREAMS = (*ASYNC, "chunk")
_ALL = (*ASYNC, "sync", "chunk")

HTTP = (
    Subject("sockets", "raw asyncio socket + json", "speed.raw:sockets"),
    Subject("httpx", "httpx", "speed.raw:with_httpx", ("httpx",), ("httpx", "httpcore"), _ALL, slow=True),
    Subject(
        "httpx-1000", "httpx, pool of 1,000", "speed.raw:with_httpx", ("httpx",), (), ASYNC, ("pool=1000",), slow=True
    ),
    Subject("ours", "**Lee LLM Router**", "speed.ours:over_http", (), ("lee-llm-router", "pydantic"), _ALL, ("httpx",)),
    Subject("ours-fast", "**Lee LLM Router [fast]**", "speed.ours:over_http", ("pyreqwest",), (), _ALL, ("auto",)),
)
ALONE = (
    Subject("alone", "router alone, traces to a file", "speed.ours:alone", cases=("async-1", "sync")),
    Subject(
        "alone-untraced",
        "router alone, traces off",
        "speed.ours:alone",
        cases=("async-1", "sync"),
        options=("untraced",),
    ),
)
POLICIES = (
    Subject(
        "policy-context", "policy that takes context", "speed.ours:alone", cases=("async-1",), options=("context",)
    ),
    Subject("policy-observe", "policy with observe", "speed.ours:alone", cases=("async-1",), options=("observe",)),
)
COUNTS = (2, 10, 100, 1000)
CONFIGURED = tuple(
    Subject(f"configured-{count}", f"{count:,}", "speed.ours:alone", cases=("async-1",), options=(f"count={count}",))
    for count in COUNTS
)
ASKED = tuple(
    Subject(f"asked-{count}", f"{count:,}", "speed.ours:alone", cases=("async-1",), options=(f"count={count}", "all"))
    for count in COUNTS
)
SUBJECTS = {subject.name: subject for subject in (*HTTP, *ALONE, *POLICIES, *CONFIGURED, *ASKED)}
