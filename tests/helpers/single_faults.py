"""A configuration with one fault, and what the doctor finds in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lee_llm_router.doctor import CheckResult, diagnose

KEY = "abcdefghijklmnop0123456789ABCDEF"
SOUND = "  providers: {p: {type: mock}}\n  roles: {r: {provider: p}}\n"


def bad(results: list[CheckResult]) -> dict[str, CheckResult]:
    """Return the first finding of each id."""
    return {result.id: result for result in reversed(results) if result.level in ("warning", "error")}


def of_text(here: Path, text: str | bytes) -> dict[str, CheckResult]:
    (here / "c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return bad(diagnose(here / "c.yaml"))


def with_provider(**settings: Any) -> dict[str, Any]:
    return {"llm": {"providers": {"p": settings}, "roles": {"r": {"provider": "p", "model": "m"}}}}
