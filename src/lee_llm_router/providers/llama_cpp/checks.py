"""The doctor's checks of a model in this process: library, file, cores and memory. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from lee_llm_router._util.check_note import CheckNote
from lee_llm_router.errors import LLMRouterError
from lee_llm_router.providers.llama_cpp.gguf import GGUFHeader
from lee_llm_router.providers.llama_cpp.loading import (
    context_of,
    header_of,
    library_problem,
    memory_need,
    memory_problem,
    shown_size,
)
from lee_llm_router.providers.llama_cpp.machine import free_memory, usable_cores
from lee_llm_router.providers.llama_cpp.native import LoadSettings
from lee_llm_router.providers.llama_cpp.settings import LlamaCppConfig

Finding: TypeAlias = tuple[Literal["ok", "warning", "error"], str]


def check_model(config: LlamaCppConfig, settings: LoadSettings | None) -> Iterator[Finding]:
    """Check everything that loading a model needs.

    Args:
        config: The provider's settings.
        settings: How to load the model; None if the file cannot be named.
    """
    problem = library_problem()
    found = problem is None
    yield CheckNote("ok", "xllamacpp is installed", "LLR500") if found else CheckNote("error", str(problem), "LLR520")
    if settings is None:
        yield CheckNote("error", f"{config.model_path}: there is no home folder", "LLR521")
        return
    try:
        header = header_of(settings.path)
    except LLMRouterError as error:
        yield CheckNote("error", error.message, "LLR521")
        return
    yield CheckNote("ok", _about(settings, header), "LLR500")
    yield from _check_context(settings, header)
    yield _cores(config, settings)
    yield _memory(settings, header)


def _about(settings: LoadSettings, header: GGUFHeader) -> str:
    named = f"{header.name}, " if header.name else ""
    trained = f", trained with {header.context_length} tokens" if header.context_length else ""
    return f"{settings.path}: {named}architecture {header.architecture}, {shown_size(header.size)}{trained}"


def _check_context(settings: LoadSettings, header: GGUFHeader) -> Iterator[Finding]:
    context = context_of(settings.context, header)
    if header.context_length and context > header.context_length:
        text = f"n_ctx is {context}, but the model was trained with {header.context_length} tokens"
        yield CheckNote("warning", text, "LLR522")
    if header.chat_template is None and settings.chat_template is None:
        text = "the file holds no chat template: is it a model for conversations? (chat_template sets one)"
        yield CheckNote("warning", text, "LLR523")


def _cores(config: LlamaCppConfig, settings: LoadSettings) -> Finding:
    cores = usable_cores()
    text = f"computes with {settings.threads} of {cores} core{'s' * (cores != 1)}"
    if config.n_threads is not None and config.n_threads > cores:
        more = f"{text}: n_threads {config.n_threads} is more than this process may use"
        return CheckNote("warning", more, "LLR524")
    return CheckNote("ok", text, "LLR500")


def _memory(settings: LoadSettings, header: GGUFHeader) -> Finding:
    need, free = memory_need(settings, header), free_memory()
    problem = memory_problem(need)
    if problem is not None:
        return CheckNote("error", problem.message, "LLR525")
    text = f"needs about {shown_size(need.total)} of memory"
    if free is None:
        return CheckNote("ok", text, "LLR500")
    if need.total > free:
        less = f"{text}, and {shown_size(free)} are free: parts of the file will be read again and again"
        return CheckNote("warning", less, "LLR526")
    return CheckNote("ok", f"{text}; {shown_size(free)} are free", "LLR500")
