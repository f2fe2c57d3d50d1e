"""Lets a package export names of its modules without loading the modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def loaded_when_asked(package: str, *modules: str) -> Callable[[str], object]:
    """Make a `__getattr__` of `package`: it loads a name in its `__all__` from the first of `modules` that has it."""
    face = sys.modules[package]

    def __getattr__(name: str) -> object:
        if name not in face.__all__:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = next(module for module in map(import_module, modules) if hasattr(module, name))
        value = getattr(home, name)
        setattr(face, name, value)
        return value

    return __getattr__
