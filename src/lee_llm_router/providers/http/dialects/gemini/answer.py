"""Reads answers: `GenerateContentResponse`, the form of a whole answer and of each event of a stream. Pure.

How this works. An `AnswerReader` takes such objects one by one (a whole answer is a stream of one), and returns a chunk
for each. `finish` checks that the answer is complete, and returns what is known only then: the finish reason, the
usage, the details. So a whole answer and a streamed one cannot differ.

- There is no end mark: an answer is complete if it has a finish reason. Usage may come with it or after it.
- Parts with `thought: true` are reasoning. Pictures, sounds, and code that the vendor ran are parts of `details`.
- A blocked prompt has no candidates, and comes with 200.
- The first of several candidates is the answer; `raw` has all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router._util.lenient_json import read_json, whole_characters, whole_text, written_json
from lee_llm_router._util.numbers import count
from lee_llm_router.errors import ContentFilterError, InvalidResponseError
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.finish_reasons import broken_off, known_word, may_be_empty
from lee_llm_router.providers.http.dialects.gemini.answer_details import Findings
from lee_llm_router.providers.http.dialects.gemini.errors import failure_within
from lee_llm_router.providers.http.dialects.gemini.names import names_back
from lee_llm_router.providers.http.dialects.gemini.partial_calls import PartialCall
from lee_llm_router.providers.http.dialects.json_body import mapping, string
from lee_llm_router.response.types import LLMUsage, StreamChunk, ToolCallDelta, make_chunk, make_usage

_USUAL = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "pause"}
_ABOUT_PART = frozenset({"thought", "thoughtSignature", "partMetadata", "text"})
"""Fields of a part that are not content besides its text."""


class AnswerReader:
    """Reads one answer, piece by piece.

    Args:
        reply: The response that holds it.
    """

    def __init__(self, reply: HTTPReply) -> None:
        self.has_halves = False
        """Whether texts may hold half characters; if so, the final result is joined again."""
        self._reply = reply
        self._request_bytes = reply.request_bytes
        self._is_first = True
        self.is_usual = False
        """Whether `read_usual` is worth trying."""
        self._findings = Findings(reply)
        self._names: dict[str, str] | None = None
        """The caller's names of functions by the names sent, if they differ."""
        self._ids: set[str] = set()
        self._partial: PartialCall | None = None
        self._reason = ""
        self._usage: Any = None
        self._has_text = False
        """Whether a text has come, even an empty one."""
        self._says_something = False
        self._calls = 0

    @property
    def has_ended(self) -> bool:
        """Whether a finish reason has come."""
        return bool(self._reason)

    def read(self, value: Mapping[str, Any]) -> StreamChunk:
        """Return the piece of the answer in an object.

        Raises:
            LLMRouterError: it is an error, or the prompt was refused.
        """
        candidates = value.get("candidates")
        if not candidates or "error" in value:
            candidates = self._without_candidates(value)
        candidate = candidates[0] if type(candidates) is list and len(candidates) == 1 else None
        if type(candidate) is not dict or candidate.get("index"):
            candidate = self._first_of(candidates)
        usage = value.get("usageMetadata")
        if usage:
            self._usage = usage
        content = candidate.get("content")
        parts = content.get("parts") if type(content) is dict else None
        if "finishReason" in candidate or len(candidate) > 2:
            self._note(candidate)
        text, reasoning, in_raw = "", "", False
        tools: tuple[ToolCallDelta, ...] = ()
        if parts:
            part = parts[0] if type(parts) is list and len(parts) == 1 else None
            if type(part) is dict and len(part) == 1 and type(part.get("text")) is str and part["text"]:  # most
                text = part["text"]
                self._has_text = self._says_something = True
                self._findings.parts.append(text)
            else:
                text, reasoning, tools, in_raw = self._read_parts(parts)
        model, request_bytes = value.get("modelVersion"), self._request_bytes
        if self._is_first:
            self._is_first, self._request_bytes = False, None
            self._findings.id = value.get("responseId")
        # Usual events take the fast path once the model is known and a text has come.
        self.is_usual = self._has_text and self._says_something and type(model) is str
        return make_chunk(
            text=text,
            reasoning=reasoning,
            tool_calls=tools,
            model=model if type(model) is str else None,
            request_bytes=request_bytes,
            raw=value,
            output_in_raw=in_raw,
        )

    def read_usual(self, value: Mapping[str, Any]) -> StreamChunk | None:
        """Return the chunk in an event that brings only a text, as nearly all do; otherwise None."""
        candidates = value.get("candidates")
        if type(candidates) is not list or len(candidates) != 1 or "error" in value:
            return None
        candidate = candidates[0]
        if type(candidate) is not dict or len(candidate) > 2 or candidate.get("index") or "finishReason" in candidate:
            return None
        content = candidate.get("content")
        parts = content.get("parts") if type(content) is dict else None
        part = parts[0] if type(parts) is list and len(parts) == 1 else None
        text = part.get("text") if type(part) is dict and len(part) == 1 else None
        if type(text) is not str or not text:
            return None
        usage = value.get("usageMetadata")
        if usage:
            self._usage = usage
        self._findings.parts.append(text)
        return make_chunk(text=text, raw=value)

    def finish(self) -> StreamChunk:
        """Return the last chunk of a complete answer.

        Raises:
            LLMRouterError: it is incomplete, or no answer.
        """
        if not self._reason:
            raise self._broken("ended before the answer was finished (it has no finishReason)")
        reason = _USUAL.get(self._reason) if not self._calls else None
        if reason is None:
            failed = broken_off(self._reply, self._reason)
            if failed is not None:
                raise failed
            reason = known_word(self._reason, calls_tools=self._calls > 0)
        if self._partial is not None:
            raise self._broken("ended in the middle of a function call")
        if not self._says_something and not self._calls and reason not in ("length", "pause"):
            if not self._has_text:
                raise self._broken("ended without text and without tool calls")
            if not may_be_empty(self._reason):
                said = self._reply.quote(self._reason, 60)
                raise self._broken(f"is empty, and ended for an unknown reason ({said})")
        usage = mapping(self._usage)
        if self.has_halves:
            self._findings.put_together()
            usage = whole_characters(usage)
        return make_chunk(
            finish_reason=reason,
            usage=usage_of(usage),
            details=self._findings.details(whole_text(self._reason), usage),
            raw={},
        )

    def _without_candidates(self, value: Mapping[str, Any]) -> Any:
        """Return the candidates of an object that may have none; raise if it is a failure."""
        if value.get("error"):
            raise failure_within(self._reply, value)
        candidates = value.get("candidates")
        feedback = mapping(value.get("promptFeedback"))
        blocked = string(feedback.get("blockReason"))
        if not candidates and blocked is not None and not self._reason:
            said = string(feedback.get("blockReasonMessage"))
            why = f"{blocked}: {said}" if said else blocked
            raise ContentFilterError(
                f"the prompt was refused ({self._reply.quote(why, 200)})", status_code=self._reply.status
            )
        return candidates

    def _first_of(self, candidates: Any) -> Mapping[str, Any]:
        """Return the candidate that is the answer; an empty object if there is none."""
        if not candidates:
            return {}
        if type(candidates) is not list or type(candidates[0]) is not dict:
            raise self._broken("holds malformed candidates")
        if len(candidates) == 1 and not candidates[0].get("index"):
            return candidates[0]
        found = [one for one in candidates if type(one) is dict and not one.get("index")]
        if mapping(self._reply.asked.get("generationConfig")).get("candidateCount"):
            return found[0] if found else {}
        return _as_one(found) if found else candidates[0]

    def _read_parts(self, parts: Any) -> tuple[str, str, tuple[ToolCallDelta, ...], bool]:
        """Return the text, the reasoning and the tool calls in `parts`, and whether they have other content."""
        if type(parts) is not list or not all(type(part) is dict for part in parts):
            raise self._broken("holds malformed parts")
        texts: list[str] = []
        thoughts: list[str] = []
        tools: list[ToolCallDelta] = []
        in_raw = False
        for part in parts:
            text, call = part.get("text"), part.get("functionCall")
            if call is not None:
                tools += self._call(part, call)
                continue
            self._findings.parts.append(part)
            if type(text) is str:
                (thoughts if part.get("thought") is True else texts).append(text)
            if not part.keys() <= _ABOUT_PART:
                in_raw = True
            elif part.get("thought") is not True and type(text) is str:
                self._has_text = True
        text = "".join(texts)
        if text or in_raw:
            self._says_something = True
        return text, "".join(thoughts), tuple(tools), in_raw

    def _call(self, part: dict[str, Any], call: Any) -> list[ToolCallDelta]:
        """Return the tool call in a part; nothing while it is incomplete."""
        if type(call) is not dict:
            raise self._broken("holds a malformed function call")
        if self._partial is not None or call.get("partialArgs") or call.get("willContinue"):
            self._partial = self._partial or PartialCall(part)
            try:
                whole = self._partial.add(call)
            except ValueError as error:
                raise self._broken(f"holds arguments that cannot be put together ({error})") from None
            if whole is None:
                return []
            self._partial, part, call = None, whole, whole["functionCall"]
        name, args = string(call.get("name")), call.get("args")
        if name is None:
            raise self._broken("holds a function call without a name")
        if type(args) is str:
            args = _object_in(args)
        if args is not None and type(args) is not dict:
            raise self._broken("holds a function call whose arguments are not an object")
        self._findings.parts.append(part)
        if self.has_halves:
            name, args = whole_text(name), whole_characters(args)
        call_id = own_id(whole_text(string(call.get("id")) or ""), self._calls, self._ids)
        delta = ToolCallDelta(
            index=self._calls, id=call_id, name=self._own_name(name), arguments=written_json(args or {}).decode()
        )
        self._calls += 1
        return [delta]

    def _own_name(self, name: str) -> str:
        """Return the caller's name of a function."""
        if self._names is None:
            request = self._reply.request
            self._names = {} if request is None else names_back(request.tools)
        return self._names.get(name, name)

    def _note(self, candidate: Mapping[str, Any]) -> None:
        """Record what a candidate says besides its content."""
        reason = candidate.get("finishReason")
        if reason is not None:
            if type(reason) is not str:
                raise self._broken("holds a malformed finish reason")
            # Some servers send STOP with each piece: a more specific reason counts.
            if reason and (not self._reason or broken_off(self._reply, self._reason) is None):
                self._reason = reason
        self._findings.note(candidate)

    def _broken(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(f"the answer {what}", status_code=self._reply.status)


def _as_one(entries: Sequence[dict[str, Any]]) -> Mapping[str, Any]:
    """Return the entries of one candidate as one: some gateways give each part an entry of its own."""
    if len(entries) == 1:
        return entries[0]
    found: dict[str, Any] = {name: value for entry in entries for name, value in entry.items() if value is not None}
    lists = [mapping(entry.get("content")).get("parts") for entry in entries]
    found["content"] = {"parts": [part for parts in lists if isinstance(parts, list) for part in parts]}
    return found


def _object_in(text: str) -> Any:
    """Return what arguments hold that came as JSON text; the text itself where it is none."""
    try:
        return read_json(text.encode()) if text.strip() else None
    except ValueError:
        return text


def own_id(given: str, position: int, taken: set[str]) -> str:
    """Return a unique id for a call within the answer: its given one, if possible."""
    found = given or f"call_{position}"
    while found in taken:
        found = f"{found}_{position}"
    taken.add(found)
    return found


def usage_of(usage: Mapping[str, Any]) -> LLMUsage | None:
    """Return the reported token counts. Google counts thoughts separately from the answer, and tool results from the
    prompt.

    Google's servers omit a count of 0.
    """
    if not usage:
        return None
    prompt, total = count(usage.get("promptTokenCount")), count(usage.get("totalTokenCount"))
    answer = count(usage.get("candidatesTokenCount", usage.get("responseTokenCount")))
    thoughts = count(usage["thoughtsTokenCount"]) if "thoughtsTokenCount" in usage else None
    if prompt is not None and "toolUsePromptTokenCount" in usage:
        prompt += count(usage["toolUsePromptTokenCount"]) or 0
    completion = answer
    if answer is None:
        completion = total - prompt if total is not None and prompt is not None and total >= prompt else thoughts
    elif thoughts and not (prompt is not None and total == prompt + answer and answer >= thoughts):
        completion = answer + thoughts
    found = make_usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total,
        cached_tokens=count(usage["cachedContentTokenCount"]) if "cachedContentTokenCount" in usage else None,
        reasoning_tokens=thoughts,
    )
    return found or None
