"""Plain data -> a validated model; validation errors become findings with positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.peer_words import peer_hint
from lee_llm_router._util.scrubbing import scrub
from lee_llm_router._util.suggestions import sharing_suggester
from lee_llm_router.config.filling import FilledData
from lee_llm_router.config.findings import GENERIC_MESSAGE, KEY_WORDS, SCALAR_KINDS, Findings, kind_of, message_of
from lee_llm_router.config.known_keys import home_hint, known_keys, sibling_hint
from lee_llm_router.config.references import check_references
from lee_llm_router.config.syntax_causes import invisible_character
from lee_llm_router.config.tree import TOP_KEY, Entry, locate, value_at
from lee_llm_router.providers.vendors import hint_for_address
from lee_llm_router.settings.mistakes import Mistake
from lee_llm_router.settings.model import KeyPath

_PLACES = {"providers": "provider", "roles": "role"}

_MAX_SEARCHES = 500_000
"""The most searches for environment values in messages while one configuration is checked."""

_MAX_SEARCHED = 2000
"""Characters of a value that are searched for an invisible one."""

ModelT = TypeVar("ModelT", bound=BaseModel)


def check_section(filled: FilledData, section: Entry, model: type[ModelT], findings: Findings) -> ModelT:
    """Validate `filled` as a `model`.

    Args:
        filled: The section's data. Changed in place if the text of a variable is read as a number or a boolean.
        section: The tree of the same section, for positions.
        model: The model to make.
        findings: Collects the mistakes.

    Raises:
        ConfigError: there are findings, from here or from an earlier step.
    """
    return _Checker(filled, section, model, findings).checked()


@dataclass
class _Checker(Generic[ModelT]):
    filled: FilledData
    section: Entry
    model: type[ModelT]
    findings: Findings
    searches_left: int = _MAX_SEARCHES

    def checked(self) -> ModelT:
        # Check the written data, since the model checks its references only if all its fields are right.
        if isinstance(self.filled.data, Mapping):
            for mistake in check_references(self.filled.data):
                self._add_finding(mistake)
        config = self._validated()
        if config is None or self.findings:
            raise self.findings.error()
        return config

    def _validated(self) -> ModelT | None:
        """Return the model; None after reporting every error."""
        errors: list[ErrorDetails] = []
        # A second time if a text has to be read as a number, a boolean or null.
        for _ in range(2):
            try:
                with sharing_suggester(self.findings.suggester):
                    return self.model.model_validate(self.filled.data)
            except ValidationError as invalid:
                errors = invalid.errors(include_url=False)
            wanted = {self._path_of(error) for error in errors if error["type"] in SCALAR_KINDS}
            if not self._read_as_scalars(wanted):
                break
        seen: set[KeyPath] = set()
        for index, error in enumerate(errors):
            if self.findings.is_full:
                self.findings.left_out += len(errors) - index
                break
            path = self._path_of(error)
            # The first error at a place causes the others there.
            if path not in seen and not (error["type"] == "reference" and self.findings):
                seen.add(path)
                self._report_error(error, path)
        return None

    def _read_as_scalars(self, paths: set[KeyPath]) -> bool:
        """Read the texts at `paths` as YAML would, and return whether any of them changed type."""
        from lee_llm_router.config.yaml_reader import read_scalar  # noqa: PLC0415 - loads a YAML library

        changed = False
        for path in paths:
            holder = value_at(self.filled.data, path[:-1])
            text = holder[path[-1]]
            value = read_scalar(text) if isinstance(text, str) else text
            if value is not text and not isinstance(value, str) and not isinstance(holder, tuple):
                holder[path[-1]] = value
                if path in self.filled.from_environment:
                    self.filled.from_environment[path] = ()  # a number or a boolean is not a secret
                changed = True
        return changed

    def _path_of(self, error: ErrorDetails) -> KeyPath:
        """Return the path of an error: pydantic's location without the steps that name unions and keys."""
        path: list[str | int] = []
        current, location = self.filled.data, error["loc"]
        for index, step in enumerate(location):
            if _has(current, step):
                current = current[step]
            elif error["type"] != "missing" or index < len(location) - 1:
                continue
            path.append(step)
        return tuple(path)

    def _report_error(self, error: ErrorDetails, path: KeyPath) -> None:
        """Add the finding for a pydantic error."""
        kind, context = error["type"], error.get("ctx") or {}
        about = kind_of(error)
        message = message_of(error, self._secrets)
        if isinstance(ours := context.get("mistake"), Mistake):
            # Its message may quote an exception of a provider type, so remove the values of variables.
            secrets = self._secrets()
            message = GENERIC_MESSAGE if secrets is None else scrub(ours.message, secrets)
            self._add_finding(ours._replace(path=path, message=message))
        elif kind == "extra_forbidden":
            self._add_finding(self._unknown_key(path, message))
        elif kind in ("literal_error", "enum"):
            # Pydantic gives the allowed words only as one text.
            words = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
            self._add_finding(Mistake(path, message, word=error["input"], known=words, kind=about))
        elif kind == "missing":
            self._add_finding(Mistake(path, message, at="parent", kind=about))
        elif kind == "placeholder" and error["loc"][-1] not in path:
            # The file gives no address, and the alias's address has a part that only the user knows.
            hint = hint_for_address(value_at(self.filled.data, path).get("type"))
            self._add_finding(
                Mistake((*path, str(error["loc"][-1])), "missing", at="parent", hint=hint, kind="missing")
            )
        elif error["loc"][-1:] == ("[key]",):
            self._add_finding(Mistake(path, f"as a name, {message}", at="key", kind=about))
        elif isinstance(error["input"], str) and (odd := invisible_character(error["input"][:_MAX_SEARCHED])):
            message = f"{message}; here is an invisible character, U+{ord(odd):04X}"
            self._add_finding(Mistake(path, message, kind=about))
        else:
            self._add_finding(Mistake(path, message, kind=about))

    def _secrets(self) -> Collection[str] | None:
        """Return the texts to remove from third-party messages; None (omit them) once that has taken too long."""
        secrets = self.filled.environment_values
        self.searches_left -= len(secrets)
        return secrets if self.searches_left >= 0 else None

    def _unknown_key(self, path: KeyPath, message: str) -> Mistake:
        key, known = str(path[-1]), known_keys(self.model, path[:-1], self.filled.data)
        if odd := invisible_character(key[:_MAX_SEARCHED]):
            message += f", with an invisible character in it (U+{ord(odd):04X})"
        if key.lower() in KEY_WORDS and "api_key_env" in known:
            message = "never write a key in the file: name its environment variable with api_key_env"
            return Mistake(path, message, at="key", kind="secret")
        if f"{key}s" in known:  # the plural is meant, whatever other libraries call it
            return Mistake(path, message, at="key", word=key, known=known, kind="unknown_key")
        hint = sibling_hint(key, path[:-1]) or peer_hint(key, known, _PLACES.get(str(path[0]), ""))
        hint = hint or (home_hint(key) if known else "")
        return Mistake(path, message, at="key", word=key, known=known, hint=hint, kind="unknown_key")

    def _add_finding(self, mistake: Mistake) -> None:
        """Add a finding, unless an earlier step has already reported its place."""
        if mistake.path not in self.filled.reported:
            hint = mistake.hint or self.findings.suggester.did_you_mean(mistake.word, mistake.known)
            position = locate(self.section, mistake.path, mistake.at)
            self.findings.add(position, (TOP_KEY, *mistake.path), mistake.message, hint, kind=mistake.kind)


def _has(container: Any, step: str | int) -> bool:
    if isinstance(container, Mapping):
        return step in container
    return isinstance(container, (list, tuple)) and isinstance(step, int) and step < len(container)
