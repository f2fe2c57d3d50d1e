"""A mistake in a configuration, before its line and column are known."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from lee_llm_router._util.suggestions import current_suggester
from lee_llm_router.settings.model import KeyPath

PointsAt: TypeAlias = Literal["key", "value", "parent"]
"""Where a finding points: at the key, at its value, or, if the key is missing, at the key of its parent."""


FindingKind: TypeAlias = Literal[
    "syntax",
    "unreadable",
    "section",
    "form",
    "duplicate",
    "unknown_key",
    "missing",
    "type",
    "value",
    "unknown_provider",
    "unknown_role",
    "unknown_type",
    "repeated",
    "default_role",
    "secret",
    "login",
    "unset",
    "reference",
    "unsupported",
    "other",
]
"""The subject of a finding, for code that sorts findings: the doctor has an id for each."""


class Mistake(NamedTuple):
    """One mistake."""

    path: KeyPath
    """Keys and indexes, from the router's section inwards."""
    message: str
    at: PointsAt = "value"
    word: Any = None
    """The word as written, used to find a suggestion; never shown."""
    known: Collection[str] = ()
    """The words that may have been meant."""
    hint: str = ""
    """The suggestion, if there already is one."""
    kind: FindingKind = "other"


def missing_extra(message: str) -> PydanticCustomError:
    """Return the error that a model's validator raises if a package is missing: `message` says what to install."""
    mistake = Mistake((), message, kind="unknown_type")
    return PydanticCustomError("missing_extra", "{text}", {"text": message, "mistake": mistake})


def validation_error(kind: str, mistakes: Iterable[Mistake]) -> ValidationError:
    """Return `mistakes` as one pydantic error of type `kind`; its text ends with the suggestion.

    The context holds the mistake, so the configuration's own report need not parse that text.
    """
    suggester = current_suggester()
    details = []
    for mistake in mistakes:
        hint = mistake.hint or suggester.did_you_mean(mistake.word, mistake.known)
        # Leave out the word: pydantic shows the context, and the written value must stay hidden.
        shown = mistake._replace(word=None, known=(), hint=hint)
        error = PydanticCustomError(kind, "{text}", {"text": mistake.message + hint, "mistake": shown})
        details.append(InitErrorDetails(type=error, loc=mistake.path, input=None))
    return ValidationError.from_exception_data("configuration", details, hide_input=True)
