"""Takes the steps that `load` names. Loaded, with all that reads and checks a file, when the first one is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lee_llm_router._util.log import logger
from lee_llm_router.config.checking import check_section
from lee_llm_router.config.env_file import read_env_file
from lee_llm_router.config.filling import fill_section
from lee_llm_router.config.findings import Findings
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.config.reading import is_text, name_of_source, read_tree, router_section
from lee_llm_router.config.tree import TOP_KEY, Entry, locate
from lee_llm_router.config.unsupported import unsupported_settings
from lee_llm_router.settings.model import note_filled, note_origin
from lee_llm_router.settings.origin import NO_ORIGIN, ConfigOrigin


def loaded(source: str | os.PathLike[str] | Mapping[str, Any]) -> LLMConfig:
    """Do what `load_config` does."""
    findings = Findings(name_of_source(source))
    section = router_section(read_tree(source, findings), findings)
    config = config_of_section(section, origin_of(source), findings)
    for warning in findings.lines():
        logger.warning("%s", warning)
    return config


def config_of_section(section: Entry, origin: ConfigOrigin, findings: Findings) -> LLMConfig:
    """Return the configuration in `section`, the tree of the router's own; what is left in `findings` are warnings.

    Raises:
        ConfigError: there are findings that are mistakes.
    """
    filled = fill_section(section, origin.environment(), findings)
    config = check_section(filled, section, LLMConfig, findings)
    note_filled(config, filled.from_environment)
    note_origin(config, replace(origin, used=frozenset(filled.variables)))
    for mistake in unsupported_settings(config):
        place, path = locate(section, mistake.path, mistake.at), (TOP_KEY, *mistake.path)
        findings.add(place, path, mistake.message, mistake.hint, kind=mistake.kind)
    return config


def origin_of(source: str | os.PathLike[str] | Mapping[str, Any]) -> ConfigOrigin:
    """Return where the readable `source` is, and what the `.env` beside it says."""
    if isinstance(source, Mapping) or is_text(source):
        return NO_ORIGIN
    file = os.path.abspath(os.fsdecode(source))  # noqa: PTH100 - links are kept
    beside = read_env_file(file)
    if beside is None:
        return ConfigOrigin(file)
    return ConfigOrigin(file, beside.path, beside.problem, beside.variables)
