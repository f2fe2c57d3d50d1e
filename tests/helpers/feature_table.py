"""The table of what each dialect can do, made from the tests that are marked to prove it (``pytest.mark.feature``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/providers.md"
BEGIN, END = "<!-- features: made by docs/draw_features.py -->\n", "<!-- end of features -->\n"
DIALECTS = {
    "openai_chat": "`http`", "openai_responses": "`openai_responses`", "anthropic": "`anthropic`", "gemini": "`gemini`",
}  # fmt: skip
FEATURES = {
    "system": "instructions, wherever they stand", "text": "text", "image_url": "pictures by address",
    "image_data": "pictures as data", "file": "files", "audio": "sound", "tools": "tools",
    "tool_choice": "`tool_choice`",
    "parallel_tool_calls": "`parallel_tool_calls`", "tool_results": "tool results", "tool_errors": "errors of tools",
    "tool_result_images": "pictures in tool results", "native_turns": "thinking, signatures and ids that go back",
    "temperature": "`temperature`", "top_p": "`top_p`", "top_k": "`top_k`", "stop": "`stop`", "seed": "`seed`",
    "penalties": "`frequency_penalty`, `presence_penalty`", "max_tokens": "`max_tokens`",
    "reasoning_effort": "`reasoning_effort`", "schema": "`schema`", "json_mode": "`json_mode`",
    "logprobs": "`logprobs`",
    "service_tier": "`service_tier`", "cache": "cache marks", "extra_body": "`extra_body`",
    "extra_query": "`extra_query`", "headers": "`headers`", "streaming": "streams", "reasoning": "reasoning in answers",
    "citations": "citations", "pictures": "pictures in answers", "usage": "usage", "cached_usage": "cached tokens",
    "embeddings": "embeddings",
}  # fmt: skip
"""Each feature, and what the table calls it."""

Marks = Mapping[tuple[str, str], bool]
"""By dialect and feature: whether it has it."""


def marks_of(items: Iterable[pytest.Item]) -> dict[tuple[str, str], bool]:
    """What the marks of `items` say. Where a test proves that a feature is there, no other one takes it away."""
    found: dict[tuple[str, str], bool] = {}
    for item in items:
        for mark in item.iter_markers("feature"):
            dialect, feature = mark.args
            supported = mark.kwargs.get("supported", True)
            found[dialect, feature] = found.get((dialect, feature), False) or supported
    return found


def collected_marks() -> dict[tuple[str, str], bool]:
    """The marks of all tests, collected in a process of their own."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "marks.json"
        plugins = ["-p", "helpers.feature_table", "-p", "no:xdist"]
        places = ["tests/providers/http", "tests/engine/test_embedding.py"]
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *plugins, *places]
        environment = {**os.environ, "FEATURE_MARKS": str(file), "PYTHONPATH": str(ROOT / "tests")}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        return {(dialect, feature): has for dialect, feature, has in json.loads(file.read_text())}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write down the marks of what was collected: this module is a plugin of the process in `collected_marks`."""
    if file := os.environ.get("FEATURE_MARKS"):
        marks = marks_of(session.items)
        Path(file).write_text(json.dumps([[*names, has] for names, has in sorted(marks.items())]))


def table_of(marks: Marks) -> str:
    """The table in Markdown. A cell that no test proves is a question mark."""
    lines = ["| | " + " | ".join(DIALECTS.values()) + " |", "|---" * (len(DIALECTS) + 1) + "|"]
    for feature, told in FEATURES.items():
        cells = ({None: "?", True: "yes", False: "no"}[marks.get((dialect, feature))] for dialect in DIALECTS)
        lines.append(f"| {told} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def table_in(page: str) -> str:
    """The table as it stands in the document."""
    return page.partition(BEGIN)[2].partition(END)[0].strip() + "\n"


def with_table(page: str, table: str) -> str:
    """The document with `table` in its place."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"
