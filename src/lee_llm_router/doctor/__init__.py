"""Checks a configuration on this machine, offline and live, and repairs what it can."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.config.discovery import CONFIG_NAMES, CONFIG_VARIABLE, find_config
    from lee_llm_router.doctor.checks import CheckResult, Level, diagnose
    from lee_llm_router.doctor.live.diagnosis import diagnose_live
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.doctor.checks",
        "lee_llm_router.config.discovery",
        "lee_llm_router.doctor.live.diagnosis",
    )

__all__ = [
    "CONFIG_NAMES",
    "CONFIG_VARIABLE",
    "CheckResult",
    "Level",
    "diagnose",
    "diagnose_live",
    "find_config",
]
