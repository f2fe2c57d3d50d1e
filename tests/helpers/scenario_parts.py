"""What the scenario tables are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lee_llm_router.errors import FailureType, LLMRouterError, error_for
from lee_llm_router.response import LLMResponse


@dataclass(frozen=True)
class Scenario:
    """One row. `trail` has an entry for each record: ``target outcome-or-failure verdict``."""

    name: str
    plays: Mapping[str, Sequence[Any]]
    trail: Sequence[str]
    ends: str
    """The text of the answer, or the failure type of the error."""
    waits: Sequence[float] = ()
    role: Mapping[str, Any] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    messages: Any = "hi"


def fail(kind: str, **details: Any) -> LLMRouterError:
    return error_for(FailureType(kind), f"{kind} happened", **details)


def reply(text: str, **fields: Any) -> LLMResponse:
    return LLMResponse(text=text, **{"finish_reason": "stop", **fields})


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]

RESTART = {"stream": {"on_break": "restart"}}
"""So that a streamed call does what an unstreamed one does after output has been handed on."""
