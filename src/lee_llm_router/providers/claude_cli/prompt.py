"""Renders a request for claude: one prompt and one file of instructions. Pure.

The instructions replace claude's own. If there are none, a completion gets `DEFAULT_INSTRUCTIONS` and an agent keeps
claude's. The prompt is the conversation in the form that every agent gets.
"""

from __future__ import annotations

from lee_llm_router.errors import ContextLengthError
from lee_llm_router.providers.agents import prompt as agent_prompt
from lee_llm_router.response.types import LLMRequest

MAX_PROMPT_BYTES = 10 * 1024 * 1024
"""The longest prompt that claude reads from its input, in bytes (measured: one byte more is refused)."""

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
        # Otherwise claude takes it for a command of its own, and asks no model.
        prompt = f"\n{prompt}"
    size = len(prompt.encode())
    if size > MAX_PROMPT_BYTES:
        raise ContextLengthError(f"the prompt has {size} bytes, claude takes {MAX_PROMPT_BYTES}", sent=False)
    return prompt


def render_instructions(request: LLMRequest, *, agent: bool) -> str | None:
    """Return the text for claude's file of instructions; None: claude keeps its own.

    A JSON Schema is stated here: with `--json-schema`, claude would ask the model again if the answer does not match.

    Args:
        request: The request.
        agent: Whether claude has tools, and keeps its own instructions if the request has none.
    """
    return agent_prompt.render_instructions(request, "claude_cli", default="" if agent else DEFAULT_INSTRUCTIONS)
