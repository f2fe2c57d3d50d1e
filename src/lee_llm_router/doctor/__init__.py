"""What is wrong, or will be, with a configuration on this machine."""

from lee_llm_router.config.discovery import CONFIG_NAMES, CONFIG_VARIABLE, find_config
from lee_llm_router.doctor.checks import Finding, Level, diagnose

__all__ = [
    "CONFIG_NAMES",
    "CONFIG_VARIABLE",
    "Finding",
    "Level",
    "diagnose",
    "find_config",
]
