"""The doctor: checks of a configuration on this machine."""

from lee_llm_router.config.discovery import CONFIG_NAMES, CONFIG_VARIABLE, find_config
from lee_llm_router.doctor.checks import CheckResult, Level, diagnose

__all__ = [
    "CONFIG_NAMES",
    "CONFIG_VARIABLE",
    "CheckResult",
    "Level",
    "diagnose",
    "find_config",
]
