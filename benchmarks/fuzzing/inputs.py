"""Odd inputs: valid ones of each kind with something wrong in a random place, and things that are no such input."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf, nan
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

KEY = "kJ7-very/secret+value_0123456789"
"""A key that every subject knows of, and that may come out nowhere."""
KEY_NAME = "FUZZ_KEY"
"""The environment variable that holds it."""

_ODD_TEXTS = (
    "", " ", KEY, f"Bearer {KEY}", "\x00", "\x1b[31m", "\u202e", "\ufeff", "\ud83d", "a" * 70_000, "((((((((((",
    "1e400", "-1", "nan", "true", "null", "[]", "{}", "${", "${FUZZ_KEY}", "${NOT_SET}", "${NOT_SET:-x}", "$$", "~",
    "~/x",
    "../..", "http://[::1", "https://user:pass@h/", "\r\nX: y", "data: [DONE]", "*a", "&a", "!!python/object:os.system",
    "1:59:59", "0x", "\ud800\udc00", "\u2028", "é" * 3000,
)  # fmt: skip
_ODD_NUMBERS = (0, -1, 1, 2**31, 2**63, 10**30, 10**400, -(10**400), 1e-320, 1e308, nan, inf, -inf, 0.1, True, False)
texts: SearchStrategy[str] = st.sampled_from(_ODD_TEXTS) | st.text(max_size=40)
leaves: SearchStrategy[Any] = st.none() | st.sampled_from(_ODD_NUMBERS) | texts | st.integers() | st.floats()
values: SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


_DEEPEST_PLACE = 12


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if len(path) > _DEEPEST_PLACE:
        return
    for key, one in inner:
        yield from _places(one, (*path, key))


@st.composite
def broken(draw: DrawFn, whole: Any, most: int = 3) -> Any:
    """Return a copy of `whole` in which up to `most` values are replaced, dropped, doubled, renamed or buried deep."""
    value = [copy.deepcopy(whole)]
    for _ in range(max(0, draw(st.integers(-most, most)))):
        path = draw(st.sampled_from(list(_places(value))[1:]))
        owner: Any = value
        for key in path[:-1]:
            owner = owner[key]
        how, key = draw(st.sampled_from(["replace", "replace", "drop", "add", "rename", "deep"])), path[-1]
        if how == "replace":
            owner[key] = draw(values)
        elif how == "deep":
            for _ in range(draw(st.sampled_from([3, 90, 400]))):
                owner[key] = [owner[key]] if draw(st.booleans()) else {"a": owner[key]}
        elif isinstance(owner, dict):
            one = owner.pop(key) if how != "add" else draw(values)
            if how != "drop":
                owner[draw(texts)] = one
        elif how == "add" or len(path) > 1:
            owner[key : key + (how != "add")] = [draw(values)] if how == "add" else []
        if not value:
            value = [None]
    return value[0]


def dumps(value: Any) -> str:
    """Return `value` as JSON, whatever it holds; what is too deep for that as text."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError, TypeError):
        return "[" * 3000


def encoded(text: str) -> bytes:
    """Return `text` as bytes, half surrogates too."""
    return text.encode("utf-8", "surrogatepass")


@st.composite
def torn(draw: DrawFn, whole: SearchStrategy[bytes]) -> bytes:
    """Return bytes of `whole`, perhaps with a piece cut out, doubled or replaced by noise."""
    data = draw(whole)
    if data and draw(st.integers(0, 7)) == 0:
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 60)))
        noise = draw(
            st.sampled_from([b"", b"\x00", b"\xff\xfe", b"\r\n\r\n", data[start:end] * 2]) | st.binary(max_size=9)
        )
        data = data[:start] + noise + data[end:]
    return data


CONFIG: dict[str, Any] = {
    "llm": {
        "default_role": "planner",
        "providers": {
            "web": {
                "type": "http", "base_url": "http://127.0.0.1:9/v1", "api_key_env": KEY_NAME, "max_concurrency": 3,
                "rpm": 60, "headers": {"X-Token": "${FUZZ_KEY}"}, "extra_body": {"user": "u", "token": "${FUZZ_KEY}"},
            },
            "tool": {"type": "codex_cli", "command": "codex", "sandbox": "read-only", "env": [KEY_NAME]},
            "off": {"type": "mock", "response_text": "hello"},
            "script": {"type": "mock", "script": [{"text": "a"}, {"error": "TIMEOUT", "times": 2}]},
        },
        "roles": {
            "planner": {
                "provider": "web", "model": "m", "temperature": 0.2, "timeout": 60, "deadline": 150, "max_tokens": 9,
                "retry": {"attempts": 3, "max_backoff": 5}, "stop": ["a"], "metadata": {"team": "x"},
                "fallback_providers": ["off", {"provider": "tool", "model": "n"}],
                "contract": {"repair": 1}, "stream": {"idle_timeout": 3},
                "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
            },
            "fast": {"provider": "off", "json_mode": True},
        },
        "health": {"failures_in_a_row": 5, "window": 60, "cooldown": 5},
        "trace": {"dir": "traces", "keep_days": 7, "capture": "meta"},
        "sinks": [],
    }
}  # fmt: skip


def _without_key(value: Any) -> Any:
    """Return `value` without the key itself: what a file says in plain words is no secret of the environment's."""
    if isinstance(value, dict):
        return {_without_key(name): _without_key(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_key(inner) for inner in value]
    return value.replace(KEY, "plain") if isinstance(value, str) else value


@st.composite
def configurations(draw: DrawFn) -> bytes | dict[str, Any]:
    """Return the bytes of a file, or a mapping."""
    value = _without_key(draw(broken(CONFIG)))
    how = draw(st.sampled_from(["mapping", "yaml", "yaml", "json"]))
    if how == "mapping" and isinstance(value, dict):
        return value
    try:
        text = yaml.safe_dump(value, allow_unicode=True) if how == "yaml" else dumps(value)
    except (yaml.YAMLError, RecursionError, ValueError):
        text = dumps(value)
    return draw(torn(st.just(encoded(text))))


ANSWER: dict[str, Any] = {
    "id": "c-1", "object": "chat.completion", "model": "m",
    "choices": [{
        "index": 0, "finish_reason": "stop",
        "message": {
            "role": "assistant", "content": "Hello there.", "reasoning_content": "Hm.",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
    }],
    "usage": {
        "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1},
    },
}  # fmt: skip
ERRORS: tuple[Any, ...] = (
    {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid_request_error", "code": "bad_key"}},
    {"error": f"no such key {KEY}", "code": 401},
    [{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26.6s"}]}}],
    {"detail": [{"loc": ["body", "model"], "msg": "field required", "input": KEY}]},
    {"error": {"message": "maximum context length is 8 tokens", "metadata": {"raw": f'{{"error": "{KEY}"}}'}}},
)  # fmt: skip
CHUNK: dict[str, Any] = {
    "id": "c-1", "object": "chat.completion.chunk", "model": "m",
    "choices": [{
        "index": 0, "finish_reason": None,
        "delta": {"role": "assistant", "content": "Hel", "reasoning_content": "Hm",
                  "tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": '{"a"'}}]},
    }],
}  # fmt: skip
LAST_CHUNK: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": ANSWER["usage"]}


@dataclass(frozen=True)
class Reply:
    """What a server sends, in the pieces in which it sends it."""

    pieces: tuple[bytes, ...]
    transport: str
    is_async: bool

    def __repr__(self) -> str:
        return f"<{self.transport} async={self.is_async} {b''.join(self.pieces)!r}>"


_STATUSES = (200,) * 8 + (400, 401, 403, 404, 422, 429, 500, 503, 529, 204, 302, 999, 0)
_ODD_HEADERS = (
    f"X-Echo: {KEY}", "Retry-After: 2", "Retry-After: 1e3", "Retry-After: -1", "retry-after-ms: nan",
    f"Retry-After: {KEY}", "X-Request-Id: r-1", "Content-Type: text/plain", "no colon", f"bad name {KEY}: x",
    "X: \x00", "Set-Cookie: a=b",
    "x-ratelimit-reset-requests: 1m3s", "Content-Encoding: zstd", "Content-Encoding: none",
    "Location: http://127.0.0.1:9/",
)  # fmt: skip


@st.composite
def _replies(draw: DrawFn, bodies: SearchStrategy[bytes], kinds: tuple[str, ...]) -> Reply:
    is_sound = draw(st.booleans())
    body = draw(bodies if is_sound else torn(bodies))
    status = 200 if is_sound else draw(st.sampled_from(_STATUSES))
    headers = [f"Content-Type: {draw(st.sampled_from(kinds))}"]
    if draw(st.integers(0, 4)) == 0:
        body = gzip.compress(body, mtime=0)
        headers.append("Content-Encoding: gzip")
    if draw(st.booleans()):
        headers.append(f"Content-Length: {len(body)}")
    else:
        headers.append("Transfer-Encoding: chunked")
        cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=6))})
        parts = [body[start:end] for start, end in pairwise(cuts)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"
    odd = [] if is_sound else draw(st.lists(st.sampled_from(_ODD_HEADERS), max_size=3))
    reason = "OK" if is_sound else draw(st.sampled_from(["OK", "", KEY, "\x1b[31m"]))
    lines = [f"HTTP/1.1 {status} {reason}", *headers, *odd, "Connection: close", "", ""]
    head = "\r\n".join(lines).encode("latin-1", "replace")
    data = head + body if is_sound else draw(torn(st.just(head + body)))
    cuts = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=4))})
    pieces = tuple(data[start:end] for start, end in pairwise(cuts))
    return Reply(pieces, draw(st.sampled_from(["httpx", "httptools"])), draw(st.booleans()))


_FIELDS = ("data: ", "data: ", "data: ", "data:", "error: ", ": ", "event: x\ndata: ", "")
_ENDS = ("\n\n", "\n\n", "\n\n", "\r\n\r\n", "\n", "\r\r")


@dataclass(frozen=True)
class WireForm:
    """How one dialect answers: what odd answers of it are made from."""

    answer: dict[str, Any]
    """A whole answer, with all that the dialect reads."""
    events: tuple[dict[str, Any], ...]
    """The events of a whole stream, in order; a sound one repeats, drops and changes none of the last `closing`."""
    closing: int
    done: str = ""
    """What follows the last event."""
    errors: tuple[Any, ...] = ERRORS

    def bodies(self) -> SearchStrategy[Reply]:
        """Draw replies to a call that is not streamed."""
        labels = ("application/json", "application/json; charset=latin-1", "text/html", "text/event-stream", "")
        return _replies(self._answers().map(encoded) | self._streamed(), labels)

    def streams(self) -> SearchStrategy[Reply]:
        """Draw replies to a streamed call."""
        labels = ("text/event-stream", "text/event-stream", "application/json", "")
        return _replies(self._streamed() | self._answers().map(encoded), labels)

    def _answers(self) -> SearchStrategy[str]:
        return (
            broken(self.answer).map(dumps)
            | broken(self.answer, 1).map(dumps)
            | st.one_of(*(broken(error, 2) for error in self.errors)).map(dumps)
            | values.map(dumps)
        )

    def _streamed(self) -> SearchStrategy[bytes]:
        odd = st.one_of(*(broken(error, 1) for error in self.errors)) | values
        return _stream_of(self, odd)


@st.composite
def _stream_of(draw: DrawFn, form: WireForm, odd: SearchStrategy[Any]) -> bytes:
    """Return a stream of `form` that is whole, or in which events are changed, doubled, left out or put in."""
    is_sound = draw(st.booleans())
    opening, closing = form.events[: -form.closing], form.events[-form.closing :]
    lines = []
    for event in opening:
        found = [draw(broken(event, 1))]
        how = "keep" if is_sound else draw(st.sampled_from(["keep", "keep", "keep", "drop", "double", "odd"]))
        found = {"drop": [], "double": found * 2, "odd": [*found, draw(odd)]}.get(how, found)
        for value in found:
            field = "data: " if is_sound else draw(st.sampled_from(_FIELDS))
            lines.append(field + dumps(value) + ("\n\n" if is_sound else draw(st.sampled_from(_ENDS))))
    if is_sound or draw(st.booleans()):
        lines += [f"data: {dumps(event if is_sound else draw(broken(event)))}\n\n" for event in closing]
        lines.append(form.done)
    return encoded("".join(lines))


CHAT = WireForm(ANSWER, (CHUNK, CHUNK, LAST_CHUNK), 1, "data: [DONE]\n\n")

MESSAGES: list[Any] = [
    {"role": "system", "content": "Be short."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,"}}],
    },
    {
        "role": "assistant",
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "4"},
]
OPTIONS: dict[str, Any] = {
    "model": "m", "temperature": 0.5, "top_p": 0.9, "max_tokens": 5, "stop": ["a"], "seed": 1,
    "reasoning_effort": "low", "schema": {"type": "object"}, "tools": [{"type": "function", "function": {"name": "f",
    "parameters": {}}}],
    "tool_choice": "auto", "extra_body": {"a": 1}, "headers": {"X-Api-Key": KEY}, "timeout": 5, "deadline": 9,
    "metadata": {"a": "b"}, "contract": {"repair": 0},
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """The arguments of one call."""

    role: Any
    messages: Any
    options: dict[str, Any]


@st.composite
def calls(draw: DrawFn) -> Call:
    """Return arguments of `complete`; at times a few of them, at times all."""
    names = draw(st.sets(st.sampled_from(sorted(OPTIONS)), max_size=5))
    drawn = draw(broken({name: OPTIONS[name] for name in names}, 2))
    given = drawn if isinstance(drawn, dict) else {}
    options = {name: value for name, value in given.items() if name not in ("role", "messages", "self")}
    if "metadata" in options:  # an application's own notes, which are stored as they are
        options["metadata"] = _without_key(options["metadata"])
    role = draw(st.sampled_from(["r", "r", "r", "web", None]) | values)
    return Call(role, draw(broken(MESSAGES) | texts | values), options)


RECORD: dict[str, Any] = {
    "schema_version": 1, "request_id": "01a216a8-227b-79fa-9b11-eb1d68899d35", "attempt": 0, "role": "planner",
    "provider": "web", "model": "m", "outcome": "ok", "verdict": "return",
    "started_at": "2026-11-26T07:00:00.000000Z", "elapsed_ms": 12.5,
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, "cost_usd": 0.1, "metadata": {"a": "b"},
    "failure_type": None, "error": None, "retry_after": None, "wait_ms": 0.0, "finish_reason": "stop",
}  # fmt: skip


@st.composite
def trace_files(draw: DrawFn) -> bytes:
    """Return the bytes of a trace file of a few lines."""
    lines = draw(st.lists(torn((broken(RECORD) | values).map(dumps).map(encoded)), max_size=6))
    return b"\n".join(lines) + draw(st.sampled_from([b"\n", b"", b"\x00", b'{"half": ']))
