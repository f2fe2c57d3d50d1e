"""The compression hook: change the messages before they are sent, to shorten a long history for example.

It is called once for each target of a call, with a copy of the list of messages, and returns the messages to send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from lee_llm_router.response.types import Message

Compressor: TypeAlias = Callable[[list[Message]], Sequence[Message]]


def pass_through(messages: list[Message]) -> Sequence[Message]:
    """Return the messages unchanged: the default hook."""
    return messages


def for_role(compression: Compressor | Mapping[str, Compressor] | None, role: str) -> Compressor | None:
    """Return the hook for `role`, or None if its messages are sent unchanged.

    Args:
        compression: One hook for all roles, or hooks by role name.
        role: Name of the role.
    """
    hook = compression.get(role) if isinstance(compression, Mapping) else compression
    return None if hook is pass_through else hook
