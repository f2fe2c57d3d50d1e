"""What a model's name tells about what the model accepts. Pure.

How this works. Google changes the format of requests from one generation of models to the next: thinking by a budget
(2.5) or by a level (3 on), signatures that must come back (3 on), penalties that are refused (4 on). The name contains
the generation (`gemini-3.5-flash`). A name without one (`gemini-flash-latest`) is treated as the newest model. One that
is not Google's (a tuned model, a gateway's own) is treated as a model without special needs.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from lee_llm_router._util.data_class import dataclass

_GEMINI = re.compile(r"gemini-(?:(?P<major>\d{1,2})(?:\.(?P<minor>\d{1,2}))?(?:-|$)|(?P<latest>[a-z-]+-latest$))")
_GEMMA = re.compile(r"gemma-?(?P<major>\d{1,2})?")
_NEWEST = (99, 0)
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""Tokens of thinking, for models with a budget."""
_LEAST_BUDGETS = {"pro": 128, "flash": 0, "lite": 0}
_GREATEST_BUDGETS = {"pro": 32_768, "flash": 24_576, "lite": 24_576}


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What a model accepts, as far as its name tells."""

    version: tuple[int, int] | None
    """The generation of a Gemini model: (2, 5); None for any other model."""
    name: str
    """Its plain name, in lower case."""
    levels: tuple[str, ...] = ()
    """The levels of thinking it has, the lowest first, if it accepts a level."""
    takes_budget: bool = False
    """Whether it accepts a token budget for thinking instead."""
    takes_system: bool = True
    """Whether it accepts instructions separate from the messages."""
    takes_json: bool = True
    """Whether it can be restricted to JSON."""
    refused: frozenset[str] = frozenset()
    """What it has refused, by the names of `lessons`."""

    @property
    def needs_signatures(self) -> bool:
        """Whether the server refuses a function call without its thought signature."""
        return self.version is not None and self.version >= (3, 0)

    @property
    def takes_media_in_results(self) -> bool:
        """Whether a tool result may hold pictures itself."""
        return self.needs_signatures and "media in results" not in self.refused

    @property
    def takes_schema_with_tools(self) -> bool:
        """Whether an answer may be restricted to JSON while there are tools."""
        is_new = self.version is None or self.version >= (3, 0)
        return is_new and self.takes_json and "json with tools" not in self.refused

    @property
    def takes_penalties(self) -> bool:
        """Whether it accepts penalties for repeated tokens."""
        return self.version is None or self.version < (4, 0) or self.version == _NEWEST

    @property
    def thinks(self) -> bool:
        """Whether it can be told how much to think."""
        return bool(self.levels) or self.takes_budget

    def thinking(self, effort: str) -> dict[str, object]:
        """Return the `thinkingConfig` for `effort`, one of the router's scale or a level in the vendor's own word.

        Chooses the nearest level that the model has, but no higher one than asked for if it has a lower one.
        """
        shown = {} if effort == "none" else {"includeThoughts": True}
        if effort not in _EFFORTS:
            return {"thinkingLevel": effort, **shown}
        if not self.levels:
            size = "pro" if "pro" in self.name else "lite" if "lite" in self.name else "flash"
            least, greatest = _LEAST_BUDGETS[size], _GREATEST_BUDGETS[size]
            for name in self.refused:
                if name.startswith("budget "):
                    least, greatest = (int(bound) for bound in name.split()[1:])
            return {"thinkingBudget": min(max(_BUDGETS[effort], least), greatest), **shown}
        wanted = _EFFORTS.index(effort)
        lower = [level for level in self.levels if _EFFORTS.index(level) <= wanted]
        return {"thinkingLevel": (lower[-1] if lower else self.levels[0]).upper(), **shown}

    def without(self, refused: frozenset[str]) -> ModelTraits:
        """Return what the model accepts, now that it has refused something."""
        levels = tuple(level for level in self.levels if f"level {level}" not in refused)
        return replace(
            self,
            levels=levels,
            takes_system=self.takes_system and "system" not in refused,
            takes_json=self.takes_json and "json" not in refused,
            refused=refused,
        )


@lru_cache(maxsize=1024)
def traits_of(model: str) -> ModelTraits:
    """Return what the model named `model` accepts."""
    name = model.lower().rpartition("/")[2]
    if model.startswith("tunedModels/") or "/endpoints/" in f"/{model}":
        return ModelTraits(None, name)
    gemma = _GEMMA.match(name)
    if gemma is not None:
        is_new = int(gemma["major"] or 1) >= 4
        return ModelTraits(None, name, takes_system=is_new, takes_json=is_new)
    found = _GEMINI.match(name)
    if found is None:
        return ModelTraits(None, name)
    version = _NEWEST if found["latest"] else (int(found["major"]), int(found["minor"] or 0))
    speaks = not any(word in name for word in ("-image", "-tts", "embedding", "-audio", "-live"))
    return ModelTraits(
        version,
        name,
        levels=_levels(name, version) if version >= (3, 0) and speaks else (),
        takes_budget=(2, 5) <= version < (3, 0) and speaks,
    )


def _levels(name: str, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the levels of thinking of a model from generation 3 on."""
    if "flash-lite" in name or ("flash" in name and version < (3, 7)):
        return ("minimal", "low", "medium", "high")
    if version == (3, 0):
        return ("low", "high")
    return ("low", "medium", "high", "xhigh") if "-neon" in name else ("low", "medium", "high")
