"""What all CLI agents share. Write one by subclassing `AgentProvider`; see `base`."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.agents.attempt_dirs import AttemptDirs
    from lee_llm_router.providers.agents.base import AgentProvider
    from lee_llm_router.providers.agents.failures import Failure
    from lee_llm_router.providers.agents.run import AgentCommand, AgentRun
    from lee_llm_router.providers.agents.settings import AgentConfig, ProgramConfig
    from lee_llm_router.providers.agents.turn import AgentTurn
    from lee_llm_router.providers.child_process.runner import ChildResult
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.child_process.runner",
        "lee_llm_router.providers.agents.attempt_dirs",
        "lee_llm_router.providers.agents.settings",
        "lee_llm_router.providers.agents.run",
        "lee_llm_router.providers.agents.failures",
        "lee_llm_router.providers.agents.turn",
        "lee_llm_router.providers.agents.base",
    )

__all__ = [
    "AgentCommand",
    "AgentConfig",
    "AgentProvider",
    "AgentRun",
    "AgentTurn",
    "AttemptDirs",
    "ChildResult",
    "Failure",
    "ProgramConfig",
]
