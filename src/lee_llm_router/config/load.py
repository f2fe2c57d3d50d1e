"""Reads a configuration: takes a source, returns a checked `LLMConfig` or reports every mistake at once.

How this works: six steps, each of which takes the result of the one before. Nothing flows back.

1. `reading`   source -> tree. A path is opened, YAML text is parsed (`yaml_reader`), a mapping is walked. A node of the
               tree (`tree`) knows its position, so that later steps can say where a mistake is.
2. `reading`   tree -> section: the entry of the key ``llm``. Other top-level keys belong to the application.
3. `filling`   section -> plain data. ``${VAR}`` is replaced (`environment`) before anything is validated, so a number
               may come from the environment, or from the `.env` next to the file (`env_file`). Records which values
               came from there: they may be secrets.
4. `checking`  data -> model. Names of providers and roles are looked up (`references`), then pydantic validates. Each
               error becomes a `Mistake` in our own words (`findings`); its field `at` says whether it is at a key, at
               a value or at the enclosing key, and the tree gives line and column.
5. `note_filled` (in settings/model.py) tells the models which of their values to mask, and `note_origin` where they
   came from: paths and names of variables are looked up later.

6. `unsupported` finds settings of a role that a target of its chain cannot express. That is not a mistake: a warning is
               logged, and calls skip the target.

All steps add to the same `Findings`. The first two raise on their first mistake: without a tree there is nothing to
check. The next two collect all mistakes and raise at the end of step 4, so that one run shows every mistake. A later
step does not report again a place that an earlier step has reported.

No finding shows a value of the file: it may be a secret. Suggestions show only known words.
"""

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


def load_config(source: str | os.PathLike[str] | Mapping[str, Any]) -> LLMConfig:
    """Read a configuration.

    Args:
        source: A path, YAML or JSON text, or a mapping. A string is text if it contains a newline, or begins with a
            brace and is not the name of a file. The router's section is under the key ``llm``; other top-level keys of
            a file are left to the application.

    Raises:
        ConfigError: anything is wrong. Its `findings` hold every mistake at once, in the order of the file, each as
            ``file:line:column: path: message (did you mean ...?)``, lines and columns from 1. No value is shown.
    """
    findings = Findings(name_of_source(source))
    section = router_section(read_tree(source, findings), findings)
    config = config_of_section(section, origin_of(source), findings)
    for warning in findings.lines():
        logger.warning("%s", warning)
    return config


def config_of_section(section: Entry, origin: ConfigOrigin, findings: Findings) -> LLMConfig:
    """Return the configuration in `section`, the tree of the router's section; remaining `findings` are warnings.

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
    """Return the location of the readable `source`, and the variables of the `.env` next to it."""
    if isinstance(source, Mapping) or is_text(source):
        return NO_ORIGIN
    file = os.path.abspath(os.fsdecode(source))  # noqa: PTH100 - links are kept
    beside = read_env_file(file)
    if beside is None:
        return ConfigOrigin(file)
    return ConfigOrigin(file, beside.path, beside.problem, beside.variables)
