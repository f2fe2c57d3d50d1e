"""The modules of the package, and what each of them imports at run time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import lee_llm_router

ROOT = Path(lee_llm_router.__file__).parent
PACKAGE = "lee_llm_router"


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a statement holds others."""


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """What is imported by the statements within `tree`; expressions hold no imports, and most of the nodes."""
    for node in chain.from_iterable(getattr(tree, blocks, ()) for blocks in BLOCKS):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from runtime_imports(node)


@cache
def imports_in(source: str) -> tuple[str, ...]:
    """What a module with the text `source` imports at run time. Several tests ask for that of each module."""
    return tuple(runtime_imports(ast.parse(source)))
