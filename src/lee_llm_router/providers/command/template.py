"""Templates of words on a command line: text with placeholders such as ``{model}``. Pure.

``{{`` and ``}}`` are braces. A word is filled but never split, so no value can add a word. A group of words is left out
if any of its placeholders has no value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from lee_llm_router._util.suggestions import current_suggester
from lee_llm_router.errors import InvalidRequestError

FILES = ("prompt_file", "system_file", "schema_file", "output_file")
"""Placeholders for files of an attempt."""
FOLDERS = ("workspace", "config_folder", "temp_folder")
OPTIONS = (
    "model", "temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty",
    "reasoning_effort", "service_tier",
)  # fmt: skip
"""Placeholders for options of a call."""
PLACEHOLDERS = (*OPTIONS, *FILES, *FOLDERS)

Word: TypeAlias = "str | tuple[str, ...]"
"""A word, or a group of words that belong together."""

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SHOWN = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,31}")


class TemplateError(ValueError):
    """The text is not a template; the message says why."""


def placeholders_of(words: Sequence[Word]) -> frozenset[str]:
    """Return the names of all placeholders in `words`."""
    flat = (word for one in words for word in ((one,) if isinstance(one, str) else one))
    return frozenset(found[1] for word in flat for found in _PART.finditer(word) if found[1])


def check_template(word: str) -> None:
    """Check that every brace in `word` belongs to a known placeholder, or is doubled.

    Raises:
        TemplateError: one is neither.
    """
    for found in _PART.finditer(word):
        name = found[1]
        if found[0] in ("{", "}") or name == "":
            raise TemplateError("write a literal brace twice: {{ or }}")
        if name is not None and name not in PLACEHOLDERS:
            shown = repr(name) if _SHOWN.fullmatch(name) else "(not shown)"
            near = current_suggester().did_you_mean(name, PLACEHOLDERS)
            hint = near or "; write a literal brace twice"
            raise TemplateError(f"unknown placeholder {shown}{hint}")


def fill_words(words: Sequence[Word], values: Mapping[str, str]) -> list[str]:
    """Return `words` with their placeholders filled.

    A word with more than a placeholder in it (``--seed={seed}``) is a group of its own.

    Raises:
        InvalidRequestError: a word that is only a placeholder has no value, or a value would begin with a dash.
    """
    filled: list[str] = []
    for one in words:
        group = (one,) if isinstance(one, str) else one
        missing = placeholders_of(group) - values.keys()
        if not missing:
            filled += [_filled_argument(word, values) for word in group]
        elif isinstance(one, str) and _PART.fullmatch(one):
            raise InvalidRequestError(
                f"the command wants a value for {one}, and the call has none: put it in a list with its flag, so that"
                " both are left out",
                sent=False,
            )
    return filled


def fill(word: str, values: Mapping[str, str]) -> str | None:
    """Return one word with its placeholders filled; None if one of them has no value."""
    if placeholders_of((word,)) - values.keys():
        return None
    return _PART.sub(lambda found: values[found[1]] if found[1] else found[0][0], word)


def _filled_argument(word: str, values: Mapping[str, str]) -> str:
    text = fill(word, values) or ""
    if text.startswith("-") and not word.startswith("-"):
        # A program would read such a value as an option.
        raise InvalidRequestError(f"the value of {word.partition('}')[0]}}} begins with a dash", sent=False)
    return text
