"""The `health` section of the configuration file."""

from pydantic import Field

from lee_llm_router.settings.fields import Integer, Number, Seconds
from lee_llm_router.settings.model import Section


class HealthConfig(Section):
    """When to leave a target alone, and how many retries an outage may cost. Kept per router."""

    failures_in_a_row: Integer = Field(5, ge=1, description="Failures in a row that open a target's breaker.")
    failure_rate: Number = Field(0.5, gt=0, le=1, description="Share of failures that opens it.")
    minimum_requests: Integer = Field(20, ge=1, description="Attempts within the window before the share counts.")
    window: Seconds = Field(30.0, ge=0.01, description="Seconds over which the share is computed.")
    cooldown: Seconds = Field(1.0, description="Seconds it stays open at first; doubles with each trip.")
    max_cooldown: Seconds = Field(5.0, description="Most seconds it stays open.")
    retry_ratio: Number = Field(0.2, ge=0, le=1, description="Retries that each answer of a provider pays for.")
    retry_burst: Number = Field(
        100.0, ge=0, le=1e9, description="Most retries that a provider's budget holds; it starts full."
    )
    rest: Seconds = Field(30.0, description="Seconds a target that cannot serve is left alone at first; doubles.")
    max_rest: Seconds = Field(600.0, description="Most seconds it is left alone.")
