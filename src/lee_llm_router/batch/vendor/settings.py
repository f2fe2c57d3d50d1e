"""The options of the engine `vendor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.batch.settings import check_engine_options
from lee_llm_router.errors import ConfigError

FIRST_WAIT = 30.0
"""Seconds until the status of a batch is first polled."""
LONGEST_WAIT = 600.0
"""The most seconds between two polls. Vendors promise a day, and mostly need less than an hour."""
AHEAD = 200_000
"""Rows at the vendor at once: they stay in memory until their answers come."""
MAX_MB = 64.0
"""Megabytes of one batch, since its upload is built in memory; a vendor's own limit may be lower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorSettings:
    """The settings in `engine_options`."""

    provider: str | None = None
    """The provider whose batch API is used. Default: a row's first target that has one."""
    first_wait: float = FIRST_WAIT
    """See `FIRST_WAIT`. Each wait is 1.5 times as long as the one before."""
    longest_wait: float = LONGEST_WAIT
    ahead: int = AHEAD
    max_rows: int | None = None
    """Rows of one batch. Default: as many as the vendor accepts."""
    max_mb: float = MAX_MB
    cancel: bool = False
    """Whether to cancel the batches at the vendor instead of waiting for them, and then end."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return the settings in `options`.

        Raises:
            ConfigError: one is unknown or wrong.
        """
        check_engine_options("vendor", options, [field.name for field in fields(cls)])
        settings = cls(**options)
        if settings.provider is not None and not isinstance(settings.provider, str):
            raise ConfigError("provider of the engine vendor is the name of a provider", sent=False)
        if not isinstance(settings.cancel, bool):
            raise ConfigError("cancel of the engine vendor is true or false", sent=False)
        for name in ("first_wait", "longest_wait", "max_mb"):
            if not _is_number(getattr(settings, name)):
                raise ConfigError(f"{name} of the engine vendor is a number above 0", sent=False)
        for name in ("ahead", "max_rows"):
            value = getattr(settings, name)
            if value is not None and not (isinstance(value, int) and _is_number(value)):
                raise ConfigError(f"{name} of the engine vendor is a number of rows, at least 1", sent=False)
        return settings


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value < float("inf")
