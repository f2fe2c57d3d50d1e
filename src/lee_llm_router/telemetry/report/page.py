"""Puts the page together: its parts are small files beside this module, and the page is one file without any other.

The page asks nothing of the network, and its Content-Security-Policy allows nothing else: the one script and the one
style sheet are named by their digests, so that no text of a trace can become either. Data stands in blocks that a
browser does not run, with every character escaped that could end the block.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from lee_llm_router.telemetry.report.call_rows import CallRows

_STYLES = ("base.css", "charts.css", "table.css", "details.css")
_SCRIPTS = (
    "format.js",
    "decode.js",
    "elements.js",
    "statistics.js",
    "filters.js",
    "charts.js",
    "summary.js",
    "waterfall.js",
    "details.js",
    "table.js",
    "keys.js",
    "live.js",
    "main.js",
)
# What ends a script block or an entity, what JavaScript once took for ends of lines, and what UTF-8 cannot hold.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def page_text(rows: CallRows, about: Mapping[str, Any], *, is_live: bool = False) -> bytes:
    """Return the whole page as UTF-8.

    Args:
        rows: The calls.
        about: What else the page tells: ``made_ms``, ``filter``, ``older``.
        is_live: Whether the page asks where it came from for new calls.
    """
    style, script = _assembled()
    parts = {
        "POLICY": content_policy(is_live),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": data_text(rows, {**about, "live": is_live}),
        "TEXTS": _safe(f"[{','.join(rows.texts)}]"),
    }
    page = _file("page.html")
    return re.sub("{{([A-Z]+)}}", lambda found: parts[found[1]], page).encode()


def data_text(rows: CallRows, about: Mapping[str, Any]) -> str:
    """Return `rows` as JSON that may stand in a script block of type ``application/json``."""
    head = json.dumps({**about, "left_out": rows.left_out, "names": rows.names}, ensure_ascii=False, allow_nan=False)
    return _safe(f'{head[:-1]},"calls":[{",".join(rows.rows)}]}}')


def update_text(rows: CallRows) -> str:
    """Return what a live page receives: `rows` with their captured texts, as JSON."""
    return f'{data_text(rows, {})[:-1]},"texts":{_safe("[" + ",".join(rows.texts) + "]")}}}'


def content_policy(is_live: bool = False) -> str:
    """Return the page's Content-Security-Policy: its own style sheet and script, and nothing else."""
    style, script = _assembled()
    rules = {
        "default-src": "'none'",
        "script-src": _digest(script),
        "style-src": _digest(style),
        "connect-src": "'self'" if is_live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


@cache
def _assembled() -> tuple[str, str]:
    """Return the style sheet and the script."""
    script = "".join(map(_file, _SCRIPTS))
    return "".join(map(_file, _STYLES)), f'(() => {{\n"use strict";\n{script}\n}})();\n'


def _file(name: str) -> str:
    return (files(__package__) / "page" / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
