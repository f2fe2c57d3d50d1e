"""A module that is imported when a test first uses it: each worker collects all tests, and runs a part of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _LateModule:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # Pytest asks each name of a test module whether it is a mock or wraps a fixture: that is no use of the module.
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)


def late_module(name: str) -> Any:
    """Stand for the module `name`."""
    return _LateModule(name)
