"""Checks of the file itself: the loader's findings, keys written in it, and who may read it."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from lee_llm_router._util.counted_things import counted
from lee_llm_router._util.git_files import is_tracked
from lee_llm_router._util.scrubbing import MASK, is_sensitive_parameter, looks_like_key, scrub
from lee_llm_router._util.small_files import read_small_file
from lee_llm_router.config.findings import Finding, dotted
from lee_llm_router.config.reading import MAX_BYTES
from lee_llm_router.config.tree import TOP_KEY
from lee_llm_router.doctor.partial_config import PartialConfig, texts_in
from lee_llm_router.doctor.results import CheckResult, Place, found
from lee_llm_router.doctor.role_checks import lacking_options
from lee_llm_router.settings.mistakes import FindingKind
from lee_llm_router.settings.model import KeyPath

ID_OF_KIND: Mapping[FindingKind, str] = {
    "syntax": "LLR101", "unreadable": "LLR102", "section": "LLR103", "unknown_key": "LLR104", "missing": "LLR105",
    "type": "LLR106", "value": "LLR107", "duplicate": "LLR108", "unknown_provider": "LLR109",
    "unknown_role": "LLR110", "unknown_type": "LLR111", "repeated": "LLR112", "secret": "LLR113", "login": "LLR114",
    "unset": "LLR115", "reference": "LLR116", "default_role": "LLR117", "form": "LLR118", "unsupported": "LLR603",
    "other": "LLR122",
}  # fmt: skip
"""The id for each kind of the loader's findings."""

_SECRETS = ("LLR113", "LLR114", "LLR119")
_NAMES = ("_env", "_envs", "_file", "_header", "key_as")
"""Endings of settings that name where a key is, and contain none."""
_SHORTEST = 8
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


def check_file(partial: PartialConfig) -> Iterator[CheckResult]:
    """Yield findings about the file."""
    if partial.is_whole and partial.config is not None:
        providers, roles = len(partial.config.providers), len(partial.config.roles)
        text = f"reads well: {counted(providers, 'provider')}, {counted(roles, 'role')}"
        yield found("LLR100", partial.name, text, at=_whole(partial))
    results = [_finding(partial, one) for one in _in_order(partial.mistakes)]
    if partial.left_out:
        results.append(found("LLR123", partial.name, f"and {partial.left_out} more", at=_whole(partial)))
    results += [_finding(partial, one) for one in partial.warnings if not _is_told_of_all(partial, one)]
    results += _written_keys(partial, {result.line for result in results if result.id in _SECRETS})
    yield from results
    if any(result.id in _SECRETS for result in results):
        yield from _openness(partial)


def _whole(partial: PartialConfig) -> Place | None:
    return Place(partial.file) if partial.file else None


def _is_told_of_all(partial: PartialConfig, warning: Finding) -> bool:
    """Whether no target of the role can serve, which is then reported for the role."""
    if warning.kind != "unsupported" or partial.config is None or len(warning.path) < 3:
        return False
    return all(lacking_options(partial.config, str(warning.path[2])))


def _in_order(findings: list[Finding]) -> list[Finding]:
    return sorted(dict.fromkeys(findings), key=lambda one: one.position)


def _finding(partial: PartialConfig, finding: Finding) -> CheckResult:
    check = ID_OF_KIND[finding.kind]
    place = Place(partial.file, *finding.position) if partial.file else None
    level = "warning" if finding.kind == "unsupported" else None
    subject = str(place) if place else partial.name
    return found(check, subject, finding.text, at=place, level=level)  # type: ignore[arg-type]


def _written_keys(partial: PartialConfig, told: set[int | None]) -> Iterator[CheckResult]:
    """Yield the lines with a text that has the shape of a key, or a setting named like one.

    Args:
        partial: What was read.
        told: Lines already reported.
    """
    seen = set(told)
    for number, column in _shaped_like_keys(partial):
        if number not in seen and partial.file is not None:
            seen.add(number)
            at = Place(partial.file, number, column)
            yield found("LLR119", str(at), "something here has the shape of a vendor's key", at=at)
    for path, node in texts_in(partial.section.node, ()) if partial.section is not None else ():
        place = Place(partial.file, *node.position) if partial.file and node.position.line else None
        if (place is None or place.line not in seen) and _may_be_key(path, node.value):
            seen.add(place.line if place else None)
            text = f"{dotted((TOP_KEY, *path))}: this looks like a key that is written out"
            yield found("LLR119", str(place or partial.name), text, at=place, level="warning")


def _shaped_like_keys(partial: PartialConfig) -> Iterator[tuple[int, int]]:
    """Yield line and column of texts with the shape of a vendor's key, including comments and other sections."""
    if partial.file is None:
        return
    try:
        text = read_small_file(partial.file, MAX_BYTES)[0].decode(errors="replace")
    except (OSError, ValueError):
        return
    if scrub(text) == text:
        return
    for number, line in enumerate(text.splitlines(), 1):
        clean = scrub(line)
        # A text that is already masked (an example with ***), or filled in from a variable, is not a key.
        if clean != line and "${" not in line[max(0, clean.find(MASK) - 2) :]:
            yield number, next((i for i, (new, old) in enumerate(zip(clean, line, strict=False)) if new != old), 0) + 1


def _may_be_key(path: KeyPath, text: str) -> bool:
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    if "${" in text or len(text) < _SHORTEST or any(char.isspace() for char in text) or name.endswith(_NAMES):
        return False
    if path[:1] == ("roles",) and ("schema" in path or "response_schema" in path):
        return False
    return (is_sensitive_parameter(name) and any(char.isdigit() for char in text)) or (
        name not in ("model", "type", "provider") and "/" not in text and looks_like_key(text)
    )


def _openness(partial: PartialConfig) -> Iterator[CheckResult]:
    """Report who else may read a file that contains a key."""
    if partial.file is None:
        return
    path = Path(partial.file)
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if mode & _READABLE_BY_OTHERS:
        text = f"holds a key, and other users may read it (mode {stat.S_IMODE(mode):04o})"
        yield found("LLR120", partial.file, text, at=Place(partial.file))
    if is_tracked(path):
        yield found("LLR121", partial.file, "holds a key, and git tracks it", at=Place(partial.file))
