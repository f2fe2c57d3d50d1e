"""Writes a caller's messages as Gemini's `contents` and `systemInstruction`. Pure.

How this works. Most calls are plain alternating texts, and are written directly (`_plain`). All others go through
`conversation_of`, which puts any history into an order that vendors accept. Then

- an answer from the same host and model goes back unchanged (`NativeTurn`): parts with their thought signatures;
- other answers are rewritten. From generation 3 on, the first function call of each must have a signature, so it gets
  the one that means "made elsewhere";
- results are in the order of their calls, each with the id that its call was sent with;
- the first and the last turn are the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.lenient_json import read_json
from lee_llm_router.providers.http.dialects.conversation import (
    CallItem,
    ContentItem,
    Conversation,
    Item,
    LegalIds,
    MediaItem,
    OtherItem,
    ResultItem,
    TextItem,
    Turn,
    conversation_of,
)
from lee_llm_router.providers.http.dialects.gemini.media import media_part, own_part
from lee_llm_router.providers.http.dialects.gemini.models import ModelTraits
from lee_llm_router.providers.http.dialects.gemini.names import legal_name
from lee_llm_router.providers.http.dialects.gemini.native_parts import of_an_answer
from lee_llm_router.providers.http.settings import server_of
from lee_llm_router.response.details import NATIVE_FIELD, native_content, native_origin
from lee_llm_router.response.types import Message

DIALECT = "gemini"
NO_SIGNATURE = "skip_thought_signature_validator"
"""What Google accepts instead of the signature of a function call that another model made."""
BEFORE = "Begin."
"""The user's turn before a conversation that begins with the assistant's."""
GO_ON = "Go on from exactly where your last message ends. Do not repeat any of it."
"""The user's turn after a conversation that ends with the assistant's."""

_IDS = LegalIds(None, max_length=256)
_PLAIN_FIELDS = frozenset({"role", "content", "cache", "name"})


@dataclass(slots=True)
class Written:
    """The messages of a call, in the body's form."""

    contents: list[dict[str, Any]]
    system: list[dict[str, Any]] = field(default_factory=list)
    """The parts of the system instruction."""
    continuation: str | None = None
    """The token to continue an interrupted answer with."""


def origin_of(base_url: str, model: str) -> str:
    """Return the host and the model, for which signatures are valid."""
    return native_origin(server_of(base_url), model)


def written(
    messages: Sequence[Message], traits: ModelTraits, base_url: str, model: str, *, more_system: str | None = None
) -> Written:
    """Return `messages` as `contents` and system instruction.

    Args:
        messages: The messages.
        traits: What the model accepts.
        base_url: Where the request goes.
        model: The name of the model.
        more_system: A text to add to the system instruction.

    Raises:
        InvalidRequestError: a part for a picture, a sound or a file holds none.
    """
    found = _plain(messages) or _Writer(traits, base_url, origin_of(base_url, model)).write(messages)
    if more_system:
        found.system.append({"text": more_system})
    if found.system and not (traits.takes_system and found.contents):
        # If there are only instructions, they become the user's message: some models accept no other.
        first = found.contents[:1] or [{"role": "user", "parts": []}]
        found.contents[:1] = [{"role": "user", "parts": [*found.system, *first[0]["parts"]]}]
        found.system = []
    return found


def _plain(messages: Sequence[Message]) -> Written | None:
    """Return `messages` if they are alternating texts of user and assistant, the user first and last; otherwise
    None."""
    found = Written([])
    last = "model"
    for message in messages:
        text, role = message.get("content"), message.get("role")
        if type(text) is not str or not text or text.isspace() or not message.keys() <= _PLAIN_FIELDS:
            return None
        if role == "system":
            found.system.append({"text": text})
            continue
        role = "model" if role == "assistant" else role
        if role == last or role not in ("user", "model"):
            return None
        last = role
        found.contents.append({"role": role, "parts": [{"text": text}]})
    return found if last == "user" else None


class _Writer:
    """Writes one conversation for one model."""

    def __init__(self, traits: ModelTraits, base_url: str, origin: str) -> None:
        self._traits = traits
        self._base_url = base_url
        self._origin = origin
        self._calls: dict[str, tuple[int, str | None, str]] = {}
        """The calls of the last turn by their ids in the conversation: position, and the id and name sent."""

    def write(self, messages: Sequence[Message]) -> Written:
        """Return the messages in the body's form."""
        conversation = conversation_of(messages, _IDS, keeps=self._is_own)
        found = Written([], [{"text": item.text} for item in conversation.system])
        found.continuation = self._taken_up(conversation)
        for turn in conversation.turns:
            parts = self._answer(turn) if turn.role == "assistant" else self._said(turn.items)
            if parts:
                found.contents.append({"role": "model" if turn.role == "assistant" else "user", "parts": parts})
        if found.contents and found.contents[0]["role"] == "model":
            found.contents.insert(0, {"role": "user", "parts": [{"text": BEFORE}]})
        if found.contents and found.contents[-1]["role"] == "model":
            found.contents.append({"role": "user", "parts": [{"text": GO_ON}]})
        if not found.contents and not found.system:
            found.contents.append({"role": "user", "parts": [{"text": BEFORE}]})
        return found

    def _is_own(self, message: Message) -> bool:
        """Return whether a message is an answer to send back unchanged, even if it has neither text nor calls."""
        return NATIVE_FIELD in message and self._native(message) is not None

    def _native(self, message: Message) -> Mapping[str, Any] | None:
        content = native_content(message, DIALECT, self._origin)
        if not isinstance(content, Mapping) or not isinstance(content.get("parts"), Sequence):
            return None
        return content if all(map(of_an_answer, content["parts"])) else None

    def _taken_up(self, conversation: Conversation) -> str | None:
        """Return the token that continues the last turn, and remove that turn: the server knows it."""
        turn = conversation.turns[-1] if conversation.turns else None
        if turn is None or turn.role != "assistant" or not turn.sources:
            return None
        token = (self._native(turn.sources[-1][0]) or {}).get("continuation")
        if not isinstance(token, str) or not token:
            return None
        conversation.turns.pop()
        return token

    def _answer(self, turn: Turn) -> list[dict[str, Any]]:
        """Return the parts of an assistant turn."""
        self._calls = {}
        parts: list[dict[str, Any]] = []
        for message, items in turn.sources:
            native = self._native(message)
            parts += self._as_it_came(native, items) if native is not None else self._anew(items)
        if self._traits.needs_signatures:
            for part in parts:
                if "functionCall" in part:
                    part.setdefault("thoughtSignature", NO_SIGNATURE)
                    break
        return parts

    def _as_it_came(self, native: Mapping[str, Any], items: Sequence[Item]) -> list[dict[str, Any]]:
        parts = [dict(part) for part in native["parts"]]
        sent = [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), Mapping)]
        calls = [item.call for item in items if isinstance(item, CallItem)]
        if len(sent) != len(calls):
            return self._anew(items)
        for call, function in zip(calls, sent, strict=True):
            self._note(call.id, function.get("id"), str(function.get("name") or ""))
        return parts

    def _anew(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for item in items:
            if isinstance(item, CallItem):
                name = legal_name(item.call.name)
                self._note(item.call.id, item.call.id, name)
                ids = {} if "ids" in self._traits.refused else {"id": item.call.id}
                function = {**ids, "name": name, "args": _object_in(item.call.arguments)}
                parts.append({"functionCall": function})
            elif isinstance(item, TextItem):
                parts.append({"text": item.text})
            elif isinstance(item, MediaItem):
                parts.append(media_part(item.media, self._base_url))
            # Anything else in another vendor's answer is for that vendor only.
        return parts

    def _note(self, call_id: str, sent_id: Any, name: str) -> None:
        is_sent = isinstance(sent_id, str) and "ids" not in self._traits.refused
        self._calls[call_id] = len(self._calls), sent_id if is_sent else None, name

    def _said(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Return the parts of a user turn: results in the order of their calls, then the user's own content."""
        results = [item for item in items if isinstance(item, ResultItem)]
        results.sort(key=lambda item: self._calls.get(item.call_id, (len(self._calls),))[0])
        beside: list[dict[str, Any]] = []
        parts = [self._result(item, beside) for item in results]
        said = [part for item in items if not isinstance(item, (ResultItem, CallItem)) for part in self._content(item)]
        return [*parts, *beside, *said]

    def _result(self, item: ResultItem, beside: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a result as a part; what it cannot hold goes into `beside`, which follows all results."""
        _, sent_id, name = self._calls.get(item.call_id, (0, item.call_id, legal_name(item.name)))
        texts = [_text_of(one) for one in item.content if not isinstance(one, MediaItem)]
        response: dict[str, Any] = {"error" if item.is_error else "result": "\n".join(texts)}
        found: dict[str, Any] = {"name": name, "response": response}
        if sent_id is not None:
            found["id"] = sent_id
        media = [media_part(one.media, self._base_url) for one in item.content if isinstance(one, MediaItem)]
        held = [part for part in media if self._traits.takes_media_in_results and _fits_result(part)]
        if held:
            found["parts"] = held
        beside += [part for part in media if part not in held]
        return {"functionResponse": found}

    def _content(self, item: ContentItem) -> Iterator[dict[str, Any]]:
        if isinstance(item, TextItem):
            yield {"text": item.text}
        elif isinstance(item, MediaItem):
            yield media_part(item.media, self._base_url)
        else:
            part = own_part(item.part, self._base_url)
            if part is not None:
                yield part


def _text_of(item: TextItem | OtherItem | MediaItem) -> str:
    """Return the text of a result, with parts of unknown kinds as JSON."""
    if isinstance(item, TextItem):
        return item.text
    from lee_llm_router.providers.http.dialects.json_body import encode_json  # noqa: PLC0415 - rare

    return encode_json(item.part).decode() if isinstance(item, OtherItem) else ""


def _fits_result(part: Mapping[str, Any]) -> bool:
    """Return whether a result may hold a part itself: pictures and documents."""
    kind = str(next(iter(part.values())).get("mimeType", ""))
    return kind.startswith(("image/", "application/pdf", "text/"))


def _object_in(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call as an object, which Gemini requires; any other value is put inside one."""
    try:
        value = read_json(arguments.encode("utf-8", "surrogatepass")) if arguments.strip() else {}
    except ValueError:
        value = arguments
    return value if isinstance(value, dict) else {"arguments": value}
