"""The parts of an answer that go back to its model, in their own form. Pure.

The API stores nothing (`store: false`). So reasoning survives only as encrypted content that is sent back, and a
message keeps its `phase` only if the phase is. What the API refuses when it comes back is left out when the answer is
kept:

- the API looks for reasoning without any content in its store, and does not find it;
- it refuses the id of an item that followed such reasoning if the reasoning is missing, so the item loses its id;
- it refuses reasoning that nothing follows;
- it does not know fields that are null;
- JSON cannot express everything: then nothing of the answer is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lee_llm_router.errors import InvalidRequestError
from lee_llm_router.providers.http.dialects.json_body import encode_json

DIALECT = "openai_responses"

CALLS = frozenset({"function_call", "custom_tool_call"})


def kind_of(item: Mapping[str, Any]) -> str:
    """Return the type of an item, a part or an annotation; empty if it has none."""
    kind = item.get("type")
    return kind if type(kind) is str else ""


_OF_CALLERS = re.compile(
    r"(?:function_call|custom_tool_call|computer_call|local_shell_call|shell_call|apply_patch_call)_output"
    r"|item_reference|mcp_approval_response|additional_tools|input_\w+|"
)
"""Types of items that only the caller writes."""
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "message": {"role": str},
    "function_call": {"name": str, "arguments": str},
    "custom_tool_call": {"name": str, "input": str},
    "reasoning": {"summary": list},
}
"""The least that items of an answer hold."""
_PARTS = {"output_text": "text", "refusal": "refusal"}
_PLAIN_CALL = frozenset({"type", "id", "call_id", "name", "arguments", "status"})
_PLAIN_MESSAGE = frozenset({"type", "id", "role", "content", "status"})


def native_items(output: Sequence[Any]) -> list[dict[str, Any]] | None:
    """Return the items of an answer that go back; None if its text and calls say the same."""
    if all(map(_is_plain, output)):
        return None
    kept: list[dict[str, Any]] = []
    loses_ids = False
    for item in output:
        if item.get("type") == "reasoning" and not item.get("encrypted_content") and not item.get("content"):
            loses_ids = True
            continue
        item = {name: value for name, value in item.items() if value is not None}  # noqa: PLW2901
        if loses_ids and kind_of(item) in CALLS:
            item.pop("id", None)
        kept.append(item)
    while kept and kept[-1].get("type") == "reasoning":
        kept.pop()
    if loses_ids:
        kept = [easy for item in kept if (easy := _easy(item)).get("content") != ""]
    try:
        encode_json({"items": kept})
    except InvalidRequestError:  # for example an infinite number
        return None
    return kept or None


def _is_plain(item: Any) -> bool:
    """Return whether an item says no more than the text and the calls of its answer."""
    kind = kind_of(item)
    if kind == "message":
        return all(value is None or name in _PLAIN_MESSAGE for name, value in item.items())
    return kind == "function_call" and all(value is None or name in _PLAIN_CALL for name, value in item.items())


def _easy(item: dict[str, Any]) -> dict[str, Any]:
    """Return a message without its id, which requires the long form."""
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, list):
        return item
    texts = (part.get("text") for part in content if isinstance(part, dict))
    easy = {"type": "message", "role": "assistant", "content": "".join(text for text in texts if isinstance(text, str))}
    return easy | ({"phase": item["phase"]} if "phase" in item else {})


def _of_an_answer(item: Any) -> bool:
    """Return whether an answer of the API may hold `item`.

    Anybody may have written what a store kept; whatever else it contains, it speaks as the model.
    """
    if not isinstance(item, dict) or item.get("role", "assistant") != "assistant":
        return False
    kind = kind_of(item)
    if _OF_CALLERS.fullmatch(kind) or not all(type(item.get(n)) is of for n, of in _FIELDS.get(kind, {}).items()):
        return False
    if type(item.get("id", "")) is not str or not item.get("name", "-"):
        return False
    content = item.get("content")
    if kind != "message" or type(content) is str:
        return bool(content) or kind != "message"
    return isinstance(content, list) and bool(content) and all(map(_is_said, content))


def _is_said(part: Any) -> bool:
    """Return whether a part of a message is from the assistant."""
    return isinstance(part, dict) and type(part.get(_PARTS.get(kind_of(part), ""))) is str


def items_to_send_back(content: Any, call_ids: Sequence[str]) -> list[dict[str, Any]] | None:
    """Return kept items with the calls' current ids; None if they do not belong to the message.

    Args:
        content: What `native_items` returned, perhaps from a store.
        call_ids: The outgoing ids of the message's calls, in order.
    """
    if not isinstance(content, (list, tuple)) or not content or not all(map(_of_an_answer, content)):
        return None
    left = list(call_ids)
    items = []
    for item in content:
        if kind_of(item) in CALLS:
            if not left:
                return None
            item = {**item, "call_id": left.pop(0)}  # noqa: PLW2901
        items.append(item)
    return None if left else items
