"""Checks of the variables that a configuration uses, and of the `.env` next to it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from lee_llm_router._util.git_files import is_ignored, is_tracked, repository_of
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.doctor.partial_config import PartialConfig, texts_in
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.providers.keys import KeyedConfig, oddity_of_value
from lee_llm_router.settings.origin import ConfigOrigin

_BARE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


def check_environment(partial: PartialConfig) -> Iterator[CheckResult]:
    """Report which variables come from where, which look as if a tool had passed them on wrongly, and who can read
    them."""
    origin = partial.config.origin if partial.config is not None else partial.origin
    if origin.env_file is not None:
        at = Place(origin.env_file)
        if origin.env_problem is not None:
            yield found("LLR201", origin.env_file, f"not read: {origin.env_problem}", at=at)
        elif partial.config is not None:
            yield found("LLR200", origin.env_file, _shares(partial.config, origin), at=at)
        yield from _openness(Path(origin.env_file))
    without_default = _without_default(partial)
    for name in sorted(origin.used):
        yield from _value(name, origin, name in without_default)


def _without_default(partial: PartialConfig) -> set[str]:
    """Return the variables that the file refers to without a default, so that an empty value leaves an empty text."""
    texts = texts_in(partial.section.node, ()) if partial.section is not None else ()
    return {name for _, node in texts for name in _BARE.findall(node.value.replace("$${", ""))}


def _value(name: str, origin: ConfigOrigin, has_no_default: bool) -> Iterator[CheckResult]:
    value = origin.variable(name)
    odd = oddity_of_value(value or "")
    if has_no_default and value is not None and not value.strip():
        yield found("LLR205", f"variable {name}", "it is set, but its value is empty", at=_place_of(name, origin))
    elif odd is not None:
        yield found(odd.check, f"variable {name}", odd[1], at=_place_of(name, origin))


def _place_of(name: str, origin: ConfigOrigin) -> Place | None:
    """Return where the `.env` sets the variable; None if it comes from elsewhere."""
    if origin.env_file is None or name in os.environ or name not in origin.variables:
        return None
    try:
        lines = Path(origin.env_file).read_text(errors="replace").splitlines()
    except OSError:
        return Place(origin.env_file)
    for number, line in enumerate(lines, 1):
        if line.strip().removeprefix("export ").lstrip().partition("=")[0].rstrip() == name:
            return Place(origin.env_file, number, 1)
    return Place(origin.env_file)


def _openness(path: Path) -> Iterator[CheckResult]:
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    at, name = Place(str(path)), str(path)
    if mode & _READABLE_BY_OTHERS:
        yield found("LLR206", name, f"other users may read it (mode {stat.S_IMODE(mode):04o})", at=at)
    if is_tracked(path):
        yield found("LLR207", name, "git tracks it, with the keys in it", at=at)
    elif repository_of(path) is not None and not is_ignored(path):
        yield found("LLR208", name, "git does not ignore it: the next `git add` may add it", at=at)


def _shares(config: LLMConfig, origin: ConfigOrigin) -> str:
    """Return which variables the `.env` sets, and which the environment already has."""
    asked = set(origin.used)
    for settings in config.providers.values():
        named = getattr(settings, "api_key_env", None)
        keys = settings.key_variables() if isinstance(settings, KeyedConfig) else (named,)
        asked.update(name for name in (*keys, *getattr(settings, "env", ())) if isinstance(name, str))
    known = asked & origin.variables.keys()
    given, own = sorted(known - os.environ.keys()), sorted(known & os.environ.keys())
    text = f"gives {', '.join(given)}" if given else "has nothing that the configuration uses"
    return text + (f"; the environment has its own {', '.join(own)}" if own else "")
