"""The doctor: checks of a configuration on this machine."""

from lee_llm_router.config.discovery import CONFIG_NAMES, CONFIG_VARIABLE, find_config
from lee_llm_router.doctor.checks import CheckResult, Level, diagnose
from lee_llm_router.doctor.live.diagnosis import diagnose_live

__all__ = [
    "CONFIG_NAMES",
    "CONFIG_VARIABLE",
    "CheckResult",
    "Level",
    "diagnose",
    "diagnose_live",
    "find_config",
]
