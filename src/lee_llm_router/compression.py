"""A hook over the messages, before they go out: shorten a long history, drop what a model need not see.

The hook is called once for each target of a call, with a list of its own, and returns the messages to send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from lee_llm_router.response import Message

Compressor: TypeAlias = Callable[[list[Message]], Sequence[Message]]


def pass_through(messages: list[Message]) -> Sequence[Message]:
    """Send the messages as they are (the default)."""
    return messages


def for_role(compression: Compressor | Mapping[str, Compressor] | None, role: str) -> Compressor | None:
    """The hook for `role`: one for all roles, or one by role name; None if the messages go out as they are."""
    hook = compression.get(role) if isinstance(compression, Mapping) else compression
    return None if hook is pass_through else hook
