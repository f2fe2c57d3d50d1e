"""Pictures of a terminal's screen: SVG, made of what a command wrote there."""

from __future__ import annotations

import io
import re
from html import unescape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_THEME = TerminalTheme(
    (22, 27, 34),
    (214, 220, 228),
    [(72, 79, 88), (255, 123, 114), (98, 195, 112), (226, 176, 64), (121, 184, 255), (210, 168, 255), (90, 200, 210),
     (214, 220, 228)],
)  # fmt: skip
_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
line-height: {line_height}px; white-space: pre }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own form, without the fonts that it loads from a network."""


def picture_of(screen: str, name: str, columns: int = 100) -> str:
    """Return `screen`, which may hold colours, as SVG with `name` in its ids."""
    console = Console(
        file=io.StringIO(), record=True, width=columns, force_terminal=True, color_system="truecolor",
        legacy_windows=False,
    )  # fmt: skip
    for line in screen.rstrip("\n").split("\n"):
        # What is erased or written over is not seen: a carriage return begins the line anew.
        text = Text.from_ansi(line.rsplit("\r", 1)[-1])
        for row in text.divide(range(columns, len(text), columns)):  # as a terminal breaks lines
            console.print(row, soft_wrap=True, highlight=False)
    console.print()
    svg = console.export_svg(
        title=name, theme=_THEME, code_format=_FORMAT, unique_id=f"screen-{name.replace(' ', '-')}"
    )
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


def seen_in(svg: str) -> list[tuple[str, str]]:
    """Return the texts of a picture with how each is drawn, in order, however the SVG says it."""
    styles = dict(re.findall(r"\.(\S+-r\d+) \{ ([^}]*?);? \}", svg))
    texts = re.findall(r'<text class="([^"]*)"[^>]*>(.*?)</text>', svg)
    return [(unescape(text).replace("\xa0", " "), styles.get(style, "")) for style, text in texts]
