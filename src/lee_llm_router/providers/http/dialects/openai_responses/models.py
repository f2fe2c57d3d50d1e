"""What the names of OpenAI's models tell about what they refuse. Pure.

This supplements the rule to send everything that is asked for, which holds for any model with an unknown name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_GPT = re.compile(r"(?:.*/)?gpt-(\d+)(?:\.(\d+))?(?!\d)(.*)", re.DOTALL)
_NOT_REASONING = re.compile(r"(?:.*/)?(?:gpt-[34](?!\d)|chatgpt-|gpt-5-chat)", re.DOTALL)
_O_SERIES = re.compile(r"(?:.*/)?o[134](?:-|$)", re.DOTALL)
_FIRST_WITH_BREAKPOINTS = (5, 6)
"""The first version of GPT that supports cache breakpoints."""


class KnownModel(NamedTuple):
    """What is known of one model."""

    efforts: tuple[str, ...] = ()
    """The words for its reasoning effort; empty: not known."""
    reasons: bool | None = None
    samples: bool = True
    """Whether it accepts `temperature` and `top_p` at any effort."""
    samples_unthinking: bool = True
    """Whether it accepts them if told not to think."""
    breakpoints: bool = False
    """Whether it supports cache breakpoints."""


_UNKNOWN = KnownModel()
_USUAL = ("low", "medium", "high")
_O = KnownModel(_USUAL, reasons=True, samples=False, samples_unthinking=False)


@lru_cache(maxsize=256)
def known_model(name: str | None) -> KnownModel:
    """Return what is known of the model `name`, which may begin with a vendor (``openai/gpt-5``)."""
    if name is None or len(name) > 200:
        return _UNKNOWN
    if _NOT_REASONING.match(name):
        return KnownModel(reasons=False)
    if _O_SERIES.match(name):
        return _O
    if re.match(r"(?:.*/)?gpt-oss", name):
        return KnownModel(_USUAL, reasons=True)
    match = _GPT.match(name)
    return _UNKNOWN if match is None else _gpt((int(match[1]), int(match[2] or 0)), match[3])


def _gpt(version: tuple[int, int], rest: str) -> KnownModel:
    if version < (5, 0):
        return _UNKNOWN
    if version >= _FIRST_WITH_BREAKPOINTS:
        return KnownModel(reasons=True, samples=version >= (6, 0), breakpoints=True)
    if version == (5, 0):
        efforts = ("high",) if "-pro" in rest else _USUAL if "-codex" in rest else ("minimal", *_USUAL)
        return KnownModel(efforts, reasons=True, samples=False, samples_unthinking=False)
    more = () if version == (5, 1) and "-codex-max" not in rest else ("xhigh",)
    if "-chat" in rest:
        return _UNKNOWN
    if "-pro" in rest:
        return KnownModel((*_USUAL[1:], *more), reasons=True, samples=False, samples_unthinking=False)
    less = () if "-codex" in rest else ("none",)
    return KnownModel((*less, *_USUAL, *more), reasons=True, samples=False)
