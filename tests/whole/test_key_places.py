"""Every form a key has in a configuration, every place a server can echo it in, every place it could come out.

The server writes all that it was sent, headers and body, into one place of its answer. Nothing that the router shows,
writes or raises may hold any of the keys. Documented exceptions: an answer's own text, parts and `raw` reach the caller
as they came, and so does a pickled configuration.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.servers import Conversation, Received, Server, http, json_answer
from helpers.support import Memory
from lee_llm_router import LeeLLMRouter, LLMRouterError, load_config
from lee_llm_router.doctor import diagnose

KEYS: Mapping[str, str] = {
    "api_key_env": "kA1-api/env+0123456789abcdef",
    "provider_header": "kB2-provider/header+0123456789",
    "provider_body": "kC3-provider/body+0123456789ab",
    "role_header": "kD4-role/header+0123456789abcd",
    "role_body": "kE5-role/body+0123456789abcdef",
    "call_header": "kF6-call/header+0123456789abcd",
    "query": "kG7-query.parameter-0123456789",
    "env_file": "kH8-dotenv/file+0123456789abcd",
}
"""A key of each form, by the name of the form."""


def _config(url: str, folder: Path) -> str:
    return f"""
llm:
  default_role: r
  providers:
    p:
      type: http
      base_url: "{url}"
      api_key_env: PLACES_API_KEY_ENV
      headers: {{X-Team: "a ${{PLACES_PROVIDER_HEADER}} b", X-Other: "${{PLACES_ENV_FILE}}"}}
      query: {{api-version: "${{PLACES_QUERY}}"}}
      extra_body: {{deep: [{{one: "${{PLACES_PROVIDER_BODY}}"}}]}}
  roles:
    r:
      provider: p
      model: m
      retry: {{attempts: 1, patience: 0}}
      headers: {{X-Api-Key: "${{PLACES_ROLE_HEADER}}"}}
      extra_body: {{user: "${{PLACES_ROLE_BODY}}"}}
  trace: {{dir: "{folder}"}}
"""


def _chunk(delta: Mapping[str, Any], **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def _events(*events: bytes) -> bytes:
    return http(200, b"".join(events), {"Content-Type": "text/event-stream"})


def _answer(**more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    return json_answer({"choices": [{**choice, **more.pop("choice", {})}], **more})


_WHOLE = (
    _chunk({"content": "ok"}),
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n',
    b"data: [DONE]\n\n",
)
PLACES: Mapping[str, Callable[[str], bytes]] = {
    "400 message": lambda told: json_answer({"error": {"message": told}}, 400),
    "401 code": lambda told: json_answer({"error": {"message": "no", "code": told, "type": told, "param": told}}, 401),
    "403 detail": lambda told: json_answer({"detail": [{"msg": told, "input": {"a": told}}]}, 403),
    "404 list": lambda told: json_answer([{"error": {"message": told, "status": told}}], 404),
    "422 text": lambda told: json_answer({"error": told}, 422),
    "429 metadata": lambda told: json_answer({"error": {"message": "no", "metadata": {"raw": told}}}, 429),
    "500 html": lambda told: http(500, f"<html>{told}</html>".encode(), {"Content-Type": "text/html"}),
    "503 retry-after": lambda told: http(503, b"{}", {"Retry-After": told}),
    "200 error": lambda told: json_answer({"error": {"message": told}}),
    "200 not json": lambda told: http(200, told.encode()),
    "200 choices": lambda told: json_answer({"choices": told}),
    "200 model": lambda told: _answer(model=told),
    "200 finish reason": lambda told: _answer(choice={"finish_reason": told}),
    "200 id": lambda told: _answer(id=told, system_fingerprint=told, service_tier=told),
    "200 refusal": lambda told: _answer(choice={"message": {"role": "assistant", "content": None, "refusal": told}}),
    "status line": lambda told: f"HTTP/1.1 {told}\r\n\r\n".encode(),
    "reason": lambda told: f"HTTP/1.1 418 {told}\r\nContent-Length: 0\r\n\r\n".encode(),
    "header line": lambda told: f"HTTP/1.1 200 OK\r\nbad header {told}\r\n\r\n".encode(),
    "header value": lambda told: http(400, b"{}", {"X-Request-Id": told, "Content-Type": told}),
    "redirect": lambda told: http(307, b"", {"Location": f"/?key={told}"}),
    "encoding": lambda told: http(200, b"{}", {"Content-Encoding": told}),
    "chunk size": lambda told: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{told}\r\n".encode(),
    "event error": lambda told: _events(b"data: " + json.dumps({"error": {"message": told}}).encode() + b"\n\n"),
    "event cut": lambda told: _events(_chunk({"content": "o"}), f"data: {{{told}\n\n".encode()),
    "event model": lambda told: _events(_chunk({"content": "o"}, model=told), *_WHOLE),
    "event line": lambda told: _events(f"error: {told}\n\n".encode(), f"{told}\n\n".encode()),
}
"""Places of an answer, by name, each filled with what the server was sent."""


def _script(place: str) -> Callable[[Conversation], None]:
    def script(conversation: Conversation) -> None:
        request = conversation.receive()
        if request is not None:
            conversation.send(PLACES[place](_told(request)))

    return script


def _told(request: Received) -> str:
    """Return the keys as a server reads them off a request, each of which must have arrived."""
    seen = request.line + json.dumps(dict(request.headers)) + request.body.decode()
    assert not [form for form, key in KEYS.items() if key not in seen]
    return " ".join(KEYS.values())


def _call(router: LeeLLMRouter, way: str) -> None:
    headers = {"X-Call-Token": KEYS["call_header"]}
    if way == "complete":
        router.complete("r", "hi", headers=headers)
    elif way == "complete_async":
        asyncio.run(router.complete_async("r", "hi", headers=headers))
    elif way == "stream":
        for _ in router.stream("r", "hi", headers=headers):
            pass
    else:
        asyncio.run(_read(router, headers))


async def _read(router: LeeLLMRouter, headers: Mapping[str, str]) -> None:
    async for _ in router.stream_async("r", "hi", headers=headers):
        pass


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from _chain(error.__cause__)
        yield from _chain(error.__context__)


@pytest.mark.parametrize("transport", ["httpx", "httptools"])
@pytest.mark.parametrize("way", ["complete", "complete_async", "stream", "stream_async"])
@pytest.mark.parametrize("place", PLACES)
def test_a_key_comes_out_nowhere(
    place: str,
    way: str,
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in errors, their causes, contexts and pickles, nor in traces, logs, events, reprs, dumps and the doctor."""
    monkeypatch.setenv("LEE_LLM_ROUTER_TRANSPORT", transport)
    for form, key in KEYS.items():
        if form != "env_file":
            monkeypatch.setenv(f"PLACES_{form.upper()}", key)
    (tmp_path / ".env").write_text(f"PLACES_ENV_FILE={KEYS['env_file']}\n")
    memory = Memory()
    outputs: dict[str, str] = {}
    with Server(_script(place)) as server:
        path = tmp_path / "lee-llm-router.yaml"
        path.write_text(_config(server.url, tmp_path / "traces"))
        config = load_config(path)
        with caplog.at_level(logging.DEBUG), LeeLLMRouter(config, event_sink=memory) as router:
            try:
                _call(router, way)
            except LLMRouterError as error:
                error.response = None  # what came of an answer is the caller's
                outputs |= {
                    "error": f"{error} {error!r} {error.attempts}",
                    "traceback": "".join(traceback.format_exception(error)),
                    "chain": " ".join(f"{one!r} {one.args}" for one in _chain(error)),
                    "pickle": pickle.dumps(error).decode("latin-1"),
                }
            outputs |= {
                "resolved": repr(router.resolve("r")),
                "router": repr(router),
                "health": repr(router.health()),
            }
    outputs |= {
        "config": f"{config!r} {config} {config.model_dump_json()} {config.model_dump()!r}",
        "doctor": repr(list(diagnose(config))),
        "log": caplog.text,
        "events": repr(memory.events),
        "traces": " ".join(file.read_text() for file in tmp_path.rglob("*.jsonl")),
    }
    assert any(tmp_path.rglob("*.jsonl"))
    assert [f"{form} in {name}" for form, key in KEYS.items() for name, text in outputs.items() if key in text] == []
