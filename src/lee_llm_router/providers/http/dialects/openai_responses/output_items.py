"""Reads the output items of an answer: texts, calls, reasoning, citations, pictures. Pure.

How this works. An answer is a list of items, each with a type. `read_output` reads them once:

- `message`: its `output_text` parts are the text. A message whose `phase` is `commentary` was written on the way to the
  answer and counts as reasoning. Of several with the phase `final_answer` the last is the text. If an answer has
  neither text nor calls, its last commentary is the text as well;
- `function_call` and `custom_tool_call`: calls of the caller's tools;
- `reasoning`: its content, or else its summary;
- `image_generation_call`: a picture;
- all others, from a server's own tools or of an unknown type, become parts unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.lenient_json import whole_text
from lee_llm_router._util.numbers import count
from lee_llm_router.providers.http.dialects.base import HTTPReply
from lee_llm_router.providers.http.dialects.json_body import invalid_answer, mapping, string
from lee_llm_router.providers.http.dialects.openai.tool_calls import arguments_text, with_own_ids
from lee_llm_router.providers.http.dialects.openai_responses.native_turn import CALLS, kind_of
from lee_llm_router.response.details import Citation, TokenLogprob
from lee_llm_router.response.types import ToolCall

COMMENTARY, FINAL_ANSWER = "commentary", "final_answer"
BETWEEN = "\n\n"
"""Separates pieces of reasoning that do not belong together."""

TEXTS = frozenset({"output_text", "text", "input_text"})
"""Types of parts that are text. Some servers use the type of chat completions."""
_ALONE_NO_ANSWER = frozenset({
    "web_search_call", "file_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools", "tool_search_call",
    "tool_search_output", "program", "program_output", "additional_tools", "compaction", "image_generation_call",
})  # fmt: skip
"""Items of a server's own tools: steps towards an answer, but none by themselves."""
_FORMATS = {"jpg": "jpeg", "svg": "svg+xml"}


@dataclass(slots=True)
class Output:
    """The contents of an answer's items."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    refusal: str = ""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Empty if the answer is one text."""
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    has_content: bool = False
    """Whether there is any content: a text, even an empty one, a picture, an item that requires action."""
    says_more: bool = False
    """Whether there is content other than text."""


def read_output(reply: HTTPReply, output: Sequence[Any], *, cut: bool = False) -> Output:
    """Return the contents of the items `output`.

    Args:
        reply: The response that holds them.
        output: The items, as the server wrote them.
        cut: Whether the answer was cut by length; if so, missing arguments of a call do not count as empty.

    Raises:
        InvalidResponseError: an item is malformed.
    """
    if len(output) == 1 and type(output[0]) is dict:
        text = _lone_text(output[0])
        if text is not None:
            return Output(text=text, has_content=True)
    reader = _Reader(reply, cut)
    for number, item in enumerate(output):
        if type(item) is not dict:
            raise invalid_answer(reply, f"malformed (output[{number}] is not an object)")
        reader.add(item)
    return reader.result()


def _lone_text(item: dict[str, Any]) -> str | None:
    """Return the text of an answer that is only one text, as nearly all are; None for others."""
    content = item.get("content")
    if item.get("type") != "message" or type(content) is not list or len(content) != 1 or item.get("phase"):
        return None
    part = content[0]
    if type(part) is not dict or part.get("type") != "output_text" or part.get("annotations") or part.get("logprobs"):
        return None
    text = part.get("text")
    return text if type(text) is str else None


@dataclass(slots=True)
class _Text:
    """One text of the answer, with its annotations."""

    text: str
    phase: str | None = None
    annotations: Sequence[Any] = ()
    logprobs: Sequence[Any] = ()


@dataclass(slots=True)
class _Reader:
    """Reads the items of an answer one by one."""

    reply: HTTPReply
    cut: bool
    messages: list[list[_Text]] = field(default_factory=list)
    """The texts of each message."""
    thoughts: list[str | list[_Text]] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    parts: list[Mapping[str, Any] | _Text] = field(default_factory=list)
    says_more: bool = False

    def add(self, item: dict[str, Any]) -> None:
        """Read one item."""
        kind = kind_of(item)
        if kind == "message" or (not kind and "content" in item):
            self._add_message(item)
        elif kind in CALLS:
            self.calls.append(_call(self.reply, item, len(self.calls), cut=self.cut))
        elif kind == "reasoning":
            self.thoughts += thoughts_of(item)
        else:
            url = picture_of(item)
            self.parts.append(item if url is None else {"type": "image_url", "image_url": {"url": url}})
            self.says_more = self.says_more or url is not None or kind not in _ALONE_NO_ANSWER

    def _add_message(self, item: Mapping[str, Any]) -> None:
        content, phase = item.get("content"), string(item.get("phase"))
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        if content is not None and not isinstance(content, list):
            raise invalid_answer(self.reply, "malformed (the content of a message is not a list)")
        texts: list[_Text] = []
        for part in content or ():
            kind = kind_of(mapping(part))
            if kind in TEXTS and isinstance(part.get("text"), str):
                text = _Text(part["text"], phase, part.get("annotations") or (), part.get("logprobs") or ())
                texts.append(text)
                self.parts.append(text)
            elif kind == "refusal":
                self.refusals.append(string(part.get("refusal")) or "")
            elif isinstance(part, dict):
                self.parts.append(part)
                self.says_more = True
        if texts:
            self.messages.append(texts)
            if phase == COMMENTARY:
                self.thoughts.append(texts)

    def result(self) -> Output:
        """Return the contents of all items."""
        chosen = self._chosen()
        text = "".join(one.text for one in chosen) if len(chosen) != 1 else chosen[0].text
        thoughts = [one if isinstance(one, str) else "".join(text.text for text in one) for one in self.thoughts]
        plain = len(self.parts) == 1 and isinstance(self.parts[0], _Text) and self.parts[0].phase != COMMENTARY
        return Output(
            text=text,
            calls=with_own_ids(self.calls),
            reasoning=BETWEEN.join(thought for thought in thoughts if thought) or None,
            refusal="".join(self.refusals),
            parts=() if plain else tuple(_shown(part) for part in self.parts),
            citations=_citations(chosen),
            logprobs=tuple(one for text in chosen if text.logprobs for one in logprobs_of(text.logprobs)),
            has_content=bool(self.messages) or self.says_more,
            says_more=self.says_more,
        )

    def _chosen(self) -> list[_Text]:
        """Return the texts that belong to the answer."""
        messages = self.messages
        if len(messages) == 1 and messages[0][0].phase != COMMENTARY:
            return messages[0]
        final = [texts for texts in messages if texts[0].phase == FINAL_ANSWER]
        if final:
            return final[-1]
        chosen = [text for texts in messages if texts[0].phase != COMMENTARY for text in texts]
        if not chosen and not self.calls and messages:
            return messages[-1]
        return chosen


def thoughts_of(item: Mapping[str, Any]) -> list[str]:
    """Return the texts of a reasoning item: its content, or else its summary."""
    for name in ("content", "summary"):
        value = item.get(name)
        if isinstance(value, str) and value:
            return [value]
        texts = (
            [text for part in value if (text := string(mapping(part).get("text")))] if isinstance(value, list) else []
        )
        if texts:
            return texts
    return []


def call_id_of(item: Mapping[str, Any]) -> str | None:
    """Return the id that a call's result refers to."""
    return string(item.get("call_id")) or string(item.get("id"))


def input_of(item: Mapping[str, Any]) -> Any:
    """Return the arguments of a call, or the free text of a custom one, as the server wrote them."""
    return item.get("arguments") if item.get("type") != "custom_tool_call" else item.get("input")


def _call(reply: HTTPReply, item: Mapping[str, Any], number: int, *, cut: bool) -> ToolCall:
    name = string(item.get("name"))
    if name is None:
        raise invalid_answer(reply, f"malformed (call {number} names no function)")
    arguments = arguments_text(input_of(item))
    if not arguments.strip() and not cut and item.get("type") == "function_call":
        arguments = "{}"
    # Some local servers send no ids; the position is enough to match call and result.
    return ToolCall(id=call_id_of(item) or f"call_{number}", name=name, arguments=arguments)


def picture_of(item: Mapping[str, Any]) -> str | None:
    """Return the picture in an item as a data URL; None if it has none."""
    result = item.get("result")
    if item.get("type") != "image_generation_call" or not isinstance(result, str) or not result:
        return None
    if result.startswith(("data:", "https://", "http://")):
        return result
    form = string(item.get("output_format")) or "png"
    return f"data:image/{_FORMATS.get(form, form)};base64,{result}"


def _shown(part: Mapping[str, Any] | _Text) -> Mapping[str, Any]:
    if not isinstance(part, _Text):
        return part
    return {"type": "text", "text": part.text} | ({"phase": part.phase} if part.phase else {})


def _citations(texts: Sequence[_Text]) -> tuple[Citation, ...]:
    found, offset = [], 0
    for text in texts:
        if isinstance(text.annotations, list):
            found += [one for note in text.annotations if (one := citation_of(note, offset)) is not None]
        offset += len(text.text)
    return tuple(found)


def citation_of(note: Any, offset: int = 0) -> Citation | None:
    """Return the source that an annotation names; its text begins at `offset`. None if it names none."""
    note = mapping(note)
    # Chat completions nest it under its type.
    inner = mapping(note.get(kind_of(note)))
    note = {**note, **inner}
    url = string(note.get("url"))
    title = string(note.get("title")) or string(note.get("filename")) or string(note.get("file_id"))
    if url is None and title is None:
        return None
    start, end = count(note.get("start_index")), count(note.get("end_index"))
    return Citation(
        url=url,
        title=title,
        quote=string(note.get("quote")) or string(note.get("content")) or string(note.get("text")),
        start=None if start is None else start + offset,
        end=None if end is None else end + offset,
    )


def logprobs_of(found: Any) -> list[TokenLogprob]:
    """Return the probabilities in a list of tokens, without invalid ones."""
    if not isinstance(found, list):
        return []
    tokens = []
    for one in map(mapping, found):
        pair = _pair(one)
        if pair is not None:
            likeliest = one.get("top_logprobs")
            top = [_pair(mapping(other)) for other in likeliest] if isinstance(likeliest, list) else []
            tokens.append(TokenLogprob(token=pair[0], logprob=pair[1], top=tuple(p for p in top if p is not None)))
    return tokens


def _pair(one: Mapping[str, Any]) -> tuple[str, float] | None:
    token, logprob = one.get("token"), one.get("logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, (int, float)):
        return None
    return whole_text(token), float(logprob)
