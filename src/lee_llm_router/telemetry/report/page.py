"""Assembles the page: its parts are small files next to this module, and the result is one self-contained file.

The page requests nothing from the network, and its Content-Security-Policy permits nothing else: it names the one
script and the one style sheet by their digests, so that no text of a trace can act as either. Data is in blocks that
browsers do not execute, with every character escaped that could end the block.
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
# Characters that end a script block or an entity, that JavaScript once took for line ends, or that UTF-8 cannot encode.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def page_text(rows: CallRows, about: Mapping[str, Any], *, is_live: bool = False) -> bytes:
    """Return the whole page as UTF-8.

    Args:
        rows: The calls.
        about: What else the page shows: ``made_ms``, ``filter``, ``older``.
        is_live: Whether the page asks its server for new calls.
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
    """Return `rows` as JSON that is safe in a script block of type ``application/json``."""
    head = json.dumps({**about, "left_out": rows.left_out, "names": rows.names}, ensure_ascii=False, allow_nan=False)
    return _safe(f'{head[:-1]},"calls":[{",".join(rows.rows)}]}}')


def update_text(rows: CallRows) -> str:
    """Return an update for a live page: `rows` with their captured texts, as JSON."""
    return f'{data_text(rows, {})[:-1]},"texts":{_safe("[" + ",".join(rows.texts) + "]")}}}'


def content_policy(is_live: bool = False) -> str:
    """Return the page's Content-Security-Policy, which permits only its own style sheet and script."""
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
    """Return the complete style sheet and script."""
    script = "".join(map(_file, _SCRIPTS))
    return "".join(map(_file, _STYLES)), f'(() => {{\n"use strict";\n{script}\n}})();\n'


def _file(name: str) -> str:
    return (files(__package__) / "page" / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
