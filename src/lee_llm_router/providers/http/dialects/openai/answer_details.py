"""Reads what an answer holds besides text, tool calls and reasoning: pictures, sound, sources, probabilities. Pure.

Chat completions define little of this, so servers have chosen their own places. Sources are in the message's
`annotations` (OpenAI, OpenRouter), next to the choices as `search_results` and `citations` (Perplexity, xAI), or in a
`context` (Azure); pictures are in `images` (OpenRouter, LiteLLM), or parts of the content.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lee_llm_router._util.numbers import count
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.providers.http.dialects.openai.native_turns import native_turn, own_fields
from lee_llm_router.response.details import AnswerDetails, Citation, TokenLogprob

_PLAIN = frozenset(
    {
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "reasoning_content",
        "reasoning",
        "annotations",
        "name",
    }
)
"""Fields of messages that hold nothing but text, calls and reasoning; sources are separate."""
_BESIDE = ("citations", "search_results")
_THINKING = ("thinking", "reasoning", "redacted_thinking")
_MAX_CITATIONS = 1000
_SEGMENT = re.compile(r"[^=]+={0,2}")


def details_of(
    reply: HTTPReply,
    answer: Mapping[str, Any],
    message: Mapping[str, Any],
    *,
    reason: str,
    logprobs: Sequence[TokenLogprob] = (),
    calls: Sequence[Any] = (),
) -> AnswerDetails:
    """Return the details of an answer.

    Args:
        reply: The response that holds it.
        answer: The whole object: fields next to the choices count too.
        message: Its message.
        reason: The vendor's own finish reason.
        logprobs: The probabilities of its tokens.
        calls: Its tool calls, as the server wrote them.
    """
    answer_id, tier = string(answer.get("id")), string(answer.get("service_tier"))
    in_loop = _answers_results(reply)
    is_plain = message.keys() <= _PLAIN and not calls and not message.get("annotations") and not in_loop
    if is_plain and type(message.get("content")) is not list and answer.keys().isdisjoint(_BESIDE):
        return AnswerDetails(id=answer_id, service_tier=tier, finish_reason=reason or None, logprobs=tuple(logprobs))
    parts = tuple(_parts(reply, message))
    return AnswerDetails(
        id=answer_id,
        parts=parts if any(part.get("type") != "text" for part in parts) else (),
        citations=tuple(_citations(answer, message))[:_MAX_CITATIONS],
        logprobs=tuple(logprobs),
        service_tier=tier,
        finish_reason=reason or None,
        native=native_turn(reply, own_fields(message, calls, in_loop=in_loop)),
    )


def _answers_results(reply: HTTPReply) -> bool:
    messages = reply.asked.get("messages")
    last = messages[-1] if isinstance(messages, (list, tuple)) and messages else None
    # Check the most common type first: asking whether it is a Mapping takes as long as the rest of this function.
    return (type(last) is dict or isinstance(last, Mapping)) and last.get("role") == "tool"


def joined_messages(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the entries of one answer as one message; an empty field does not replace an earlier value."""
    return {name: value for message in messages for name, value in message.items() if value}


def transcript_of(message: Mapping[str, Any]) -> str:
    """Return the transcript of a spoken answer; empty if nothing was said."""
    return string(mapping(message.get("audio")).get("transcript")) or ""


def logprobs_of(choice: Mapping[str, Any]) -> Iterator[TokenLogprob]:
    """Yield the probabilities in a choice, whole or a piece; skip those that are not numbers."""
    found = mapping(choice.get("logprobs"))
    content, tokens, numbers = found.get("content"), found.get("tokens"), found.get("token_logprobs")
    if isinstance(content, list):
        for entry in map(mapping, content):
            top = entry.get("top_logprobs")
            pairs = tuple(_pair(one) for one in map(mapping, top if isinstance(top, list) else ()))
            yield from _token(*_pair(entry), tuple(pair for pair in pairs if pair[1] is not None))
    elif isinstance(tokens, list) and isinstance(numbers, list):  # Together, and older servers
        for token, number in zip(tokens, numbers, strict=False):
            yield from _token(token if isinstance(token, str) else None, _logarithm(number), ())


def _pair(entry: Mapping[str, Any]) -> tuple[str | None, float | None]:
    token = entry.get("token")
    return (token if isinstance(token, str) else None), _logarithm(entry.get("logprob"))


def _logarithm(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and -1e6 <= value <= 1e-3 else None


def _token(token: str | None, logprob: float | None, top: tuple[Any, ...]) -> Iterator[TokenLogprob]:
    if token is not None and logprob is not None:
        yield TokenLogprob(token=token, logprob=logprob, top=tuple(pair for pair in top if pair[0] is not None))


def _parts(reply: HTTPReply, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the content in order: text, then the pictures and sound next to it."""
    content = message.get("content")
    if isinstance(content, str) and content:
        yield {"type": "text", "text": content}
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") not in _THINKING:
            yield _picture(part.get("image_url")) or part if part.get("type") == "image_url" else part
    images = message.get("images")
    for image in images if isinstance(images, list) else ():
        picture = _picture(image.get("image_url") or image if isinstance(image, dict) else image)
        if picture is not None:
            yield picture
    audio = mapping(message.get("audio"))
    if audio:
        said, data = transcript_of(message), string(audio.get("data"))
        if said and not content:
            yield {"type": "text", "text": said}
        if data is not None:
            form = string(mapping(reply.asked.get("audio")).get("format")) or "wav"
            yield {"type": "input_audio", "input_audio": {"data": _joined_base64(data), "format": form}}


def _picture(image: Any) -> dict[str, Any] | None:
    """Return a picture as a part: from its URL, or from an object with the URL or the bytes."""
    url = image
    if isinstance(image, dict):
        url, data = image.get("url"), string(image.get("b64_json"))
        url = url or (f"data:image/png;base64,{data}" if data else None)
    return {"type": "image_url", "image_url": {"url": url}} if isinstance(url, str) and url else None


def _joined_base64(data: str) -> str:
    """Return the base64 of data sent in pieces, each of which may have its own padding."""
    if "=" not in data[:-2]:
        return data
    try:
        return b64encode(b"".join(map(b64decode, _SEGMENT.findall(data)))).decode()
    except ValueError:
        return data


def _citations(answer: Mapping[str, Any], message: Mapping[str, Any]) -> Iterator[Citation]:
    annotations = message.get("annotations")
    noted = [cited for cited in map(_annotation, annotations if isinstance(annotations, list) else ()) if cited]
    yield from noted
    places = (answer.get("search_results"), answer.get("citations"), mapping(message.get("context")).get("citations"))
    listed = next((place for place in places if isinstance(place, list) and place), ())
    for source in () if noted else listed:
        cited = Citation(url=source) if isinstance(source, str) and source else _cited(mapping(source))
        if cited is not None:
            yield cited


def _annotation(annotation: Any) -> Citation | None:
    fields = mapping(annotation)
    return _cited(mapping(fields.get("url_citation")) or fields)


def _cited(source: Mapping[str, Any]) -> Citation | None:
    url, title = string(source.get("url")), string(source.get("title"))
    if url is None and title is None:
        return None
    quote = next((text for name in ("content", "snippet", "quote") if (text := string(source.get(name)))), None)
    start, end = count(source.get("start_index")), count(source.get("end_index"))
    return Citation(url=url, title=title, quote=quote, start=start, end=end)
