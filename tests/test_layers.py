"""Imports point downward only, and what is heavy loads when first used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest

import lee_llm_router

ROOT = Path(lee_llm_router.__file__).parent
PACKAGE = "lee_llm_router"

# Top to bottom. A module may import from its own line and the lines below it.
LAYERS = [
    ["__main__"],
    ["cli"],
    ["doctor", "_trace_view"],
    ["pytest_plugin"],
    ["client", "testing", "__init__"],
    ["_scripted"],
    ["router"],
    ["_core"],
    ["engine"],
    ["streaming", "_records", "_failures", "_selection"],
    ["_plan"],
    ["_drivers"],
    ["policy", "retry"],
    ["_overrides"],
    ["health"],
    ["_breaker", "_door", "_limits"],
    ["config"],
    ["_loader", "_schema"],
    ["_environment", "_findings", "_references", "_tree", "_yaml"],
    ["providers.pool"],
    ["providers.registry"],
    ["providers.mock", "providers.http", "providers.codex_cli"],
    ["providers.dialects", "providers.transport", "providers.subprocess"],
    ["providers.base"],
    ["stores", "_reporter"],
    ["telemetry"],
    ["_assembly", "_contract", "_messages", "compression"],
    ["response"],
    ["errors", "_clock", "_fake_clock", "_frozen", "_ids", "_locks", "_redact", "_secrets", "_threads", "_util"],
]


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__") if name != "__init__" else name, path


def _layer(module: str) -> int | None:
    """The line of `module`: its own, or that of the package it is in; private files beside a room belong to it."""
    while module:
        for index, names in enumerate(LAYERS):
            if module in names:
                return index
        module = module.rpartition(".")[0]
    return None


def _runtime_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from _runtime_imports(node)


def _internal(name: str) -> str | None:
    if not name.startswith(f"{PACKAGE}."):
        return None
    name = name.removeprefix(f"{PACKAGE}.")
    known = {module for module, _ in _modules()}
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


@pytest.mark.parametrize(("module", "path"), [pytest.param(m, p, id=m) for m, p in _modules()])
def test_imports_point_downward(module: str, path: Path) -> None:
    """No module imports, at run time, from a room above its own."""
    if module == "providers":
        return
    own = _layer(module)
    private_beside = module.startswith("providers._")
    assert own is not None or private_beside, f"{module} has no place in LAYERS"
    if own is None:
        own = _layer("providers.dialects")
    assert own is not None
    for name in _runtime_imports(ast.parse(path.read_text())):
        target = _internal(name)
        layer = _layer(target) if target else None
        assert layer is None or layer >= own, f"{module} imports {target}, which stands above it"


def test_one_file_knows_each_http_library_and_one_starts_processes() -> None:
    """Each HTTP library is named in the file of its transport alone, subprocess in providers/subprocess.py alone."""
    owners = {"httpx": "httpx", "httpcore": "httpx", "h11": "httpx", "httptools": "httptools", "anyio": "none"}
    for module, path in _modules():
        names = {name.partition(".")[0] for name in _runtime_imports(ast.parse(path.read_text()))}
        for library in names & owners.keys():
            assert module == f"providers._transport_{owners[library]}"
        if not module.startswith(("providers.subprocess", "providers._process")):
            assert "subprocess" not in names, module


def test_every_library_that_is_imported_is_declared() -> None:
    """As a dependency or by an extra; pytest is there wherever its plug-in is used."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    declared = {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    # Those that another one requires, and makes part of what it offers.
    declared |= {"pydantic_core"} if "pydantic" in declared else set()
    declared |= {"referencing"} if "jsonschema" in declared else set()
    distributions = {"yaml": "pyyaml"}
    imported = {
        name.partition(".")[0]
        for module, path in _modules()
        if module != "pytest_plugin"
        for name in _runtime_imports(ast.parse(path.read_text()))
    }
    foreign = imported - set(sys.stdlib_module_names) - {PACKAGE}
    assert {distributions.get(name, name) for name in foreign} <= declared


HEAVY = {
    "httpx", "httpcore", "anyio", "h11", "httptools", "certifi", "yaml", "typer", "click", "rich", "jsonschema",
}  # fmt: skip


def _loaded_by(statement: str) -> set[str]:
    """Modules that a new interpreter holds after `statement`. It has no network."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network at import')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"{statement}\n"
        "print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import lee_llm_router",
        "from lee_llm_router import LeeLLMRouter, load_config",
        "from lee_llm_router import *",
        "from lee_llm_router import *\nLeeLLMRouter(load_config({'llm': {"
        "'providers': {'offline': {'type': 'mock'}}, 'roles': {'planner': {'provider': 'offline', 'model': 'm'}}}}))",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str) -> None:
    """No HTTP library, YAML parser, terminal library or schema checker; and no network."""
    assert not HEAVY & {module.partition(".")[0] for module in _loaded_by(statement)}


def test_importing_the_package_loads_no_part_of_it() -> None:
    """What `--version` needs must not pay for what a call needs."""
    loaded = _loaded_by("import lee_llm_router; lee_llm_router.__version__")
    assert not [module for module in loaded if module.startswith(("lee_llm_router.", "pydantic"))]


def test_public_names_are_those_a_type_checker_sees() -> None:
    """Each name of `__all__` is imported for type checkers, and is that very object at run time."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*seen, "__version__"} == set(lee_llm_router.__all__)
    for name, module in seen.items():
        assert module is not None
        assert getattr(lee_llm_router, name) is getattr(import_module(module), name)


def test_dir_and_attributes_show_all_there_is() -> None:
    """`dir()` lists every public name and module, and a module is an attribute without being imported first."""
    listed = dir(lee_llm_router)
    assert set(lee_llm_router.__all__) <= set(listed)
    assert listed == sorted(listed)
    assert "errors" in listed
    loaded = _loaded_by("import lee_llm_router; lee_llm_router.errors.LLMRouterError; lee_llm_router.LLMUsage()")
    assert "lee_llm_router.errors" in loaded
    with pytest.raises(AttributeError, match="no attribute 'Routre'"):
        lee_llm_router.Routre  # type: ignore[attr-defined]  # noqa: B018


def test_public_names_are_sorted_and_exist() -> None:
    """One sorted `__all__`, each name of it importable."""
    assert lee_llm_router.__all__ == sorted(lee_llm_router.__all__)
    assert all(hasattr(lee_llm_router, name) for name in lee_llm_router.__all__)
