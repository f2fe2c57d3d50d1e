"""llama.cpp models, loaded from a GGUF file into this process."""

from typing import TYPE_CHECKING

from lee_llm_router._util.lazy_names import loaded_when_asked

if TYPE_CHECKING:
    from lee_llm_router.providers.llama_cpp.provider import LlamaCppProvider
    from lee_llm_router.providers.llama_cpp.settings import LlamaCppConfig
else:
    __getattr__ = loaded_when_asked(
        __name__,
        "lee_llm_router.providers.llama_cpp.settings",
        "lee_llm_router.providers.llama_cpp.provider",
    )

__all__ = ["LlamaCppConfig", "LlamaCppProvider"]
