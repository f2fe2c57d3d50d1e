"""Renders a request as claude takes it: one prompt and one file of instructions. Pure.

The instructions replace claude's own. Without any, a completion gets `DEFAULT_INSTRUCTIONS` and an agent keeps
claude's. The prompt is the conversation as every agent gets it.
"""

from __future__ import annotations

from lee_llm_router.errors import ContextLengthError
from lee_llm_router.providers.agents import prompt as agent_prompt
from lee_llm_router.response.types import LLMRequest

MAX_PROMPT_BYTES = 10 * 1024 * 1024
"""The longest prompt claude reads from its input (measured: one byte more is refused)."""

DEFAULT_INSTRUCTIONS = "Answer the user's message."
"""Instructions for a request that has none: claude would send its own."""


def render_prompt(request: LLMRequest) -> str:
    """Return the prompt for claude's standard input.

    Raises:
        InvalidRequestError: as `render_conversation`.
        ContextLengthError: the prompt is longer than `MAX_PROMPT_BYTES`.
    """
    prompt = agent_prompt.render_conversation(request, "claude_cli")
    if prompt.startswith("/"):
        # Otherwise it is taken for a command of claude itself, and no model is asked.
        prompt = f"\n{prompt}"
    size = len(prompt.encode())
    if size > MAX_PROMPT_BYTES:
        raise ContextLengthError(f"the prompt has {size} bytes, claude takes {MAX_PROMPT_BYTES}", sent=False)
    return prompt


def render_instructions(request: LLMRequest, *, agent: bool) -> str | None:
    """Return the text for claude's file of instructions; None: claude keeps its own.

    A JSON Schema is stated here: `--json-schema` would make claude ask the model again where the answer does not fit.

    Args:
        request: What is asked.
        agent: Whether claude has tools, and keeps its own instructions where the request has none.
    """
    return agent_prompt.render_instructions(request, "claude_cli", default="" if agent else DEFAULT_INSTRUCTIONS)
