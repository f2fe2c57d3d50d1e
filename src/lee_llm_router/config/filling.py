"""A tree -> plain data: lists, mappings and values, with each ``${VAR}`` replaced from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.scrubbing import is_sensitive_header, is_sensitive_parameter
from lee_llm_router.config.environment import fill_references
from lee_llm_router.config.findings import Findings
from lee_llm_router.config.tree import TOP_KEY, Entry, Node, Position
from lee_llm_router.settings.mistakes import FindingKind
from lee_llm_router.settings.model import KeyPath


@dataclass
class FilledData:
    """The plain data of a section, and the sources of its values. Paths start at the section."""

    data: Any = None
    from_environment: dict[KeyPath, tuple[str, ...]] = field(default_factory=dict)
    """Places that held a reference, and the values of the variables used there."""
    variables: set[str] = field(default_factory=set)
    """Names of the variables that references use."""
    reported: set[KeyPath] = field(default_factory=set)
    """Places that already have a finding: a second one would only follow from the first."""

    @cached_property
    def environment_values(self) -> frozenset[str]:
        """The values of all variables used. Read only after all of them are recorded."""
        return frozenset(value for values in self.from_environment.values() for value in values)


def fill_section(section: Entry, environ: Mapping[str, str], findings: Findings) -> FilledData:
    """Return the data of `section`, filled from `environ`. Values that cannot be filled become findings, and None."""
    filler = _Filler(environ, findings)
    filler.filled.data = filler.plain(section.node, ())
    return filler.filled


@dataclass
class _Filler:
    """Walks the tree and records findings and the sources of values."""

    environ: Mapping[str, str]
    findings: Findings
    filled: FilledData = field(default_factory=FilledData)

    def plain(self, node: Node, path: KeyPath) -> Any:
        for problem in node.problems:
            if problem.key is None:
                self._report(problem.position, path, problem.message, problem.kind)
            else:
                self.findings.add(problem.position, (TOP_KEY, *path, problem.key), problem.message, kind=problem.kind)
        if isinstance(node.value, dict):
            return {key: self.plain(entry.node, (*path, key)) for key, entry in node.value.items()}
        if isinstance(node.value, list):
            return node.sequence(self.plain(item, (*path, index)) for index, item in enumerate(node.value))
        return self._text(node.value, node.position, path) if isinstance(node.value, str) else node.value

    def _text(self, text: str, position: Position, path: KeyPath) -> str | None:
        result = fill_references(text, self.environ)
        problem, kind = result.problem, result.kind
        if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
            problem, kind = "text with a NUL, or with half a character", "form"
        if result.references:
            self.filled.from_environment[path] = result.values
        elif problem is None:
            problem, kind = _literal_secret(result.text, path)
        self.filled.variables.update(result.names)
        if problem is not None:
            self._report(position, path, problem, kind)
            return None
        return result.text

    def _report(self, position: Position, path: KeyPath, message: str, kind: FindingKind) -> None:
        self.findings.add(position, (TOP_KEY, *path), message, kind=kind)
        self.filled.reported.add(path)


def _literal_secret(text: str, path: KeyPath) -> tuple[str | None, FindingKind]:
    """Return why `text`, written in the file, is a secret that does not belong there, and its kind."""
    parent, key = (None, "", *path)[-2:]
    is_key = (parent == "headers" and is_sensitive_header(str(key))) or (
        parent == "query" and is_sensitive_parameter(str(key))
    )
    if (is_key or (key == "base_url" and _has_sensitive_query(text))) and text:
        problem = "never write a key in the file: put ${NAME} instead, where NAME is its environment variable"
        return problem, "secret"
    if str(key).endswith("url") and "@" in text:
        try:
            has_login = "@" in urlsplit(text).netloc
        except ValueError:
            has_login = True
        if has_login and key == "url":  # the URL of a store, which is the place for its login
            return "never write a user or password in the file: put ${NAME} instead of the whole address", "login"
        if has_login:
            return "an address must not contain a user or password: name the key with api_key_env", "login"
    return None, "secret"


def _has_sensitive_query(url: str) -> bool:
    """Whether a query parameter written in `url` is one that commonly carries a key."""
    parameters = parse_qsl(url.partition("#")[0].partition("?")[2])
    return any(is_sensitive_parameter(name) for name, _ in parameters)
