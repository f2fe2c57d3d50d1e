"""Functions that are tools, calls of them, and answers that hold these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from lee_llm_router import LLMResponse, ToolCall


class Unit(StrEnum):
    C = "celsius"
    F = "fahrenheit"


class Place(BaseModel):
    city: str
    country: str = "PT"


@dataclass
class Stay:
    nights: int


def get_weather(place: Place, day: date, unit: Unit = Unit.C, *, detailed: bool = False) -> dict[str, Any]:
    """Return the weather of a day.

    Only for the next week.

    Args:
        place: Where,
            as exactly as possible.
        day (date): When.
        unit: In which unit.

    Returns:
        The weather.
    """
    return {"city": place.city, "day": day, "unit": unit, "detailed": detailed}


def book(stay: Stay, tags: list[Literal["a", "b"]] | None = None) -> str:
    """Book a room.

    Parameters
    ----------
    stay : Stay
        How long.
    tags : list, optional
        Wishes.
    """
    return f"{stay.nights} nights, {tags}"


def sphinx(first: int, /, second: Annotated[int, Field(ge=0)] = 1) -> int:
    """Add.

    :param first: one
        number
    :param int second: another
    :returns: the sum
    """
    return first + second


def call(name: str, arguments: str = "{}", call_id: str = "c1") -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments)


def answer(*calls: ToolCall) -> LLMResponse:
    return LLMResponse(text="", tool_calls=calls, finish_reason="tool_calls")
