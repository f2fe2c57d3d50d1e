"""Converts names of functions to a form that Gemini accepts, and back. Pure.

A name begins with a letter or an underscore, and has letters, digits, underscores, dots, colons and dashes, 128 at
most. Any other is sent as a legal one made from it, the same each time; calls in the answer get the caller's name back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

_LEGAL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}")
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_.:-]+")


@lru_cache(maxsize=4096)
def legal_name(name: str) -> str:
    """Return `name` if it is legal, or else a legal one made from it, which no other name becomes."""
    if _LEGAL.fullmatch(name):
        return name
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"_{_ILLEGAL.sub('_', name)[:110].strip('_')}_{digest}"


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the function of a tool in the OpenAI shape, nested or flat; None if it is no function."""
    function = tool.get("function")
    if isinstance(function, Mapping):
        return function
    return tool if tool.get("type") == "function" and isinstance(tool.get("name"), str) else None


def functions_in(tools: Sequence[Mapping[str, Any]] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the functions among `tools`."""
    for tool in tools or ():
        function = function_of(tool)
        if function is not None:
            yield function


def names_back(tools: Sequence[Mapping[str, Any]] | None) -> dict[str, str]:
    """Return the names of `tools` that are changed: the name sent, and the caller's."""
    names = (str(function.get("name") or "") for function in functions_in(tools))
    return {legal_name(name): name for name in names if legal_name(name) != name}
