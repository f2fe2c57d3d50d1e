"""Examines bodies and lines that are not quite server-sent events. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lee_llm_router._util.lenient_json import read_json, split_json
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.error_body import is_error
from lee_llm_router.providers.http.dialects.errors import failure_within
from lee_llm_router.providers.http.dialects.sse import BOM, Event, EventParser

END_MARK = b"[DONE]"
BLANK = b" \t\r\n"
_FIELD = re.compile(rb"(?:data|event|id|retry|error)?:")


def is_stream(reply: HTTPReply) -> bool:
    """Return whether a whole body is a stream of events, judged by its first line, whatever its content type."""
    body = reply.body
    if body.startswith(b"{"):  # nearly all
        return False
    start = re.match(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*", body)
    return _FIELD.match(body, start.end() if start else 0) is not None


def is_event(data: bytes) -> bool:
    """Return whether `data` is that of a complete event: an object, or the end mark."""
    try:
        return data.strip() == END_MARK or isinstance(read_json(data), dict)
    except ValueError:
        return False


def lines_of(data: bytes) -> list[bytes]:
    """Return the lines of an event if each is an event by itself; otherwise `data` alone."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    return lines if len(lines) > 1 and all(map(is_event, lines)) else [data]


def events_in(body: bytes) -> list[Event]:
    """Return the events in a body that begins with JSON: its objects, and the events after them; otherwise nothing."""
    try:
        texts, rest = split_json(body.removeprefix(BOM).decode("utf-8", "surrogatepass"))
    except ValueError:
        return []
    if not texts or not all(text.startswith("{") for text in texts):
        return []
    behind = rest.encode("utf-8", "surrogatepass")
    if behind and not _FIELD.match(behind):
        return []
    parser = EventParser(len(body) + 1)
    events = [Event(text.encode("utf-8", "surrogatepass")) for text in texts]
    if len(texts) == 1 and not behind:
        return []
    events += parser.feed(behind)
    last = parser.unfinished()
    return [*events, last] if last is not None and is_event(last.data) else events


def ignored_error(reply: HTTPReply, lines: Sequence[bytes]) -> LLMRouterError | None:
    """Return the error in lines outside any event: a field `error`, or JSON; None if there is none."""
    for line in (b"\n".join(lines), *reversed(lines)):
        name, _, rest = line.partition(b":")
        is_named = name.strip() == b"error"
        try:
            value = read_json(rest if is_named else line)
        except ValueError:
            if is_named and rest.strip():
                return failure_within(reply, rest.decode("utf-8", "replace").strip())
            continue
        if isinstance(value, dict):
            said = is_named or is_error(value, has_choices=bool(value.get("choices")))
            return failure_within(reply, value) if said else None
    return None
