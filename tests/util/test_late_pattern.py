"""Patterns that are compiled late do what compiled ones do."""

from __future__ import annotations

import re

from lee_llm_router._util.late_pattern import late_pattern


def test_a_late_pattern_does_what_a_compiled_one_does() -> None:
    """Each method, with the flags, the first time and later."""
    late, compiled = (make(r"(?P<word>b\w+)", re.IGNORECASE) for make in (late_pattern, re.compile))
    for text in ("a Bee", "a bee", "none"):
        for method in ("search", "findall", "split"):
            found, wanted = getattr(late, method)(text), getattr(compiled, method)(text)
            assert str(found) == str(wanted)
    assert late.sub("x", "a bee") == "a x"
    assert (late.pattern, late.flags, late.groupindex) == (compiled.pattern, compiled.flags, compiled.groupindex)
