"""The names that a package hands on are those that it lists, and those that a type checker sees."""

from __future__ import annotations

import ast
from importlib import import_module

import pytest

import lee_llm_router
from helpers.module_imports import MODULES, PACKAGE, ROOT

FACES = sorted(
    module
    for module, path in MODULES.items()
    if path.name == "__init__.py" and "__all__" in path.read_text() and module != "__init__"
)


@pytest.mark.parametrize("face", FACES)
def test_a_package_hands_on_what_it_lists(face: str) -> None:
    """Its `__all__` holds the names that a type checker sees, each once, and none that a module of it has."""
    module = import_module(f"{PACKAGE}.{face}")
    assert len(module.__all__) == len(set(module.__all__))
    assert not [name for name in module.__all__ if f"{face}.{name}" in MODULES], "loading that module would replace it"
    tree = ast.parse(MODULES[face].read_text())
    own = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}.")
        for alias in node.names
        if alias.name != "loaded_when_asked"
    }
    assert set(module.__all__) == set(own)
    for name, home in own.items():
        assert getattr(module, name) is getattr(import_module(str(home)), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_public_names_are_those_a_type_checker_sees() -> None:
    """Each name of `__all__` is imported for type checkers, and is that very object at run time."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*seen, "__version__"} == set(lee_llm_router.__all__)
    for name, module in seen.items():
        assert module is not None
        assert getattr(lee_llm_router, name) is getattr(import_module(module), name)


def test_public_names_are_sorted_and_exist() -> None:
    """One sorted `__all__`, each name of it importable."""
    assert lee_llm_router.__all__ == sorted(lee_llm_router.__all__)
    assert all(hasattr(lee_llm_router, name) for name in lee_llm_router.__all__)
