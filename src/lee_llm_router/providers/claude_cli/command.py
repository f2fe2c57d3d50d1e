"""The command line and the variables of one `claude -p`. Pure.

The command line contains neither the prompt nor the instructions nor the key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lee_llm_router._util.data_class import dataclass

OPTIONAL_FLAGS = frozenset({
    "--bare", "--include-partial-messages", "--no-session-persistence", "--disable-slash-commands", "--effort",
    "--permission-mode",
})  # fmt: skip
"""Flags left out if `claude --help` does not list them."""
NEEDED_FLAGS = frozenset({
    "--print", "--output-format", "--verbose", "--tools", "--strict-mcp-config", "--setting-sources", "--model",
    "--system-prompt",
})  # fmt: skip
"""Flags always passed because a promise depends on them: a claude that lacks one refuses to run, with a clear error."""

COMMON_VARIABLES: Mapping[str, str] = {
    # Only the router retries.
    "CLAUDE_CODE_MAX_RETRIES": "0",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    # Claude sends nothing home, looks nothing up and updates nothing.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
}
"""Variables of every run."""

COMPLETION_VARIABLES: Mapping[str, str] = {
    # Claude would read and send the file of a prompt with `@/etc/hosts` (measured with 2.1.197, without any tool).
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",
    # Claude searches the folders above the working folder for one.
    "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
    "DISABLE_COMPACT": "1",
}
"""Variables of a plain completion, which reads no file and makes one request."""

_EFFORTS = {"minimal": "low"}
"""Efforts that have another name in claude."""
SHORTEST_THINKING = 1024
"""Fewest tokens that can be given to thinking; an answer limited to so many is given without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintOptions:
    """Everything that determines the command line of one attempt."""

    executable: str
    flags: frozenset[str] | None
    """The flags it supports; None: unknown, so all are used."""
    tools: Sequence[str]
    """Names of the tools that the model has."""
    permission_mode: str
    bare: bool
    """Whether it must not look for a login."""
    user_config: bool
    """Whether claude reads the settings in its home and in the working folder."""
    model: str | None = None
    instructions: Path | None = None
    settings: Path | None = None
    effort: str | None = None


def build_argv(options: PrintOptions) -> list[str]:
    """Return the command line. Claude reads the prompt from standard input."""
    words = ["--print", "--output-format=stream-json", "--verbose", "--include-partial-messages"]
    words += [f"--tools={','.join(options.tools)}", f"--permission-mode={options.permission_mode}"]
    words += ["--strict-mcp-config", "--no-session-persistence", "--disable-slash-commands"]
    if not options.user_config:
        words.append("--setting-sources=")
    if options.bare:
        words.append("--bare")
    if options.model is not None:
        # In this form a name with a leading dash is still read as a value.
        words.append(f"--model={options.model}")
    if options.instructions is not None:
        # Claude's help mentions this flag only in passing.
        words.append(f"--system-prompt-file={options.instructions}")
    if options.settings is not None:
        words.append(f"--settings={options.settings}")
    if options.effort not in (None, "none"):
        words.append(f"--effort={_EFFORTS.get(str(options.effort), options.effort)}")
    return [options.executable, *(word for word in words if _is_known(word.partition("=")[0], options.flags))]


def run_variables(*, agent: bool, timeout: float, max_tokens: int | None, effort: str | None) -> dict[str, str]:
    """Return the variables of one run.

    Args:
        agent: Whether the model has tools.
        timeout: Seconds of the attempt.
        max_tokens: The most tokens that the model may write.
        effort: How much it should think.
    """
    # Longer than the attempt, so that the router's own timeout comes first.
    variables = {**COMMON_VARIABLES, "API_TIMEOUT_MS": str(int((timeout + 60) * 1000))}
    if not agent:
        variables |= COMPLETION_VARIABLES
    if max_tokens is not None:
        variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(max_tokens)
    if effort == "none" or (effort is None and max_tokens is not None and max_tokens <= SHORTEST_THINKING):
        variables["MAX_THINKING_TOKENS"] = "0"
    return variables


def _is_known(flag: str, flags: frozenset[str] | None) -> bool:
    return flags is None or flag not in OPTIONAL_FLAGS or flag in flags
