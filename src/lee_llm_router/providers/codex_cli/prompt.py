"""Renders a request for codex: one prompt and one file of instructions. Pure.

The instructions replace codex's own. If there are none, a completion gets `DEFAULT_INSTRUCTIONS` and an agent keeps
codex's. The prompt is the conversation in the form that every agent gets.
"""

from __future__ import annotations

from lee_llm_router.errors import ContextLengthError
from lee_llm_router.providers.agents import prompt as agent_prompt
from lee_llm_router.response.types import LLMRequest

MAX_PROMPT = 1_048_576
"""The longest prompt codex accepts, in characters (measured: one more gives `input_too_large`)."""

DEFAULT_INSTRUCTIONS = "Answer the user's message."
"""Instructions for a request that has none: codex refuses an empty file."""


def render_prompt(request: LLMRequest) -> str:
    """Return the prompt for codex's standard input.

    Raises:
        InvalidRequestError: as `render_conversation`.
        ContextLengthError: the prompt is longer than `MAX_PROMPT`.
    """
    prompt = agent_prompt.render_conversation(request, "codex_cli")
    if len(prompt) > MAX_PROMPT:
        raise ContextLengthError(f"the prompt has {len(prompt)} characters, codex takes {MAX_PROMPT}", sent=False)
    return prompt


def render_instructions(request: LLMRequest, *, agent: bool, schema_in_words: bool) -> str | None:
    """Return the text for codex's file of instructions; None: codex keeps its own.

    Args:
        request: The request.
        agent: Whether codex has its tools, and keeps its own instructions if the request has none.
        schema_in_words: Whether to state the JSON Schema here, in addition to `--output-schema` or instead of it.
    """
    default = "" if agent else DEFAULT_INSTRUCTIONS
    return agent_prompt.render_instructions(request, "codex_cli", default=default, schema_in_words=schema_in_words)
