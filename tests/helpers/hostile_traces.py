"""Traces full of what a browser or a terminal might obey, in every field that holds text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from helpers.records import make
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord

ATTACKS = (
    "<script>window.__hacked = 1</script>",
    "</script><script>window.__hacked = 2</script>",
    "<img src=http://127.0.0.1:9/leak onerror='window.__hacked = 3'>",
    "\" onmouseover=\"window.__hacked = 4\" x=\"",
    "<!--<script>",
    "]]></script><svg onload=window.__hacked=5>",
    "javascript:window.__hacked=6",
    "\x1b[2J\x1b]0;owned\x07 and \u202emirrored\u2066 \u2028\u2029 \x00 \x9b31m",
    "{{DATA}} {{SCRIPT}} ${window.__hacked = 7} \\u003cscript\\u003e \\",
    "__proto__",
    "constructor",
    "half \ud83d of a pair",
    "ünï 日本語 العربية 🦊",
)  # fmt: skip


def hostile_traces(attacks: Sequence[str] = ATTACKS) -> list[TraceRecord]:
    """Records of a call for each of `attacks`, which stands in all of its texts."""
    return [record for number, attack in enumerate(attacks) for record in _call(number, attack)]


def _call(number: int, attack: str) -> list[TraceRecord]:
    named: dict[str, Any] = {
        "request_id": f"{number}{attack}", "role": attack, "asked_role": attack, "provider": attack, "model": attack,
        "served_model": attack, "policy": attack, "waited_for": attack, "reason": attack, "operation": attack,
        "provider_request_id": attack, "dropped": (attack,), "service_tier": attack, "cost_source": attack,
        "metadata": {attack: attack, "inner": [attack, {attack: 1}]}, "workspace": attack,
    }  # fmt: skip
    failed = make(
        **named, outcome="error", verdict="next", failure_type=attack, error=attack, status_code=500, wait_ms=20.0,
        elapsed_ms=30.0,
    )  # fmt: skip
    answered = make(
        **named, attempt=1, offset_ms=50.0, elapsed_ms=10.0, finish_reason=attack, text=attack, reasoning=attack,
        usage=LLMUsage(prompt_tokens=1, completion_tokens=2, total_tokens=3), cost_usd=0.1,
        messages=({"role": attack, "content": attack}, {"role": "user", "content": [{"type": attack, "text": attack}]}),
        tools=({"type": attack, attack: attack},), settings={attack: attack},
        tool_calls=({"name": attack, "arguments": attack},),
    )  # fmt: skip
    return [failed, answered]
