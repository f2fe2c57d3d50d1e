"""Renders a request for gemini: one prompt and one file of instructions. Pure except for looking at the disk.

Gemini acts on parts of a prompt before the model sees it. The text must do nothing here, and reach the model unchanged.
So:

- A prompt that begins with a slash (``/quit``) is a command; a newline before it makes it text. Comments are not
  commands.
- ``@path`` anywhere inserts the file or folder `path` into the prompt, if gemini may read it. Gemini leaves the text
  alone if there is no such path. So invisible characters (word joiners) go only into paths that may exist: addresses,
  decorators and names of packages stay unchanged.
- In instructions, gemini fills in ``${AvailableTools}`` and the like; a space makes them text.
"""

from __future__ import annotations

import re
from pathlib import Path

from lee_llm_router.errors import ContextLengthError
from lee_llm_router.providers.agents import prompt as agent_prompt
from lee_llm_router.response.types import LLMRequest

MAX_PROMPT = 8 * 1024 * 1024
"""The longest prompt in bytes: gemini drops the rest, and only warns."""
LONG_PROMPT = 1_000_000
"""Size in bytes of a prompt that may be too long if a run sent no request: gemini then ends successfully, without a
message."""

DEFAULT_INSTRUCTIONS = "Answer the user's message."
"""Instructions for a request that has none; they replace those of a software agent."""

_JOINER = "\u2060"
# What gemini finds, except for a dot at the end. Reads each character once, so that no text takes long.
_PATH = re.compile(r'(?<!\\)@((?:"[^"]*"|\\[^\n\r\u2028\u2029]|[^ \t\n\r,;!?()\[\]{}])+)')
_LEADS_ELSEWHERE = re.compile(r"\.\.|[\\\"]|^\.+/|^/(?:proc|dev)\b")
_BEHIND = ".'`:<>|*"
_CUT = re.compile(r"[:'`<>|*]")
_JOINTS = re.compile(r"[@\\\".]")
_FILLED_IN = re.compile(r"\$(?=\{(?:AgentSkills|SubAgents|AvailableTools|\w+_ToolName)\})")


def render_prompt(request: LLMRequest) -> str:
    """Return the prompt for gemini's standard input, before guarding.

    Raises:
        InvalidRequestError: as `render_conversation`.
        ContextLengthError: the prompt is longer than `MAX_PROMPT`.
    """
    prompt = agent_prompt.render_conversation(request, "gemini_cli")
    if len(prompt) * 4 > MAX_PROMPT and (size := len(prompt.encode())) > MAX_PROMPT - 1024:
        raise ContextLengthError(f"the prompt has {size} bytes, gemini takes {MAX_PROMPT}", sent=False)
    return prompt


def guarded(prompt: str, folder: Path) -> str:
    """Return `prompt` in a form that gemini, running in `folder`, takes entirely as text."""
    text = prompt
    if "@" in prompt:
        names = {entry.name.casefold() for entry in folder.iterdir()} if folder.is_dir() else set()
        above = tuple({str(folder), str(folder.resolve())})
        text = _PATH.sub(lambda found: _broken(found[0]) if _may_lead(found[1], names, above) else found[0], prompt)
    return f"\n{text}" if text.startswith("/") and not text.startswith(("//", "/*")) else text


def _broken(path: str) -> str:
    # At each joint: before gemini looks for the path, it removes backslashes and quotes, and goes up at "..".
    return _JOINTS.sub(rf"\g<0>{_JOINER}", path)


def render_instructions(request: LLMRequest, *, agent: bool, schema_in_words: bool) -> str | None:
    """Return the text for gemini's file of instructions; None: gemini keeps its own.

    Args:
        request: The request.
        agent: Whether gemini has its tools, and keeps its own instructions if the request has none.
        schema_in_words: Whether to state the JSON Schema here.
    """
    default = "" if agent else DEFAULT_INSTRUCTIONS
    text = agent_prompt.render_instructions(request, "gemini_cli", default=default, schema_in_words=schema_in_words)
    return None if text is None else _FILLED_IN.sub("$ ", text)


def _may_lead(path: str, names: set[str], above: tuple[str, ...]) -> bool:
    """Whether `path`, found after an ``@``, may be one that gemini finds and may read.

    Args:
        path: The path.
        names: What is in gemini's folder, in lower case.
        above: That folder, by all its names.
    """
    if _LEADS_ELSEWHERE.search(path) or path.startswith(above):
        return True
    # Text after a name may or may not be part of it: "@notes.txt:3", "@notes.txt'".
    first = path.partition("/")[0].casefold()
    return bool({first, first.rstrip(_BEHIND), _CUT.split(first, maxsplit=1)[0]} & names)
