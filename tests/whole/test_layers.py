"""Imports point downward only, from where a name is defined."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache

import pytest

from helpers.module_imports import MODULES, PACKAGE, imports_in

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


def _upward(module: str, source: str) -> list[str]:
    """What `module`, if `source` is its text, imports at run time from a floor above its own."""
    found = []
    for name in imports_in(source):
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
    for name in imports_in(source):
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
        names = {name.partition(".")[0] for name in imports_in(path.read_text())}
        for library in names & owners.keys():
            folder, _, name = module.rpartition(".")
            assert (folder, name.partition("_")[0]) == ("providers.http.transport", owners[library])
        if not module.startswith("providers.child_process."):
            assert "subprocess" not in names, module
