"""What a configuration says about retries, streams and JSON contracts."""

from typing import Literal

from pydantic import Field

from lee_llm_router.settings.fields import Integer, Number, Seconds
from lee_llm_router.settings.model import Section

DEFAULT_TIMEOUT = 120.0


class RetryConfig(Section):
    """How often to try, and how long to wait.

    A backoff is drawn evenly from the upper half of ``min(max_backoff, backoff * 2**n)`` seconds.
    """

    attempts: Integer = Field(3, ge=1, le=100, description="Attempts at one target, the first included.")
    max_attempts: Integer = Field(6, ge=1, le=1000, description="Attempts of the whole call, over all targets.")
    backoff: Number = Field(0.5, ge=0, description="Seconds: the upper end of the first wait.")
    max_backoff: Number = Field(8.0, ge=0, description="Seconds: no wait of our own choosing is longer.")
    patience: Number = Field(
        10.0, ge=0, description="Seconds to wait while every target is shut or cannot be reached; 0: fail at once."
    )


class StreamConfig(Section):
    """Bounds on a streamed answer, and what happens when it breaks off."""

    first_token_timeout: Seconds | None = Field(
        None, description="Seconds until the first real output. Default: the attempt's timeout."
    )
    idle_timeout: Seconds = Field(30.0, description="Seconds between two pieces from then on.")
    on_break: Literal["raise", "restart"] = Field(
        "raise", description="raise: end with what came. restart: discard it and go on as after any failure."
    )


class ContractConfig(Section):
    """What follows when an answer breaks its JSON contract."""

    repair: Integer = Field(
        1, ge=0, le=5, description="How often a target is asked again, with its answer and what was wrong with it."
    )
    on_failure: Literal["next", "raise"] = Field(
        "next", description="What follows then. next: the next target. raise: the call ends with the error."
    )
