"""Provider input and output: requests, messages and answers."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.response.types import (
        MESSAGE_ROLES,
        REASONING_EFFORTS,
        UNREPORTED,
        LLMRequest,
        LLMResponse,
        LLMUsage,
        Message,
        StreamChunk,
        ToolCall,
        ToolCallDelta,
        ToolResult,
        bind_to_call,
        is_instruction,
        message_parts,
        message_text,
        message_tool_calls,
        message_tool_result,
        needs_content_parts,
        system_text,
        with_provider,
    )
else:
    __getattr__ = loaded_when_asked(__name__, "lee_llm_router.response.types")

__all__ = [
    "MESSAGE_ROLES",
    "REASONING_EFFORTS",
    "UNREPORTED",
    "LLMRequest",
    "LLMResponse",
    "LLMUsage",
    "Message",
    "StreamChunk",
    "ToolCall",
    "ToolCallDelta",
    "ToolResult",
    "bind_to_call",
    "is_instruction",
    "message_parts",
    "message_text",
    "message_tool_calls",
    "message_tool_result",
    "needs_content_parts",
    "system_text",
    "with_provider",
]
