"""Collects what an answer holds besides text, reasoning and tool calls, for `LLMResponse.details`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lee_llm_router._util.lenient_json import whole_characters, whole_text
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.gemini.citations import citations_of
from lee_llm_router.providers.http.dialects.gemini.contents import DIALECT, origin_of
from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.response.details import AnswerDetails, NativeTurn, TokenLogprob

_NOT_CONTENT = frozenset({"thought", "thoughtSignature", "partMetadata"})
_TIERS = {
    "ON_DEMAND": "standard", "ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority",
    "PROVISIONED_THROUGHPUT": "provisioned",
}  # fmt: skip


class Findings:
    """What has been found so far.

    Args:
        reply: The response that holds the answer.
    """

    def __init__(self, reply: HTTPReply) -> None:
        self.id: Any = None
        self.parts: list[dict[str, Any] | str] = []
        """The parts of the content, unchanged; a string for a part that is only text."""
        self._reply = reply
        self._grounding: dict[str, Any] = {}
        self._quoted: list[Any] = []
        self._logprobs: list[TokenLogprob] = []
        self._token: str | None = None

    def note(self, candidate: Mapping[str, Any]) -> None:
        """Record what a candidate says besides its content."""
        if candidate.get("groundingMetadata"):
            self._grounding |= {name: value for name, value in mapping(candidate["groundingMetadata"]).items() if value}
        if candidate.get("citationMetadata"):
            quoted = mapping(candidate["citationMetadata"])
            found = quoted.get("citations") or quoted.get("citationSources")
            self._quoted += found if isinstance(found, list) else ()
        if candidate.get("logprobsResult"):
            self._logprobs += _logprobs(mapping(candidate["logprobsResult"]))
        self._token = string(candidate.get("continuationToken")) or self._token

    def put_together(self) -> None:
        """Join the half characters in the findings."""
        self.parts = whole_characters(merged_parts(self.parts))
        self._grounding, self._quoted = whole_characters(self._grounding), whole_characters(self._quoted)
        self._logprobs = [
            replace(one, token=whole_text(one.token), top=tuple((whole_text(name), value) for name, value in one.top))
            for one in self._logprobs
        ]
        self.id, self._token = whole_characters(self.id), whole_characters(self._token)

    def details(self, reason: str, usage: Mapping[str, Any]) -> AnswerDetails:
        """Return the details of the whole answer.

        Args:
            reason: The vendor's finish reason.
            usage: The usage that it reports.
        """
        is_plain = all(type(part) is str for part in self.parts)
        merged = [] if is_plain else merged_parts(self.parts)
        has_sources = bool(self._grounding or self._quoted)
        return AnswerDetails(
            id=string(self.id),
            parts=_parts(merged),
            citations=citations_of(self.parts, self._grounding, self._quoted) if has_sources else (),
            logprobs=tuple(self._logprobs),
            service_tier=self._tier(usage),
            finish_reason=reason,
            native=self._native(merged),
        )

    def _tier(self, usage: Mapping[str, Any]) -> str | None:
        """Return the tier that served. Headers are read only if the request asked for one."""
        tier = string(usage.get("serviceTier"))
        if tier is None and "trafficType" in usage:
            traffic = str(usage["trafficType"])
            return _TIERS.get(traffic, traffic.lower()[:60])
        request = self._reply.request
        if tier is None and request is not None and request.service_tier is not None:
            return self._reply.headers.get("x-gemini-service-tier")
        return tier

    def _native(self, merged: list[dict[str, Any]]) -> NativeTurn | None:
        """Return the turn in the form that the vendor wants back; None if the text and the calls say it all."""
        request = self._reply.request
        if not merged and self._token is not None:
            merged = merged_parts(self.parts)
        plain = all(part.keys() <= {"text", "thought"} for part in merged)
        if request is None or (plain and self._token is None):
            return None
        settings = self._reply.settings
        model = request.model or getattr(settings, "model", None) or ""
        content = {"parts": merged} | ({"continuation": self._token} if self._token else {})
        return NativeTurn(dialect=DIALECT, origin=origin_of(settings.base_url, model), content=content)


def merged_parts(parts: Sequence[dict[str, Any] | str]) -> list[dict[str, Any]]:
    """Return `parts` with adjacent pieces of one text joined. A part with a signature stays unchanged."""
    found: list[dict[str, Any]] = []
    texts: list[str] = []
    """The pieces of the last part found, if more may be joined to it."""
    for piece in parts:
        part: dict[str, Any] = {"text": piece} if isinstance(piece, str) else piece
        text = part.get("text")
        is_piece = type(text) is str and part.keys() <= {"text", "thought"}
        if is_piece and texts and bool(found[-1].get("thought")) == bool(part.get("thought")):
            texts.append(text)  # type: ignore[arg-type]
            continue
        _close(found, texts)
        found.append(dict(part))
        texts = [text] if is_piece else []  # type: ignore[list-item]
    _close(found, texts)
    return found


def _close(found: list[dict[str, Any]], texts: list[str]) -> None:
    if len(texts) > 1:
        found[-1]["text"] = "".join(texts)


def _parts(merged: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the content as message parts in the OpenAI shape; nothing if it is only text."""
    found = [part for part in map(_message_part, merged) if part is not None]
    return () if all(part["type"] == "text" for part in found) else tuple(found)


def _message_part(part: Mapping[str, Any]) -> dict[str, Any] | None:
    if part.get("thought") is True or "functionCall" in part:
        return None
    if type(part.get("text")) is str:
        return {"type": "text", "text": part["text"]} if part["text"] else None
    data, file = part.get("inlineData"), part.get("fileData")
    if isinstance(data, Mapping):
        return _media(string(data.get("mimeType")) or "application/octet-stream", string(data.get("data")) or "")
    if isinstance(file, Mapping) and string(file.get("fileUri")):
        uri = file["fileUri"]
        is_image = str(file.get("mimeType", "")).startswith("image/")
        return {"type": "image_url", "image_url": {"url": uri}} if is_image else {
            "type": "file", "file": {"file_data": uri}
        }  # fmt: skip
    own = {name: value for name, value in part.items() if name not in _NOT_CONTENT}
    kind = next(iter(own), None)
    return None if kind is None else {"type": kind, **own}


def _media(kind: str, data: str) -> dict[str, Any]:
    if "-" in data or "_" in data:
        data = data.translate({45: 43, 95: 47})
    if kind.startswith("audio/"):
        form = {"audio/mpeg": "mp3", "audio/x-wav": "wav"}.get(kind) or kind.removeprefix("audio/")
        return {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    url = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "file", "file": {"file_data": url}}


def _logprobs(result: Mapping[str, Any]) -> Iterator[TokenLogprob]:
    """Yield the probability of each token chosen."""
    chosen, others = result.get("chosenCandidates"), result.get("topCandidates")
    others = others if isinstance(others, list) else []
    for index, one in enumerate(chosen if isinstance(chosen, list) else ()):
        found = _likelihood(one)
        if found is None:
            continue
        listed = mapping(others[index]).get("candidates") if index < len(others) else None
        top = (_likelihood(other) for other in (listed if isinstance(listed, list) else ()))
        yield TokenLogprob(token=found[0], logprob=found[1], top=tuple(other for other in top if other is not None))


def _likelihood(value: Any) -> tuple[str, float] | None:
    token, logprob = mapping(value).get("token"), mapping(value).get("logProbability", 0.0)
    if type(token) is not str or isinstance(logprob, bool) or not isinstance(logprob, (int, float)):
        return None
    return token, float(logprob)
