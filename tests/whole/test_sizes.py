"""Files and functions stay short enough to be read in one go."""

from __future__ import annotations

import ast
from pathlib import Path

PROJECT = Path(__file__).parents[2]
MOST_LINES = 400
MOST_LINES_OF_FUNCTION = 50
FOLDERS = ("src", "tests", "benchmarks", "examples", "docs")
FILES = {str(path.relative_to(PROJECT)): path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py")}


def test_no_file_is_long() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    assert len(lines) > 1000, "the files were not found"
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_function_is_long() -> None:
    long = {
        f"{name}:{node.lineno} {node.name}"
        for name, path in FILES.items()
        if name.startswith("src/")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_FUNCTION
    }
    assert long == set()
