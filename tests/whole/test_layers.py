"""Imports point downward only, and what is heavy loads when first used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path

import pytest

import lee_llm_router

ROOT = Path(lee_llm_router.__file__).parent
PACKAGE = "lee_llm_router"

# Top to bottom. A module imports from its own folder, from its own floor, and from the floors below it.
FLOORS = [
    ["__main__", "pytest_plugin"],
    ["cli", "doctor", "testing"],
    ["__init__", "client", "integrations"],
    ["router"],
    ["batch"],
    ["routing", "policy"],
    ["config"],
    ["engine"],
    ["health"],
    ["providers"],
    ["telemetry"],
    ["settings"],
    ["response", "errors", "compression"],
    ["_util"],
]
INSIDE = {
    "providers": [
        ["cassette"],
        ["cache"],
        ["pool"],
        ["registry"],
        ["llama_cpp"],
        ["mock", "http", "*_cli", "command", "http.dialects.*.provider", "wrapper"],
        ["agents"],
        ["http.learning_provider"],
        ["http.provider"],
        ["http.event_stream", "http.checks", "http.refused_turns"],
        ["http.transport", "http.dialects", "http.settings", "http.headers", "http.query", "child_process"],
        ["keys"],
        ["json_schema", "base", "vendors"],
        ["embeddings"],
        ["streams"],
    ],
    "providers.child_process": [
        ["runner", "owned_folder"],
        ["owner_watch", "orphans"],
        ["cancellation", "process_tree", "lent_file"],
    ],
    "providers.http.transport": [
        ["choice"],
        ["httpx_transport", "httptools_transport"],
        ["exchange"],
        ["channel", "idle_pool", "head_cache"],
        ["tls", "connecting", "async_connection"],
        [
            "connection",
            "readiness",
            "address",
            "proxies",
            "trust",
            "watchers",
            "body_decoder",
            "inflater",
            "chunks",
            "httptools_parser",
            "api",
        ],
    ],
}
"""The floors within a folder. What a folder on a floor holds stands there too, unless it has a floor of its own; `*` is
any name, so that a new dialect needs no line here."""


def _name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}


_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a statement holds others."""


@cache
def _floor_of_root(module: str) -> int | None:
    return _floor(module, FLOORS)


def _floor(module: str, floors: list[list[str]]) -> int | None:
    """The floor that `module`, or the folder it is in, stands on; counted from the top."""
    while module:
        for index, names in enumerate(floors):
            if any(fnmatchcase(module, name) for name in names):
                return index
        module = module.rpartition(".")[0]
    return None


def _runtime_imports(tree: ast.AST) -> Iterator[str]:
    """What is imported by the statements within `tree`; expressions hold no imports, and most of the nodes."""
    for node in chain.from_iterable(getattr(tree, blocks, ()) for blocks in _BLOCKS):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from _runtime_imports(node)


def _internal(name: str) -> str | None:
    """The module of this package that the import of `name` loads; None: another package's."""
    if name != PACKAGE and not name.startswith(f"{PACKAGE}."):
        return None
    name = name.removeprefix(PACKAGE).removeprefix(".")
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or "__init__"


def _split(module: str, folder: str) -> str:
    """The part of `module` below `folder`; empty if it is not in there."""
    return module.removeprefix(f"{folder}.") if module.startswith(f"{folder}.") else ""


@cache
def _imports_in(source: str) -> tuple[str, ...]:
    """What a module with the text `source` imports at run time. Several tests ask for that of each module."""
    return tuple(_runtime_imports(ast.parse(source)))


def _upward(module: str, source: str) -> list[str]:
    """What `module`, if `source` is its text, imports at run time from a floor above its own."""
    found = []
    for name in _imports_in(source):
        target = _internal(name)
        if target is None:
            continue
        places = [(_floor_of_root(module), _floor_of_root(target))]
        for folder, floors in INSIDE.items():
            here, there = _split(module, folder), _split(target, folder)
            if here and there:
                places.append((_floor(here, floors), _floor(there, floors)))
        for own, other in places:
            assert own is not None and other is not None, f"{module} or {target} has no place on the floors"
            if other < own:
                found.append(target)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    """No module imports, at run time, from a floor above its own."""
    assert _upward(module, MODULES[module].read_text()) == []


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("cli.commands", "pytest_plugin"),
        ("doctor.checks", "__main__"),
        ("testing", "pytest_plugin"),
        ("__init__", "cli"),
        ("client", "testing"),
        ("router", "client"),
        ("routing.chain", "router"),
        ("policy.contract", "router"),
        ("config.models", "policy"),
        ("config", "routing"),
        ("engine.attempts", "config"),
        ("engine.streaming", "config.models"),
        ("health.tracker", "engine"),
        ("providers.base", "health"),
        ("providers", "health"),
        ("telemetry.records", "providers.base"),
        ("settings.model", "telemetry"),
        ("response", "settings"),
        ("errors", "settings.model"),
        ("compression", "telemetry"),
        ("_util.clock", "errors"),
        ("providers.registry", "providers.pool"),
        ("providers.mock", "providers.registry"),
        ("providers.http.provider", "providers.registry"),
        ("providers.codex_cli.prompt", "providers.pool"),
        ("providers.http.event_stream", "providers.http.provider"),
        ("providers.http.event_stream", "providers.http"),
        ("providers.http.transport.api", "providers.http.event_stream"),
        ("providers.http.transport.connection", "providers.http.transport.exchange"),
        ("providers.http.dialects.base", "providers.http.event_stream"),
        ("providers.http.dialects.openai.chat", "providers.codex_cli"),
        ("providers.http.dialects.openai.settings", "providers.http.dialects.openai.provider"),
        ("providers.http.dialects.openai.provider", "providers.registry"),
        ("providers.http.provider", "providers.http.dialects.openai.provider"),
        ("providers.http.headers", "providers.http.provider"),
        ("providers.http.settings", "providers.http.event_stream"),
        ("providers.child_process", "providers.mock"),
        ("providers.json_schema", "providers.http.dialects"),
        ("providers.base", "providers.http.transport"),
        ("providers.base", "providers.wrapper"),
        ("providers.streams", "providers.base"),
        ("providers.child_process.process_tree", "providers.child_process.runner"),
    ],
)  # fmt: skip
def test_an_import_that_points_upward_is_found(module: str, imported: str) -> None:
    """On every floor, at the top of a file and within a function; but for type checkers it may be."""
    package, _, last = f"{PACKAGE}.{imported}".rpartition(".")
    for statement in (
        f"import {PACKAGE}.{imported}",
        f"from {package} import {last}",
        f"from {PACKAGE}.{imported} import x",
    ):
        assert imported in MODULES and _upward(module, statement) == [imported]
        assert _upward(module, f"def later():\n    {statement}") == [imported]
        assert _upward(module, f"if TYPE_CHECKING:\n    {statement}") == []


def _from_faces(source: str) -> list[str]:
    """Names that `source` imports from a package's `__init__` and not from the module that defines them."""
    found = []
    for name in _imports_in(source):
        face = name.rpartition(".")[0]
        if (target := _internal(name)) is not None and face != PACKAGE and target == face.removeprefix(f"{PACKAGE}."):
            found += [name] if MODULES[target].name == "__init__.py" else []
    return found


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_from_where_a_name_is_defined(module: str) -> None:
    """What the `__init__` of a package hands on is for users: within the package it would load more than is needed."""
    assert _from_faces(MODULES[module].read_text()) == []


def test_an_import_from_a_face_is_found() -> None:
    assert _from_faces(f"from {PACKAGE}.config import load_config") == [f"{PACKAGE}.config.load_config"]
    assert _from_faces(f"from {PACKAGE}.config.load import load_config\nfrom {PACKAGE}.config import models") == []


def test_the_root_has_22_rooms_at_most() -> None:
    rooms = {name.split(".")[0] for name in MODULES}
    assert len(rooms) <= 22
    assert {room for room in rooms if room.startswith("_")} == {"__init__", "__main__", "_util"}


def test_its_files_know_each_http_library_and_one_starts_processes() -> None:
    """Each HTTP library is named in its transport's files alone, subprocess in `providers/child_process/` alone."""
    owners = {"httpx": "httpx", "httpcore": "httpx", "h11": "httpx", "httptools": "httptools", "anyio": "none"}
    for module, path in MODULES.items():
        names = {name.partition(".")[0] for name in _imports_in(path.read_text())}
        for library in names & owners.keys():
            folder, _, name = module.rpartition(".")
            assert (folder, name.partition("_")[0]) == ("providers.http.transport", owners[library])
        if not module.startswith("providers.child_process."):
            assert "subprocess" not in names, module


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


HEAVY = {
    "httpx", "httpcore", "anyio", "h11", "httptools", "certifi", "yaml", "typer", "click", "rich", "jsonschema",
    "dotenv",
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


@pytest.mark.parametrize("provider", [{"type": "mock"}, {"type": "http", "base_url": "http://127.0.0.1:9/v1"}], ids=str)
def test_a_router_without_prices_and_budgets_loads_nothing_that_bills(provider: Mapping[str, object]) -> None:
    """Where nothing says what answers cost, starting takes no longer for it."""
    roles = {"r": {"provider": "p", "model": "m"}}
    loaded = _loaded_by(
        "from lee_llm_router import LeeLLMRouter, load_config\n"
        f"LeeLLMRouter(load_config({{'llm': {{'providers': {{'p': {provider}}}, 'roles': {roles}}}}}))"
    )
    billing = {
        module for module in loaded if "billing" in module or module.startswith("lee_llm_router.telemetry.pricing.")
    }
    assert billing == {f"lee_llm_router.telemetry.pricing.{name}" for name in ("contract", "settings", "need")}


SECTIONS_OF_FEW = {
    "telemetry.pricing.price_settings", "telemetry.pricing.budget_settings", "providers.model_limits",
    "providers.cache.settings",
}  # fmt: skip


def test_a_section_that_few_files_have_is_loaded_when_a_file_has_it() -> None:
    """And what words the mistakes in a call's options, when there are some."""
    ours = [f"lee_llm_router.{name}" for name in SECTIONS_OF_FEW]
    imported = "from lee_llm_router import LeeLLMRouter, load_config\n"
    loaded = _loaded_by(imported)
    assert not {*ours, "lee_llm_router.routing.option_problems"} & loaded

    file = {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p", "model": "m"}}}
    router = f"{imported}router = LeeLLMRouter({{'llm': {file}}}, trace_store=False)\nrouter.complete('r', 'Hello')\n"
    assert not set(ours) & _loaded_by(router)

    budget = f"{imported}load_config({{'llm': {file | {'budget': {'usd': 5}}}}})\n"
    assert "lee_llm_router.telemetry.pricing.budget_settings" in _loaded_by(budget)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_has_methods_compiled_while_it_is_loaded(module: str) -> None:
    """Its dataclasses are those of `_util/data_class.py`: the standard library compiles six functions for each."""
    assert "dataclasses.dataclass" not in _imports_in(MODULES[module].read_text())


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
