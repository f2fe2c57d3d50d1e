"""Draws docs/architecture.svg from the package's own imports, so that the picture stays true.

Each file or folder of the package's root is a box. A box stands above everything that it imports; an arrow goes to each
box that it imports directly and reaches by no other way. What is imported for type checkers only is left out.

    python docs/draw_architecture.py            # writes the picture
    python docs/draw_architecture.py --check    # exit 1 if the picture in place is another one
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

PACKAGE = "lee_llm_router"
ROOT = Path(__file__).parent.parent / "src" / PACKAGE
PICTURE = Path(__file__).with_name("architecture.svg")
LEFT_OUT = {"__main__", "__init__", "pytest_plugin"}
"""Entrances: they import what they open."""

WIDTH, MARGIN, GAP, ROW_GAP, BOX_HEIGHT = 1080, 20, 18, 46, 74
STYLE = """
  .box { fill: #f6f8fa; stroke: #57606a; } .folder { fill: #ddf4ff; stroke: #0969da; }
  text { font: 12px system-ui, sans-serif; fill: #1f2328; } .name { font-weight: 600; font-size: 14px; }
  .arrow { fill: none; stroke: #8c959f; stroke-width: 1.2; }
  @media (prefers-color-scheme: dark) {
    .box { fill: #161b22; stroke: #8b949e; } .folder { fill: #0c2d6b; stroke: #58a6ff; }
    text { fill: #e6edf3; } .arrow { stroke: #6e7681; }
  }
"""


def rooms() -> dict[str, Path]:
    """Return the files and folders of the package's root by name."""
    found = {}
    for path in sorted(ROOT.iterdir()):
        if path.suffix == ".py":
            found[path.stem] = path
        elif (path / "__init__.py").exists():
            found[path.name] = path
    return {name: path for name, path in found.items() if name not in LEFT_OUT}


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, wherever in it, but for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from runtime_imports(node)


def imported_rooms(path: Path, known: set[str]) -> set[str]:
    """Return the rooms that the file or folder `path` imports."""
    found = set()
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        if file.name == "__init__.py":
            continue  # a face hands on names, and needs nothing itself
        for name in runtime_imports(ast.parse(file.read_text())):
            parts = name.split(".")
            if parts[0] == PACKAGE and len(parts) > 1 and parts[1] in known:
                found.add(parts[1])
    return found - {path.stem}


def levels(imports: dict[str, set[str]]) -> dict[str, int]:
    """Return the height of each room: 0 for one that imports nothing, else one more than the highest it imports."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(other) for other in sorted(imports[room])), default=-1)
        return heights[room]

    for room in imports:
        height(room)
    return heights


def reachable(room: str, imports: dict[str, set[str]]) -> set[str]:
    """Return every room that `room` imports, directly or not."""
    found: set[str] = set()
    queue = [*imports[room]]
    while queue:
        other = queue.pop()
        if other not in found:
            found.add(other)
            queue += imports[other]
    return found


def direct(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return `imports` without those that are reached by another way as well."""
    return {
        room: {o for o in others if not any(o in reachable(via, imports) for via in others - {o})}
        for room, others in imports.items()
    }


def summary(path: Path) -> str:
    """Return the first sentence of the docstring of a file or folder."""
    text = ast.get_docstring(ast.parse((path / "__init__.py" if path.is_dir() else path).read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")


def draw() -> str:
    """Return the picture."""
    found = rooms()
    imports = {name: imported_rooms(path, set(found)) for name, path in found.items()}
    heights = levels(imports)
    top = max(heights.values())
    rows = [sorted(room for room, height in heights.items() if height == level) for level in range(top, -1, -1)]
    places: dict[str, tuple[float, float, float]] = {}
    for index, row in enumerate(rows):
        width = min(240.0, (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row))
        left = (WIDTH - width * len(row) - GAP * (len(row) - 1)) / 2
        for number, room in enumerate(row):
            places[room] = (left + number * (width + GAP), MARGIN + index * (BOX_HEIGHT + ROW_GAP), width)
    height = 2 * MARGIN + len(rows) * BOX_HEIGHT + (len(rows) - 1) * ROW_GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The folders of the package, each above what it imports</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#8c959f"/></marker></defs>',
    ]
    for room, others in sorted(direct(imports).items()):
        x, y, width = places[room]
        for other in sorted(others):
            x2, y2, width2 = places[other]
            start, end, drop = x + width / 2, x2 + width2 / 2, y2 - y - BOX_HEIGHT
            lines.append(
                f'<path class="arrow" marker-end="url(#tip)" d="M{start:.0f} {y + BOX_HEIGHT:.0f} C{start:.0f} '
                f'{y + BOX_HEIGHT + drop / 2:.0f} {end:.0f} {y2 - drop / 2:.0f} {end:.0f} {y2:.0f}"/>'
            )
    for room, path in found.items():
        x, y, width = places[room]
        kind, name = ("box folder", f"{room}/") if path.is_dir() else ("box", f"{room}.py")
        said = textwrap.wrap(summary(path), int(width / 7), max_lines=2, placeholder="...")
        lines.append(
            f'<g><rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="6"/>'
            f'<text class="name" x="{x + 10:.0f}" y="{y + 22:.0f}">{escape(name)}</text>'
        )
        lines += [
            f'<text x="{x + 10:.0f}" y="{y + 42 + 17 * number:.0f}">{escape(line)}</text>'
            for number, line in enumerate(said)
        ]
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def main() -> int:
    """Write the picture, or with ``--check`` compare it to the one in place."""
    picture = draw()
    if "--check" in sys.argv[1:]:
        return PICTURE.read_text() != picture
    PICTURE.write_text(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
