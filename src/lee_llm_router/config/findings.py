"""Findings: one line for each mistake, in the order of the file, never quoting a value."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple, get_args

from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.scrubbing import bounded, looks_like_key, scrub
from lee_llm_router._util.suggestions import MAX_WORD, Suggester
from lee_llm_router.config.tree import Position
from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.mistakes import FindingKind
from lee_llm_router.settings.model import KeyPath

_PLAIN_KEY = late_pattern(r"[A-Za-z0-9_-]+")

KEY_WORDS = frozenset({
    "access_token", "api_key", "api_token", "apikey", "auth_token", "bearer", "key", "password", "secret", "token",
})  # fmt: skip
"""Keys under which people write the secret itself."""


MAX_FINDINGS = 2_000
"""The most findings that are worded: far more than anyone reads; it limits the time they take."""


class Finding(NamedTuple):
    """One finding, for code that needs more than its line."""

    position: Position
    path: KeyPath
    """Keys and indexes from the top of the file; empty for the source as a whole."""
    kind: FindingKind
    text: str
    """The mistake, without its place; the path precedes it."""


class Findings:
    """Collects the findings of one source.

    Args:
        name: The name of the source: the file's path, ``<text>`` or ``<mapping>``.
    """

    def __init__(self, name: str) -> None:
        self.name = bounded(name)
        self._lines: dict[str, Finding] = {}
        self.left_out = 0
        """How many findings were not worded because there are already `MAX_FINDINGS`."""
        self.suggester = Suggester()
        """Shared by all findings, since its budget covers the whole source."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def is_full(self) -> bool:
        """Whether no more findings are worded."""
        return len(self._lines) >= MAX_FINDINGS

    def add(
        self, position: Position | None, path: KeyPath, message: str, hint: str = "", *, kind: FindingKind = "other"
    ) -> None:
        """Add one finding; the same line twice counts once.

        Args:
            position: Where it points; None for the source as a whole.
            path: Keys and indexes from the top of the file.
            message: The mistake, without a value.
            hint: A suggestion of known words, appended unchanged.
            kind: The subject of the finding.
        """
        if self.is_full:
            self.left_out += 1
            return
        place = f":{position.line}:{position.column}" if position is not None and position.line else ""
        at = f"{bounded(dotted(path), 300)}: " if path else ""
        text = scrub(at + bounded(message)) + hint
        found = Finding(position or Position(0, 0), path, kind, text)
        self._lines.setdefault(f"{self.name}{place}: {text}", found)

    def lines(self) -> list[str]:
        """Return all findings in the order of the source."""
        return sorted(self._lines, key=lambda line: self._lines[line].position)

    def found(self) -> list[Finding]:
        """Return all findings in the order of the source."""
        return sorted(self._lines.values(), key=lambda finding: finding.position)

    def error(self) -> ConfigError:
        """Return all findings as one error."""
        lines = self.lines()
        count = "1 mistake" if len(lines) == 1 else f"{len(lines) + self.left_out} mistakes"
        if self.left_out:
            lines.append(f"{self.name}: and {self.left_out} more")
        return ConfigError(f"{count} in the configuration {self.name}", findings=lines, sent=False)


def dotted(path: KeyPath) -> str:
    """Return `path` as people write it: ``llm.roles.planner.fallback_providers[0].model``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step) and len(step) <= MAX_WORD:
            text += f".{step}" if text else step
        else:
            text += f"[{bounded(step, MAX_WORD)!r}]"
    return text


IN_A_FILE = ": put it in quotes"
"""The ending of a finding about how to write text in a file."""

_TEXTS = {
    "a mapping is wanted": ("dict_type", "model_type", "model_attributes_type", "mapping_type", "dataclass_type"),
    "a list is wanted": ("list_type", "tuple_type", "set_type", "frozen_set_type"),
    f"text is wanted{IN_A_FILE}": ("string_type", "string_sub_type"),
    "a whole number is wanted": ("int_type", "int_parsing", "int_from_float", "int_parsing_size", "wanted_integer"),
    "a number is wanted": ("float_type", "float_parsing", "wanted_number"),
    "true or false is wanted": ("bool_type", "bool_parsing"),
    "a finite number is wanted": ("finite_number",),
    "no value is allowed here": ("none_required",),
    "missing": ("missing",),
    "unknown key": ("extra_forbidden",),
    "does not have the required form": ("string_pattern_mismatch",),
}
_BY_TYPE = {kind: text for text, kinds in _TEXTS.items() for kind in kinds}
_BOUNDS = {
    "greater_than": ("gt", "must be greater than"), "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"), "less_than_equal": ("le", "must be at most"),
}  # fmt: skip

_KNOWN = frozenset(get_args(ErrorType))
"""Pydantic's own error types. Any other type is a custom error with a text from a validator."""

SCALAR_KINDS = frozenset(
    kind
    for text in ("a whole number is wanted", "a number is wanted", "true or false is wanted")
    for kind in _TEXTS[text]
) | {"none_required"}
"""Error types that mean: a number, a boolean or nothing is expected here, not text."""


def kind_of(error: ErrorDetails) -> FindingKind:
    """Return the kind of a pydantic error, whether it is pydantic's own or from one of our validators."""
    kind = str(error["type"])
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "unknown_key"
    if kind == "url_credentials":
        return "login"
    if kind == "wanted_env_name" and looks_like_key(str(error.get("input"))):
        return "secret"
    return "type" if kind in _BY_TYPE and kind != "string_pattern_mismatch" else "value"


GENERIC_MESSAGE = "not a valid value here"
"""Shown if a validator's own message must be hidden."""


def message_of(error: ErrorDetails, secrets: Callable[[], Collection[str] | None] = tuple) -> str:
    """Return the message of a pydantic error, in our words and without the value.

    A validator's own message is kept, but without the value it checked and without the texts that `secrets` returns. If
    `secrets` returns None, the message is left out.
    """
    kind, context = str(error["type"]), error.get("ctx") or {}
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        bound = context[name]
        return f"{text} {bound:.15g}" if isinstance(bound, float) else f"{text} {bound}"
    if kind in ("literal_error", "enum"):
        return f"one of {context['expected']} is wanted"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty" if context["min_length"] == 1 else f"must have at least {context['min_length']}"
    if kind in ("too_long", "string_too_long"):
        return f"must have at most {context['max_length']}"
    return _words_of_validator(error, secrets())


def _words_of_validator(error: ErrorDetails, secrets: Collection[str] | None) -> str:
    kind = error["type"]
    if secrets is None:
        return GENERIC_MESSAGE
    if kind in ("value_error", "assertion_error"):
        text = str((error.get("ctx") or {}).get("error", ""))
    else:
        text = "" if kind in _KNOWN else error["msg"]
    return _without(error.get("input"), text, secrets)


def _without(value: Any, text: str, secrets: Iterable[str]) -> str:
    """Return `text` without `value`, without any longer text inside `value`, and without `secrets`."""
    whole = [str(value)] if isinstance(value, (str, int, float)) and not isinstance(value, bool) else []
    hidden = [*whole, *(item for item in _texts(value) if len(item) >= 8)]
    hidden += [repr(item)[1:-1] for item in hidden]
    return scrub(text, [*hidden, *secrets]) or GENERIC_MESSAGE


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
