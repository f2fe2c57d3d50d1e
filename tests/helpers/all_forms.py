"""One answer of a server, asked for in every form a call has: whole and streamed, sync and async, by each transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from helpers.servers import Script, Server, answering, http
from helpers.stream_servers import DONE, event
from helpers.stream_support import READERS, Ended, Read, config_to, router_of
from helpers.transports import TRANSPORTS
from lee_llm_router import LLMResponse, LLMRouterError

EVENTS = "text/event-stream"
JSON = "application/json"


def complete_sync(router: Any, **options: Any) -> Ended:
    ended = Ended()
    try:
        ended.response = router.complete("r", "hi", **options)
    except LLMRouterError as error:
        ended.error = error
    return ended


def complete_async(router: Any, **options: Any) -> Ended:
    async def main() -> Ended:
        ended = Ended()
        try:
            ended.response = await router.complete_async("r", "hi", **options)
        except LLMRouterError as error:
            ended.error = error
        await router.aclose()
        return ended

    return asyncio.run(main())


WAYS: dict[str, Read] = {"complete": complete_sync, "complete, async": complete_async} | {
    f"stream, {name}": read for name, read in READERS.items()
}


def each_form(body: bytes | Script, label: str = EVENTS, **settings: Any) -> Iterator[tuple[str, Ended]]:
    """Yield what comes of asking once, in each form, a server that answers all with `body`, labelled `label`."""
    script = answering(http(200, body, {"Content-Type": label})) if isinstance(body, bytes) else body
    options = settings.pop("options", {})
    role = {"retry": {"attempts": 1}, **settings.pop("role", {})}
    with Server(script) as server:
        for transport in TRANSPORTS:
            config = config_to(server.url, role=role, transport=transport, **settings)
            for way, ask in WAYS.items():
                router = router_of(config)
                ended = ask(router, **options)
                router.close()
                yield f"{way}, {transport}", ended


def answers(body: bytes | Script, label: str = EVENTS, **settings: Any) -> LLMResponse:
    """Return the answer, which is the same in each form; `raw` is that of the last one."""
    found: list[tuple[str, LLMResponse]] = []
    for form, ended in each_form(body, label, **settings):
        assert ended.response is not None, f"{form}: {ended.error}"
        for name in ("request_id", "request_bytes"):
            object.__setattr__(ended.response, name, None)
        found.append((form, ended.response))
        first = found[0][1]
        assert ended.response == first, f"{form}: {ended.response} is not {first}"
        assert ended.response.raw == first.raw, f"{form}: {ended.response.raw} is not {first.raw}"
        if form.startswith("stream"):
            assert ended.text == ended.response.text
    return found[-1][1]


def failures(body: bytes | Script, label: str = EVENTS, **settings: Any) -> list[LLMRouterError]:
    """Return the errors, one for each form, which are of one type."""
    found = []
    for form, ended in each_form(body, label, **settings):
        assert ended.error is not None, f"{form}: {ended.response}"
        found.append(ended.error)
        assert ended.error.failure_type is found[0].failure_type, f"{form}: {ended.error!r}, not {found[0]!r}"
    return found


def stream_of(*chunks: Any, end: bytes = DONE) -> bytes:
    """Return the body of a stream: an event for each chunk, and its end."""
    return b"".join(map(event, chunks)) + end


def json_of(value: Any) -> bytes:
    return json.dumps(value).encode()
