"""Prompts with placeholders for the fields of a row: ``Translate to {language}: {text}``."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

from lee_llm_router.errors import ConfigError
from lee_llm_router.telemetry.record_json import json_text


class MissingFieldError(LookupError):
    """A row lacks a field that the template names."""


class PromptTemplate:
    """A text with the names of fields in braces; ``{{`` and ``}}`` are literal braces.

    A name is looked up among the fields of a row, and nothing more: no attribute, no index, no format. The content of a
    field is never read as a template.

    Args:
        text: The template.

    Raises:
        ConfigError: it is not a valid template; the message says why.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces: list[tuple[str, str | None]] = []
        try:
            pieces = list(Formatter().parse(text))
        except ValueError as error:
            raise _wrong(f"{error}; write {{{{ and }}}} for braces") from None
        for literal, name, form, conversion in pieces:
            if name is not None and (form or conversion or not name.strip() or set(".[]{}") & set(name)):
                raise _wrong("braces may hold only the name of a field; write {{ and }} for braces")
            self._pieces.append((literal, name and name.strip()))
        self.fields = frozenset(name for _, name in self._pieces if name is not None)
        """The names of the fields in it."""
        if not self.fields:
            raise _wrong("it names no field of a row, so all prompts would be the same: write {name} for a field")

    def filled(self, fields: Mapping[str, Any]) -> str:
        """Return the text with the values of `fields` filled in; a value that is not text is written as JSON.

        Raises:
            MissingFieldError: a field is missing, or is null.
        """
        parts: list[str] = []
        for literal, name in self._pieces:
            parts.append(literal)
            if name is not None:
                value = fields.get(name)
                if value is None:
                    raise MissingFieldError(name)
                parts.append(value if isinstance(value, str) else json_text(value).decode())
        return "".join(parts)


def _wrong(reason: str) -> ConfigError:
    return ConfigError(f"the template cannot be used: {reason}", sent=False)
