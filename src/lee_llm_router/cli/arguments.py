"""The inputs of the command line: text, the prompt, and names of roles."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Collection

_SHOWN_ROLES = 20

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Configuration file. Default: $LEE_LLM_ROUTER_CONFIG, else lee-llm-router.yaml or config/llm.yaml here"
        " or in a folder above.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def text_of(given: str | None, name: str) -> str | None:
    """Return the argument `name` as text. If the system's encoding is too narrow for it, read it as UTF-8.

    Raises:
        typer.BadParameter: it is not UTF-8 either.
    """
    if given is None or not any("\ud800" <= character <= "\udfff" for character in given):
        return given
    try:
        return os.fsencode(given).decode()
    except UnicodeError:
        raise typer.BadParameter("not UTF-8 text", param_hint=name) from None


def read_prompt(given: str | None) -> str:
    """Return the prompt: the argument, or else standard input without its last newline and a byte order mark.

    Raises:
        typer.BadParameter: it is missing, or is not text.
    """
    text = text_of(given, "PROMPT")
    if text is None or text == "-":
        text = _standard_input()
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise typer.BadParameter("no prompt: it is empty", param_hint="PROMPT")
    return text


def check_role(role: str | None, known: Collection[str]) -> None:
    """Refuse a role that the configuration does not have: otherwise the default role would answer after a typo.

    Raises:
        typer.BadParameter: there is no such role; the message says which one was meant.
    """
    if role is None or role in known:
        return
    from lee_llm_router._util.suggestions import Suggester  # noqa: PLC0415

    shown = ", ".join(sorted(known)[:_SHOWN_ROLES]) + (", ..." if len(known) > _SHOWN_ROLES else "")
    hint = Suggester().did_you_mean(role, known)
    raise typer.BadParameter(f"no such role in the configuration{hint}; there are: {shown}", param_hint="--role")


def roles_beginning_with(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the roles that a shell may complete `incomplete` to; none if the file cannot be read."""
    from lee_llm_router.config.discovery import find_config  # noqa: PLC0415
    from lee_llm_router.config.findings import Findings  # noqa: PLC0415
    from lee_llm_router.config.reading import read_tree, router_section  # noqa: PLC0415
    from lee_llm_router.errors import ConfigError  # noqa: PLC0415

    # Only the tree: a shell asks while somebody types, and the checks would double the time.
    findings = Findings("")
    try:
        section: Any = router_section(read_tree(find_config(ctx.params.get("config")), findings), findings).node.value
        roles = section["roles"].node.value if isinstance(section, dict) and "roles" in section else {}
    except (ConfigError, OSError, ValueError):
        return []
    return [name for name in roles if name.startswith(incomplete)] if isinstance(roles, dict) else []


def _standard_input() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise typer.BadParameter("no prompt: give it as an argument, or on standard input", param_hint="PROMPT")
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise typer.BadParameter(f"standard input cannot be read: {error.strerror}", param_hint="PROMPT") from error
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is not UTF-8 text", param_hint="PROMPT") from None
