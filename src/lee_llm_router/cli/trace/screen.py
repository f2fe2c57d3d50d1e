"""The console that views of traces are drawn on: colours and the terminal's width, or plain text for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from lee_llm_router.cli.output import terminal_columns, wants_color, write_text

if TYPE_CHECKING:
    from rich.console import Console

MIN_WIDTH = 24
"""Columns of the narrowest lines; a narrower terminal gets these."""
PIPE_WIDTH = 80
"""Columns that a drawing has in a pipe. Texts and tables are as wide there as they are."""


def draw(render: Callable[[Console], None]) -> None:
    """Let `render` draw on a console for standard output, and write what it drew. Raises as `write_text`."""
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
    """Whether something else than a terminal reads standard output: it gets plain text, whole and aligned."""
    return not sys.stdout.isatty()


def terminal_width() -> int:
    """Return the columns that a line may have at this terminal."""
    return max(terminal_columns(), MIN_WIDTH)


def takes_marks() -> bool:
    """Whether standard output can hold the marks that a drawing is made of; else plain letters stand for them."""
    try:
        "━─·▸×…".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _for_encoding(text: str) -> str:
    """Return `text` with three points for an ellipsis where the encoding has none."""
    return text if takes_marks() else text.replace("…", "...")
