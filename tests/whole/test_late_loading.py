"""What is heavy, and what few programs need, is loaded when it is first used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

import lee_llm_router
from helpers.module_imports import MODULES, imports_in

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
    assert "dataclasses.dataclass" not in imports_in(MODULES[module].read_text())


def test_importing_the_package_loads_no_part_of_it() -> None:
    """What `--version` needs must not pay for what a call needs."""
    loaded = _loaded_by("import lee_llm_router; lee_llm_router.__version__")
    assert not [module for module in loaded if module.startswith(("lee_llm_router.", "pydantic"))]


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
