"""The console for views of traces: colours and the terminal's width, or plain text for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from lee_llm_router.cli.output import terminal_columns, wants_color, write_text

if TYPE_CHECKING:
    from rich.console import Console

MIN_WIDTH = 24
"""Least columns of a line, even for narrower terminals."""
PIPE_WIDTH = 80
"""Columns of a drawing in a pipe. Texts and tables keep their own width there."""


def draw(render: Callable[[Console], None]) -> None:
    """Let `render` draw on a console for standard output, and write the result. Raises as `write_text`."""
    text = drawn(render, PIPE_WIDTH if is_piped() else terminal_width(), color=wants_color())
    write_text(_for_encoding(text))


def drawn(render: Callable[[Console], None], width: int, *, color: bool = False) -> str:
    """Return what `render` draws on a console of `width` columns; with `color`, with ANSI sequences."""
    from io import StringIO  # noqa: PLC0415 - help draws nothing

    from rich.console import Console  # noqa: PLC0415

    console = Console(
        file=StringIO(), width=width, force_terminal=color, color_system="standard" if color else None,
        no_color=not color, markup=False, emoji=False, highlight=False, legacy_windows=False,
    )  # fmt: skip
    with console.capture() as taken:
        render(console)
    return taken.get()


def is_piped() -> bool:
    """Whether standard output is not a terminal: then it gets plain text, uncut and aligned."""
    return not sys.stdout.isatty()


def terminal_width() -> int:
    """Return the maximum columns of a line on this terminal."""
    return max(terminal_columns(), MIN_WIDTH)


def takes_marks() -> bool:
    """Whether standard output can encode the marks of drawings; otherwise plain letters replace them."""
    try:
        "━─·▸×…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _for_encoding(text: str) -> str:
    """Return `text` with three dots instead of an ellipsis if the encoding has none."""
    return text if takes_marks() else text.replace("…", "...")
