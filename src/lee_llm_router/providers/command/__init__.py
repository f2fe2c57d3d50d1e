"""Any program."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.command.provider import CommandProvider
    from lee_llm_router.providers.command.settings import CommandConfig, FailureRule
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.command.settings",
        "lee_llm_router.providers.command.provider",
    )

__all__ = ["CommandConfig", "CommandProvider", "FailureRule"]
