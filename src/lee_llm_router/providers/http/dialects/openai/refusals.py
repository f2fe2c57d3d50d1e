"""Reads from a 400 that a server does not accept an option, or wants it in another form. Pure.

Models accept different options, and change without notice: newer OpenAI models refuse `temperature`, want another name
for the token limit, and know only some words for `reasoning_effort`. Servers share no error code for that, but they all
name the option, and say no near its name. An invalid value (a temperature of 7) is not such a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.openai.settings import OpenAIChatConfig
from lee_llm_router.providers.http.dialects.openai.structured_output import error_texts
from lee_llm_router.response.types import REASONING_EFFORTS, LLMRequest

_LEFT_OUT = (
    "temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "logprobs",
    "top_logprobs", "reasoning_effort", "service_tier", "parallel_tool_calls",
)  # fmt: skip
"""Options that an answer can do without."""
_READ = 4096
_NO = re.compile(
    r"not (?:\w+ ){0,2}(?:supported|available|permitted|allowed|implemented|enabled|recogni[sz]ed|known|compatible)"
    r"|(?:not|n't) (?:\w+ )?(?:support|allow|accept|recogni[sz]e|implement|take)\b"
    r"|un(?:supported|available|known|recogni[sz]ed|expected|implemented)|incompatible|deprecated"
    r"|extra (?:inputs|fields)|extra_forbidden|cannot find field|only the default|cannot both"
)
_BOUNDS = ("max_tokens", "max_completion_tokens")
_WORD = re.compile(r"""['"`](\w+)['"`]""")


class NamedFields(Protocol):
    """Settings that say which fields carry options."""

    def field_of(self, option: str) -> str:
        """Return the name of the body field that carries `option`."""
        ...


def options_refused(request: LLMRequest, settings: NamedFields, reply: HTTPReply) -> tuple[str, ...]:
    """Return the options of `request` that the server does not accept, according to `reply`."""
    sent = [name for name in _LEFT_OUT if request.asks_for(name) and settings.field_of(name) in reply.asked]
    for text, param in _refusals(reply) if sent else ():
        blamed = [name for name in sent if _names(param, settings.field_of(name))]
        named = blamed or [name for name in sent if _names(text, settings.field_of(name))]
        if "cannot both" in text and len(named) > 1:
            named = named[-1:]
        if named:
            return tuple(named)
    return ()


def settings_wanted(settings: OpenAIChatConfig, reply: HTTPReply) -> dict[str, Any]:
    """Return new values of settings with which the server would accept the same request, according to `reply`."""
    for text, param in _refusals(reply):
        bound = next((name for name in _BOUNDS if name in reply.asked and _blames(text, param, name)), None)
        if bound is not None:
            return {"max_tokens_field": _BOUNDS[1 - _BOUNDS.index(bound)]}
        if "stream_options" in reply.asked and settings.stream_usage and _blames(text, param, "stream_options"):
            return {"stream_usage": False}
    field = settings.field_of("reasoning_effort")
    efforts = efforts_known(reply, field, reply.asked.get(field))
    return {"reasoning_efforts": efforts} if efforts else {}


def efforts_known(reply: HTTPReply, field: str, asked: Any) -> tuple[str, ...]:
    """Return the words for `reasoning_effort` that `reply` accepts instead of `asked`, which was sent in `field`."""
    for text, param in _errors(reply) if asked is not None else ():
        if _blames(text, param, field):
            known = tuple(dict.fromkeys(word for word in _WORD.findall(text) if word != asked))
            if set(known) & set(REASONING_EFFORTS):
                return known
    return ()


def _errors(reply: HTTPReply) -> Iterator[tuple[str, str]]:
    """Yield the text of each error in a 400, and what it blames."""
    if reply.status in (400, 422):
        for fields, text in error_texts(reply.body):
            yield text.lower()[:_READ], _param(fields).lower()


def _refusals(reply: HTTPReply) -> Iterator[tuple[str, str]]:
    return ((text, param) for text, param in _errors(reply) if _NO.search(text))


def _param(fields: Mapping[str, Any]) -> str:
    place = fields.get("param") or fields.get("loc")
    if isinstance(place, list) and place:
        place = place[-1]
    return place if isinstance(place, str) else ""


def _blames(text: str, param: str, name: str) -> bool:
    """Whether an error is about the field `name`: the one that it blames, or else the first that it mentions."""
    if param:
        return _names(param, name)
    places = {other: _place(text, other) for other in (*_BOUNDS, *_LEFT_OUT, "stream_options", name)}
    named = {other: place for other, place in places.items() if place >= 0}
    return bool(named) and min(named, key=lambda other: named[other]) == name


def _names(text: str, name: str) -> bool:
    return _place(text, name) >= 0


def _place(text: str, name: str) -> int:
    """Return where `text`, in lower case, names a field, in any spelling (presencePenalty); -1 if it does not."""
    found = re.search(rf"(?<![a-z0-9_]){name.lower().replace('_', '_?')}(?![a-z0-9_])", text)
    return found.start() if found else -1
