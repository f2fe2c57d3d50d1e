"""Reads a configuration as far as possible, so that one run of the doctor shows every fault.

How this works: the file is loaded as usual. If it has mistakes, the faulty parts are removed from its tree, with
everything that depends on them. The rest is loaded again, until it loads or nothing is left. Mistakes that only follow
from a removal are no findings. The tree keeps the positions, so that later checks can name places in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.config.findings import Finding, Findings
from lee_llm_router.config.load import config_of_section, origin_of
from lee_llm_router.config.models import LLMConfig
from lee_llm_router.config.reading import TEXT_NAME, name_of_source, read_tree, router_section
from lee_llm_router.config.tree import Entry, Node, locate
from lee_llm_router.doctor.results import Place
from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.mistakes import PointsAt
from lee_llm_router.settings.model import KeyPath
from lee_llm_router.settings.origin import NO_ORIGIN, ConfigOrigin

_MAX_ROUNDS = 25
_CONSEQUENCES = frozenset({"missing", "unknown_provider", "unknown_role", "default_role", "section"})
"""Kinds of findings that may follow from a removal."""


@dataclass
class PartialConfig:
    """The readable part of a configuration."""

    name: str
    """Its name in findings: the file's path, or `configuration`."""
    file: str | None = None
    """The path of the file as given; None if there is none."""
    origin: ConfigOrigin = NO_ORIGIN
    section: Entry | None = None
    """The tree of the router's section, without faulty parts."""
    config: LLMConfig | None = None
    """The configuration without faulty parts; None if nothing is left."""
    mistakes: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    left_out: int = 0
    touched: set[tuple[str, str]] = field(default_factory=set)
    """Providers and roles that have lost a part, so that little can be said about them: ``("roles", "planner")``."""

    @property
    def is_whole(self) -> bool:
        """Whether the configuration has no mistake."""
        return self.config is not None and not self.mistakes

    def place(self, path: KeyPath, at: PointsAt = "key") -> Place | None:
        """Return where the key or the value at `path` is, counted from the router's section."""
        if self.file is None or self.section is None:
            return None
        position = locate(self.section, path, at)
        return Place(self.file, position.line, position.column)


def read_partly(
    source: LLMConfig | str | os.PathLike[str] | Mapping[str, Any], origin: ConfigOrigin | None = None
) -> PartialConfig:
    """Return the readable part of `source`, which is a configuration or anything that `load_config` accepts.

    With `origin` it is read as if it came from there, for text that is not in its file yet.
    """
    if isinstance(source, LLMConfig):
        file = source.origin.file
        return PartialConfig(file or "configuration", file, source.origin, config=source)
    name = name_of_source(source) if isinstance(source, (str, os.PathLike)) else TEXT_NAME
    is_file = name != TEXT_NAME
    partial = PartialConfig(name if is_file else "configuration", name if is_file else None)
    findings = Findings(name_of_source(source))
    try:
        partial.section = router_section(read_tree(source, findings), findings)
    except ConfigError:
        partial.mistakes = findings.found()
        return partial
    partial.origin = origin or origin_of(source)
    _load(partial, partial.section, findings)
    return partial


def _load(partial: PartialConfig, section: Entry, findings: Findings) -> None:
    for _ in range(_MAX_ROUNDS):
        try:
            partial.config = config_of_section(section, partial.origin, findings)
        except ConfigError:
            found = findings.found()
            is_first = not partial.mistakes
            partial.mistakes += [one for one in found if is_first or not _is_consequence(one)]
            # Not those of earlier rounds: this round finds what they left out.
            partial.left_out = findings.left_out
            if not _Pruning(section, partial).take_out(found):
                return
            findings = Findings(findings.name)
        else:
            partial.warnings, partial.left_out = findings.found(), 0
            return


def _is_consequence(finding: Finding) -> bool:
    """Whether `finding` may follow from a removal: something is missing, or nothing is left next to it."""
    return finding.kind in _CONSEQUENCES or len(finding.path) <= 2


class _Pruning:
    """Removes faulty parts from the tree of a section."""

    def __init__(self, section: Entry, partial: PartialConfig) -> None:
        self._root = section.node
        self._partial = partial

    def take_out(self, findings: list[Finding]) -> bool:
        """Remove the subjects of `findings`, and return whether there was anything to remove."""
        changed = False
        # The last item of a list first, so that earlier indexes stay valid.
        for finding in sorted(findings, key=lambda one: [str(step).zfill(9) for step in one.path], reverse=True):
            path = finding.path[1:]
            if finding.kind in ("unknown_role", "default_role"):
                changed |= self._delete(("default_role",)) or self._add_default_role()
            elif finding.kind in ("duplicate", "form"):
                changed |= self._forget_problems(path) or self._delete(path)
            else:
                changed |= self._delete(self._part_of(finding.kind, path))
        self._follow()
        return changed

    def _part_of(self, kind: str, path: KeyPath) -> KeyPath:
        """Return what to remove for a finding at `path`: the value itself, or whatever cannot exist without it."""
        if kind in ("missing", "unknown_type", "unknown_provider") and path:
            is_item = kind == "unknown_provider" and path[-1] != "provider"
            return path if is_item or self._is_bare(path) else path[:-1]
        return path

    def _is_bare(self, path: KeyPath) -> bool:
        """Whether `path` leads to a bare name instead of a mapping with a type."""
        return path[-1] not in ("type", "provider") and self._node(path) is not None

    def _node(self, path: KeyPath) -> Node | None:
        node = self._root
        for step in path:
            inner = node.value
            if isinstance(inner, dict) and step in inner:
                node = inner[step].node
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                node = inner[step]
            else:
                return None
        return node

    def _delete(self, path: KeyPath) -> bool:
        if not path:
            return False
        holder = self._node(path[:-1])
        if holder is None:
            return False
        if path[0] in ("roles", "providers") and len(path) > 1:
            self._partial.touched.add((str(path[0]), str(path[1])))
        step = path[-1]
        inner: Any = holder.value
        is_key = isinstance(inner, dict) and step in inner
        is_item = isinstance(inner, list) and isinstance(step, int) and step < len(inner)
        if is_key or is_item:
            del inner[step]
        return is_key or is_item

    def _forget_problems(self, path: KeyPath) -> bool:
        """Forget format errors of the node at `path`, or of its parent."""
        forgotten = False
        for node, key in ((self._node(path), None), (self._node(path[:-1]), path[-1] if path else None)):
            if node is not None:
                left = [problem for problem in node.problems if problem.key != key]
                forgotten |= len(left) < len(node.problems)
                node.problems = left
        return forgotten

    def _add_default_role(self) -> bool:
        roles = self._node(("roles",))
        if roles is None or not isinstance(roles.value, dict) or not roles.value:
            return False
        self._root.value["default_role"] = Entry(
            self._root.position, Node(self._root.position, next(iter(roles.value)))
        )
        return True

    def _follow(self) -> None:
        """Remove roles and fallbacks whose provider is gone."""
        providers, roles = self._node(("providers",)), self._node(("roles",))
        if providers is None or roles is None or not isinstance(roles.value, dict):
            return
        known = providers.value if isinstance(providers.value, dict) else {}
        for name, entry in list(roles.value.items()):
            role = entry.node.value
            if not isinstance(role, dict):
                continue
            fallbacks = role["fallback_providers"].node.value if "fallback_providers" in role else []
            for index in reversed(range(len(fallbacks) if isinstance(fallbacks, list) else 0)):
                if not _is_known(fallbacks[index], known):
                    self._delete(("roles", name, "fallback_providers", index))
            if not _is_known(entry.node, known):
                self._delete(("roles", name))
        default = self._node(("default_role",))
        if default is not None and default.value not in roles.value:
            self._delete(("default_role",))
            self._add_default_role()


def _is_known(target: Node, known: Mapping[str, Entry]) -> bool:
    """Whether the provider of `target`, a role or a fallback, exists; malformed targets are left alone."""
    name = target.value
    if isinstance(name, dict):
        name = name["provider"].node.value if "provider" in name else None
    return not isinstance(name, str) or name in known or "${" in name


def texts_in(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Node]]:
    """Yield each text in `node`, which is at `path`, with its own path."""
    if isinstance(node.value, dict):
        for key, entry in node.value.items():
            yield from texts_in(entry.node, (*path, key))
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from texts_in(item, (*path, index))
    elif isinstance(node.value, str):
        yield path, node
