"""Finds packages that instrument httpx: they do not see requests that another library carries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Literal

from lee_llm_router._util.check_note import CheckNote

_WATCHERS = {
    "opentelemetry-instrumentation-httpx": "OpenTelemetry's instrumentation of httpx",
    "respx": "respx",
    "pytest-httpx": "pytest-httpx",
    "vcrpy": "VCR",
}
"""Packages that watch or replace the httpx class that this library uses."""
_FOR_PRODUCTION = frozenset({"opentelemetry-instrumentation-httpx"})
"""Those that are rarely installed for tests alone."""


def blind_watchers() -> Iterator[CheckNote]:
    """Yield findings of the doctor about watchers that miss the requests httptools carries. Imports nothing."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - it takes 10 ms to load

    remedy = "does not see requests that httptools sends: set transport: httpx if it should"
    patched_by = _patched_by()
    if patched_by is not None:
        yield CheckNote("warning", f"httpx is instrumented ({patched_by}), which {remedy}", "LLR412")
    for package, name in _WATCHERS.items():
        try:
            version(package)
        except PackageNotFoundError:
            continue
        level: Literal["ok", "warning"] = "warning" if package in _FOR_PRODUCTION else "ok"
        yield CheckNote(level, f"{name} is installed, and {remedy}", "LLR412" if level == "warning" else "LLR400")


def _patched_by() -> str | None:
    """Return the module whose function replaces httpx's own; None if none does."""
    httpx: Any = sys.modules.get("httpx")
    for owner, method in (("HTTPTransport", "handle_request"), ("AsyncHTTPTransport", "handle_async_request")):
        function = getattr(getattr(httpx, owner, None), method, None)
        module = str(getattr(function, "__module__", None) or "")
        wrapper = type(function).__module__
        if function is not None and wrapper not in ("builtins", "function"):
            return wrapper  # objects of wrapt pass for what they wrap
        if function is not None and (hasattr(function, "__wrapped__") or not module.startswith("httpx.")):
            return module or "an unknown module"
    return None
