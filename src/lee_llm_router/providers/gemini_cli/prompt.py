"""Renders a request as gemini takes it: one prompt, and one file of instructions. Pure but for looks at the disk.

Gemini acts on what stands in a prompt, before the model sees it. The text must do nothing here, and reach the model as
it is, so:

- A prompt that begins with a slash (``/quit``) is a command; a newline before it makes it text. Comments are none.
- ``@path`` anywhere puts the file or folder `path` into the prompt, if it is one that gemini may read. Gemini leaves
  the text alone where there is no such path. So invisible characters (word joiners) go into those paths alone that may
  lead somewhere: addresses, decorators and names of packages stay as they are.
- In instructions, ``${AvailableTools}`` and the like are filled in; a space makes them text.
"""

from __future__ import annotations

import re
from pathlib import Path

from lee_llm_router.errors import ContextLengthError
from lee_llm_router.providers.agents import prompt as agent_prompt
from lee_llm_router.response.types import LLMRequest

MAX_PROMPT = 8 * 1024 * 1024
"""The longest prompt in bytes: gemini drops what comes after, and only warns."""
LONG_PROMPT = 1_000_000
"""Bytes from which on a run that asked nothing means a prompt too long: gemini then ends well, and says nothing."""

DEFAULT_INSTRUCTIONS = "Answer the user's message."
"""Instructions for a request that has none; they replace those of an agent for software."""

_JOINER = "\u2060"
# As gemini finds them, but for a dot at the end. Each is read once, so that no text takes long.
_PATH = re.compile(r'(?<!\\)@((?:"[^"]*"|\\[^\n\r\u2028\u2029]|[^ \t\n\r,;!?()\[\]{}])+)')
_LEADS_ELSEWHERE = re.compile(r"\.\.|[\\\"]|^\.+/|^/(?:proc|dev)\b")
_BEHIND = ".'`:<>|*"
_CUT = re.compile(r"[:'`<>|*]")
_JOINTS = re.compile(r"[@\\\".]")
_FILLED_IN = re.compile(r"\$(?=\{(?:AgentSkills|SubAgents|AvailableTools|\w+_ToolName)\})")


def render_prompt(request: LLMRequest) -> str:
    """Return the prompt for gemini's standard input, before it is guarded.

    Raises:
        InvalidRequestError: as `render_conversation`.
        ContextLengthError: the prompt is longer than `MAX_PROMPT`.
    """
    prompt = agent_prompt.render_conversation(request, "gemini_cli")
    if len(prompt) * 4 > MAX_PROMPT and (size := len(prompt.encode())) > MAX_PROMPT - 1024:
        raise ContextLengthError(f"the prompt has {size} bytes, gemini takes {MAX_PROMPT}", sent=False)
    return prompt


def guarded(prompt: str, folder: Path) -> str:
    """Return `prompt` so that gemini, running in `folder`, takes all of it for text."""
    text = prompt
    if "@" in prompt:
        names = {entry.name.casefold() for entry in folder.iterdir()} if folder.is_dir() else set()
        above = tuple({str(folder), str(folder.resolve())})
        text = _PATH.sub(lambda found: _broken(found[0]) if _may_lead(found[1], names, above) else found[0], prompt)
    return f"\n{text}" if text.startswith("/") and not text.startswith(("//", "/*")) else text


def _broken(path: str) -> str:
    # At each joint: gemini takes backslashes and quotes out, and goes back at "..", before it looks for the path.
    return _JOINTS.sub(rf"\g<0>{_JOINER}", path)


def render_instructions(request: LLMRequest, *, agent: bool, schema_in_words: bool) -> str | None:
    """Return the text for gemini's file of instructions; None: gemini keeps its own.

    Args:
        request: What is asked.
        agent: Whether gemini has its tools, and keeps its own instructions where the request has none.
        schema_in_words: Whether to state the JSON Schema here.
    """
    default = "" if agent else DEFAULT_INSTRUCTIONS
    text = agent_prompt.render_instructions(request, "gemini_cli", default=default, schema_in_words=schema_in_words)
    return None if text is None else _FILLED_IN.sub("$ ", text)


def _may_lead(path: str, names: set[str], above: tuple[str, ...]) -> bool:
    """Whether `path`, as it stands behind an ``@``, may be one that gemini finds and may read.

    Args:
        path: The path.
        names: What is in gemini's folder, in small letters.
        above: That folder, by all its names.
    """
    if _LEADS_ELSEWHERE.search(path) or path.startswith(above):
        return True
    # What comes behind a name may be taken for a part of it, or not: "@notes.txt:3", "@notes.txt'".
    first = path.partition("/")[0].casefold()
    return bool({first, first.rstrip(_BEHIND), _CUT.split(first, maxsplit=1)[0]} & names)
