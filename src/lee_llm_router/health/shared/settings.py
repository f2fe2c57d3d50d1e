"""Settings of shared states: the section `state` of the configuration."""

from pydantic import Field

from lee_llm_router.settings.fields import Seconds
from lee_llm_router.settings.plugins import PluginSettings


class StateSettings(PluginSettings):
    """Settings that every shared state has."""

    namespace: str = Field(
        "lee-llm-router",
        min_length=1,
        max_length=200,
        description="Routers with the same namespace share a state; the same provider name must mean the same provider"
        " in all of them.",
    )
    lease: Seconds = Field(
        2.0, ge=0.1, le=60, description="Seconds after which everything that a dead process held is free again."
    )
    patience: Seconds = Field(
        0.04,
        le=1,
        description="Most seconds that a call waits for the shared state; after that each router decides for itself.",
    )
    timeout: Seconds = Field(0.25, le=10, description="Seconds after which an exchange with the state fails.")
