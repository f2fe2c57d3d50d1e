"""Describes what is wrong with the options of a call. Loaded only when an option is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lee_llm_router._util.peer_words import peer_hint
from lee_llm_router._util.scrubbing import bounded
from lee_llm_router._util.suggestions import MAX_WORD, Suggester
from lee_llm_router.config.findings import IN_A_FILE, dotted, message_of
from lee_llm_router.config.known_keys import home_hint


def problems_of(error: ValidationError, options: type[Any], sections: Mapping[int | str, type[BaseModel]]) -> str:
    """Return the mistakes in options, with suggestions, on one line and worded like the file's findings.

    Args:
        error: The error from pydantic.
        options: The typed dict of all options.
        sections: The models of options that are sections.
    """
    suggester = Suggester()
    told = [_told(problem, suggester, options, sections) for problem in _that_matter(error.errors(include_url=False))]
    return "; ".join(dict.fromkeys(told))


def _that_matter(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """Keep only the relevant error of a wrong `schema`: as a mapping if it is one, else as a type."""
    as_type = next((problem for problem in problems if problem["type"] == "wanted_type"), None)
    if as_type is None:
        return problems
    was_mapping = isinstance(as_type["input"], Mapping)
    return [problem for problem in problems if problem["loc"][0] != "schema" or (problem is as_type) != was_mapping]


def _told(
    problem: ErrorDetails, suggester: Suggester, options: type[Any], sections: Mapping[int | str, type[BaseModel]]
) -> str:
    path = problem["loc"] or ("options",)
    section = sections.get(path[0])
    is_inside = section is not None and len(path) > 1
    name = dotted(path) if is_inside else bounded(str(path[0]), MAX_WORD)
    if problem["type"] != "extra_forbidden":
        return f"{name}: {message_of(problem).removesuffix(IN_A_FILE)}"
    word = str(path[-1])
    known = list(section.model_fields) if is_inside and section else sorted(get_type_hints(options))
    near = suggester.closest(word, known)
    hint = peer_hint(word, known, "" if is_inside else "call") or home_hint(word)
    return f"{name}: no such option{hint or (f' (did you mean {near}?)' if near else '')}"
