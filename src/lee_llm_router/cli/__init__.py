"""The command line."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.cli.commands import app, main
else:
    __getattr__ = loaded_when_asked(__name__, "lee_llm_router.cli.commands")

__all__ = [
    "app",
    "main",
]
