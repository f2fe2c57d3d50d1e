"""Finds what matters in the body of an error, however nested: texts, codes, a status, waits. Pure.

How this works. Servers share no common shape. So this searches the body level by level for fields whose names say what
they hold: a text (`message`, `detail`, `error` if it is text, ...), a code (`code`, `type`, ...), a wait (`retryDelay`,
`resets_at`, ...), or a nested error (`error`, `details`, `metadata`, `raw`, which may be JSON in a string). It ignores
other fields, which may hold the caller's own request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import field
from itertools import islice
from typing import Any

from pydantic_core import from_json

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.http.dialects.error_words import code_words
from lee_llm_router.providers.http.dialects.json_body import mapping
from lee_llm_router.providers.http.dialects.waits import wait_in_field

_MAX_ITEMS = 200
"""Objects, lists and texts to look at."""
_MAX_TEXT = 65_536
"""Characters to keep of a text."""

_TEXTS = frozenset({
    "message", "msg", "detail", "details", "error", "errors", "error message", "error msg", "err msg", "errmsg",
    "status msg", "status message", "error description", "description", "title", "reason", "cause", "raw", "metadata",
    "innererror", "inner error", "base resp", "upstream error",
})  # fmt: skip
"""Fields that hold a text, or a nested error."""
_CODES = frozenset({
    "code", "type", "status", "error code", "err code", "error type", "status code", "statuscode", "http code",
    "http status", "errorcode",
})  # fmt: skip
"""Fields that hold a code, as letters or as a number."""


_STATUSES = ("status_code", "http_code", "http_status", "error_code", "code", "status")
"""Fields that may hold a failure's status if the response is a 200."""


@dataclass(slots=True)
class ErrorBody:
    """What an error says."""

    texts: list[str] = field(default_factory=list)
    """Its texts, the outermost first."""
    words: list[str] = field(default_factory=list)
    """Texts of a single word, which may be codes."""
    encoded: list[str] = field(default_factory=list)
    """Texts that are JSON; their contents, if any, are among the other texts."""
    codes: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """Numeric codes."""
    params: list[str] = field(default_factory=list)
    """Places in the request that it blames."""
    waits: list[float] = field(default_factory=list)
    """Seconds to wait, from its fields."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of the vendor behind a gateway, by lower-case name."""
    generation: Any = None
    """The model's output, if that is what is wrong."""
    moderated: bool = False
    """Whether it lists findings of a moderation."""
    is_structured: bool = False
    """Whether it is JSON, and not text that any proxy may have written."""

    @property
    def status(self) -> int | None:
        """The HTTP status that it names."""
        return next((number for number in self.numbers if 400 <= number < 600), None)


def read_error(value: Any, now: float) -> ErrorBody:
    """Return what `value` says, a decoded body or error object.

    Args:
        value: Any JSON value; plain text too.
        now: Seconds since 1970.
    """
    found = ErrorBody(is_structured=isinstance(value, (dict, list)))
    queue: deque[tuple[Any, str]] = deque([(value, "")])
    items = 0
    while queue and items < _MAX_ITEMS:
        items += 1
        current, prefix = queue.popleft()
        if isinstance(current, str):
            queue.extend((inner, "") for inner in _text(found, current[:_MAX_TEXT], prefix))
        elif isinstance(current, list):
            queue.extend((inner, prefix) for inner in current[:_MAX_ITEMS])
        elif isinstance(current, dict):
            queue.extend(_fields(found, current, now))
    return found


def _text(found: ErrorBody, text: str, prefix: str) -> Iterator[Any]:
    """Note a text; return the decoded value if it is JSON."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            yield from_json(text)
        except ValueError:
            pass
        else:
            found.encoded.append(text)
            return
    if text.strip():
        is_word = text.isascii() and len(text.split()) == 1
        (found.words if is_word else found.texts).append(f"{prefix}{text.strip()}")


def _fields(found: ErrorBody, fields: Mapping[str, Any], now: float) -> Iterator[tuple[Any, str]]:
    """Note what an object's fields say; return those that may hold more."""
    place = fields.get("loc")
    where = ".".join(map(str, place[:20])) if isinstance(place, list) else ""
    if where:
        found.params.append(where)
    if mapping(fields.get("metadata")).get("reasons"):  # OpenRouter: why its moderation refused
        found.moderated = True
    for key, value in islice(fields.items(), _MAX_ITEMS):
        name = code_words(key)
        if name in _CODES and not key.startswith("@"):
            _code(found, value)
        if name in _TEXTS and isinstance(value, (str, dict, list)):
            yield value, f"{where}: " if where and isinstance(value, str) else ""
        elif name == "param" and isinstance(value, str):
            found.params.append(value[:200])
        elif name == "failed generation":
            found.generation = value
        elif name == "headers" and isinstance(value, dict):
            found.headers |= {
                code_words(k).replace(" ", "-"): str(v)[:200] for k, v in islice(value.items(), _MAX_ITEMS)
            }
        else:
            wait = wait_in_field(name, value, now)
            if wait is not None:
                found.waits.append(wait)


def _code(found: ErrorBody, value: Any) -> None:
    if isinstance(value, str):
        if value.isdecimal() and len(value) < 10:
            found.numbers.append(int(value))
        elif value and " " not in value.strip():
            found.codes.append(value.strip()[:200])
    elif isinstance(value, int) and not isinstance(value, bool):
        found.numbers.append(value)


def is_error(value: Mapping[str, Any], *, has_choices: bool) -> bool:
    """Return whether an object that came with 200 (a whole body or an event) is an error, not an answer.

    Args:
        value: The object.
        has_choices: Whether it has choices. If so, only `error` makes it an error.
    """
    error = value.get("error")
    if error and not (has_choices and _is_success(error)):
        return True
    if "error" in (value.get("object"), value.get("type")):
        return True
    if has_choices:
        return False
    status = mapping(value.get("base_resp")).get("status_code")  # MiniMax
    return bool(status) or value.get("success") is False or any(_is_failure(value.get(name)) for name in _STATUSES)


def _is_success(error: Any) -> bool:
    """Return whether an `error` next to an answer means that there was none: a code of zero and no text."""
    return isinstance(error, dict) and all(part in (0, "0", "", None, False, 200) for part in error.values())


def _is_failure(status: Any) -> bool:
    """Return whether `status` is an HTTP status of a failure."""
    if isinstance(status, str) and len(status) == 3 and status.isdecimal():
        status = int(status)
    return type(status) is int and 400 <= status < 600
