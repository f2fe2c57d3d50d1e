"""Regular expressions over text that others wrote: no text makes a search take forever.

How this works. Python's `re` may take time that doubles with each letter, and blocks every thread meanwhile. So
patterns go to an engine with linear time (Rust's, which comes with pydantic). That engine has no look-around and no
backreferences. Patterns with those, or with syntax that means something else there, go to the `regex` library (the
extra ``lee-llm-router[schema]``), which ends a search after a time limit and lets other threads run.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from pydantic_core import SchemaError, SchemaValidator
from pydantic_core.core_schema import str_schema

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.work_limit import WorkLimit, WorkLimitError

MAX_PATTERN = 10_000
"""Longest pattern in characters."""
_CHARACTERS_A_STEP = 500

_OTHERWISE_IN_RUST = late_pattern(r"\\[<>zuUxbB]|\[\[|&&|--|~~|\[\^?\[|\(\?<(?![=!])")
"""Syntax that Python does not have, or that means something else in Rust: word borders, classes within classes, ..."""
_POSSESSIVE = late_pattern(r"[+*?}]\+")
_SAME_IN_RUST = late_pattern(r"\\[bB](?!\{)|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}")


class PatternError(ValueError):
    """The text is not a pattern, or needs a library that is not installed; the message says which."""


class TextPattern:
    """One pattern, made by `compile_pattern`."""

    def __init__(self, linear: SchemaValidator | None, timed: Any) -> None:
        self._linear = linear
        self._timed = timed

    def is_in(self, text: str, limit: WorkLimit) -> bool:
        """Return whether the pattern matches anywhere in `text`.

        Raises:
            WorkLimitError: finding out takes longer than `limit` allows.
        """
        limit.spend(1 + len(text) // _CHARACTERS_A_STEP)
        if self._linear is not None:
            return self._linear.isinstance_python(_encodable(text))
        try:
            return self._timed.search(text, timeout=limit.seconds(), concurrent=True) is not None
        except TimeoutError:
            raise WorkLimitError from None


class TextMask:
    """Replaces what a pattern matches by a mask. Made by `compile_mask`."""

    def __init__(self, pattern: TextPattern, timed: Any) -> None:
        self._pattern = pattern
        self._timed = timed

    def masked(self, text: str, mask: str, limit: WorkLimit) -> str:
        """Return `text` with `mask` replacing each match.

        With a plain pattern, a text without a match takes linear time.

        Raises:
            WorkLimitError: finding out takes longer than `limit` allows.
        """
        if not self._pattern.is_in(text, limit):
            return text
        try:
            found: str = self._timed.sub(
                lambda place: mask if place[0] else "", text, timeout=limit.seconds(), concurrent=True
            )
        except TimeoutError:
            raise WorkLimitError from None
        return found


@lru_cache(maxsize=512)
def compile_mask(pattern: str) -> TextMask:
    """Compile `pattern`, in the syntax of Python's `re`, for masking what it matches.

    Raises:
        PatternError: as `compile_pattern`; or it matches the empty text, or the library that finds positions is
            missing.
    """
    searched = compile_pattern(pattern)
    if re.search(pattern, "") is not None:
        raise PatternError("matches the empty text, and so every text everywhere")
    return TextMask(searched, _timed_pattern(pattern, "masking what a pattern matches needs an extra", "redact"))


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> TextPattern:
    """Compile `pattern`, in the syntax of Python's `re`, for searching.

    Raises:
        PatternError: it is invalid, or no engine with bounded time supports it.
    """
    if len(pattern) > MAX_PATTERN:
        raise PatternError(f"longer than {MAX_PATTERN} characters")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        reason = error.msg if isinstance(error, re.error) else type(error).__name__
        raise PatternError(f"not a regular expression: {reason}") from None
    if _means_the_same_in_rust(pattern):
        try:
            return TextPattern(SchemaValidator(str_schema(pattern=_in_rust(pattern), regex_engine="rust-regex")), None)
        except SchemaError:
            pass
    return TextPattern(None, _timed_pattern(pattern))


def _means_the_same_in_rust(pattern: str) -> bool:
    if _POSSESSIVE.search(re.sub(r"\\.", "", pattern, flags=re.DOTALL)):
        return False
    return _OTHERWISE_IN_RUST.search(_SAME_IN_RUST.sub("", pattern)) is None


def _in_rust(pattern: str) -> str:
    """Return `pattern` with Rust's syntax for the ends of a text."""
    # Python's `$` also matches before a newline at the end of the text.
    return re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", _end_in_rust, pattern, flags=re.DOTALL)


def _end_in_rust(found: re.Match[str]) -> str:
    text = found[0]
    return r"\z" if text == r"\Z" else r"(?:$|\n\z)" if text == "$" else text


def _timed_pattern(
    pattern: str, need: str = "look-around, backreferences and the like need an extra", extra: str = "schema"
) -> Any:
    try:
        import regex  # noqa: PLC0415 - an extra, loaded when needed
    except ImportError:
        raise PatternError(f'{need}: pip install "lee-llm-router[{extra}]"') from None
    try:
        return regex.compile(pattern, regex.VERSION0)
    except (regex.error, RecursionError, OverflowError) as error:
        raise PatternError(f"not a regular expression: {error}") from None


def _encodable(text: str) -> str:
    """Return `text` with stand-ins for half surrogates, which only Python strings can contain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
