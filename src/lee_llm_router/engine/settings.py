"""The configuration of retries, hedging, streams, JSON contracts and acceptance rules."""

import inspect
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializeAsAny,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from lee_llm_router._util.late_pattern import late_pattern
from lee_llm_router._util.text_pattern import MAX_PATTERN, PatternError, compile_pattern
from lee_llm_router.settings.fields import MAX_SECONDS, AllowString, Integer, Seconds, Wait
from lee_llm_router.settings.model import Section

DEFAULT_TIMEOUT = 120.0


class RetryConfig(Section):
    """How often to try, and how long to wait.

    A backoff is drawn evenly from the upper half of ``min(max_backoff, backoff * 2**n)`` seconds.
    """

    attempts: Integer = Field(3, ge=1, le=100, description="Attempts at one target, the first included.")
    max_attempts: Integer = Field(6, ge=1, le=1000, description="Attempts of the whole call, over all targets.")
    backoff: Wait = Field(0.5, description="Upper limit of the first wait, in seconds.")
    max_backoff: Wait = Field(8.0, description="Upper limit of every wait that the router chooses, in seconds.")
    patience: Wait = Field(
        10.0, description="Seconds to wait while every target is shut or cannot be reached; 0: fail at once."
    )


class StreamConfig(Section):
    """Bounds on a streamed answer, and what happens when it breaks off."""

    first_token_timeout: Seconds | None = Field(
        None, description="Seconds to wait for the first real output. Default: the attempt's timeout."
    )
    idle_timeout: Seconds = Field(30.0, description="Seconds to wait for each chunk after it.")
    on_break: Literal["raise", "restart"] = Field(
        "raise",
        description="raise: end the call with what has arrived. restart: discard it and go on as after any failure.",
    )


class ContractConfig(Section):
    """What to do if an answer breaks its JSON contract."""

    repair: Integer = Field(
        1, ge=0, le=5, description="How often to ask a target again, with its answer and what was wrong with it."
    )
    on_failure: Literal["next", "raise"] = Field(
        "next", description="What to do after that. next: ask the next target. raise: end the call with the error."
    )


_DELAY = late_pattern(r"(\d+(?:\.\d+)?)\s*(ms|s)")
_SHARE = late_pattern(r"p[5-9]\d")


def _delay(value: Any) -> Any:
    """Return seconds, or the percentile as written."""
    if isinstance(value, str):
        word = value.strip().lower()
        if _SHARE.fullmatch(word):
            return word
        found = _DELAY.fullmatch(word)
        value = None if found is None else float(found[1]) * (0.001 if found[2] == "ms" else 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SECONDS:
        raise PydanticCustomError(
            "wanted_delay", "seconds are wanted (1.5, 1.5s or 500ms), or a share of earlier answers, from p50 to p99"
        )
    return float(value)


HedgeDelay: TypeAlias = Annotated[
    float | str,
    BeforeValidator(_delay),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS},
                {"type": "string", "pattern": r"^(p[5-9]\d|\d+(\.\d+)?\s*(ms|s))$"},
            ]
        }
    ),
]
"""Seconds (``1.5``, ``1.5s``, ``500ms``), or ``p50`` to ``p99``: a percentile of the target's earlier answer times."""


class HedgeConfig(Section):
    """When to try another target while one has not begun to answer. The first good answer counts."""

    after: HedgeDelay = Field(
        "p95",
        description="How long to wait before asking it: seconds (1.5, 1.5s, 500ms), or p50 to p99: the time within"
        " which so many percent of the target's earlier answers came.",
    )
    max: Integer = Field(1, ge=0, le=5, description="Most further targets to ask in one call, each after another wait.")
    same_target: bool = Field(
        False,
        description="If no other target can be asked, ask the same one again; for an address with several servers"
        " behind it.",
    )


def _from_delay(value: Any) -> Any:
    return {"after": value} if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


AnyHedge: TypeAlias = Annotated[HedgeConfig, BeforeValidator(_from_delay), AllowString(or_number=True)]
"""A `HedgeConfig`; in the file its delay alone is enough: ``hedge: p95``."""


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _check_pattern(pattern: str) -> str:
    try:
        compile_pattern(pattern)
    except PatternError as error:
        raise PydanticCustomError("wanted_pattern", "{problem}", {"problem": str(error)}) from None
    return pattern


_Pattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN), AfterValidator(_check_pattern)]
_Patterns = Annotated[tuple[_Pattern, ...], BeforeValidator(_one_or_many), AllowString()]


class AcceptConfig(Section):
    """What makes an answer acceptable. Any other answer counts as a failed attempt, of the type INVALID_RESPONSE."""

    min_chars: Integer = Field(
        0, ge=0, le=1_000_000, description="Fewest characters of text, not counting white space around it."
    )
    must_match: _Patterns = Field(
        (), description="A Python regular expression, or a list of them; all must be found in the text."
    )
    must_not_match: _Patterns = Field(
        (), description="A Python regular expression, or a list of them; none may be found in the text."
    )
    finish_reasons: Annotated[tuple[str, ...], BeforeValidator(_one_or_many), AllowString()] | None = Field(
        None, min_length=1, description="Finish reasons of an acceptable answer: stop, tool_calls... Default: any."
    )


def _rules_or_function(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    if not callable(value):
        rules = check(value)
        # Before 2.14, pydantic shows such a value only if its model was built for itself, too.
        if not AcceptConfig.__pydantic_complete__:
            AcceptConfig.model_rebuild()
        return rules
    if inspect.iscoroutinefunction(value):
        raise PydanticCustomError("wanted_function", "a function that judges an answer cannot be async")
    return value


def _shown(value: Any) -> Any:
    return value if isinstance(value, AcceptConfig) else type(value).__name__


AnyAccept: TypeAlias = Annotated[
    SerializeAsAny[AcceptConfig],
    WrapValidator(_rules_or_function),
    PlainSerializer(_shown, return_type=Any, when_used="json"),
]
"""An `AcceptConfig`, or, in code, a function that judges an answer (`acceptance.AcceptHook`)."""
