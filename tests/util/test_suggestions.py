"""Suggestions for misspelt words."""

from __future__ import annotations

import pytest

from lee_llm_router._util.suggestions import Suggester


@pytest.mark.parametrize(
    ("word", "known", "closest"),
    [
        ("plannr", ["planner", "coder"], "planner"),
        ("PLANNER", ["planner"], "planner"),
        ("planner", ["Planner"], "Planner"),
        ("zebra", ["planner"], None),
        ("planner", [], None),
        ("", ["planner"], None),
        (5, ["5"], None),
        (None, ["None"], None),
        ("x" * 65, ["x" * 64], None),
    ],
)
def test_the_closest_known_word_is_found(word: object, known: list[str], closest: str | None) -> None:
    """Whatever the case; nothing for what is no word, or far from all."""
    assert Suggester().closest(word, known) == closest
    assert Suggester().did_you_mean(word, known) == ("" if closest is None else f" (did you mean {closest!r}?)")


def test_a_suggester_stops_when_its_comparisons_are_used_up() -> None:
    """A thousand wrong names among a thousand must not take minutes."""
    suggester = Suggester(comparisons=3)
    assert suggester.closest("plannr", ["planner", "coder"]) == "planner"
    assert suggester.closest("plannr", ["planner", "coder"]) is None
