"""Loads a model. Checks first, to give each usual cause its own error: llama.cpp has one sentence for all of them."""

from __future__ import annotations

from pathlib import Path

from lee_llm_router._util.data_class import dataclass
from lee_llm_router._util.shortage import lacking
from lee_llm_router.errors import LLMRouterError, ModelNotFoundError, ProviderError
from lee_llm_router.providers.llama_cpp import native
from lee_llm_router.providers.llama_cpp.gguf import GGUFError, GGUFHeader, read_header
from lee_llm_router.providers.llama_cpp.machine import free_address_space, free_memory, whole_memory
from lee_llm_router.providers.llama_cpp.native import LoadSettings, NativeServer

DEFAULT_CONTEXT = 4096
"""Default tokens of a conversation, unless the model was trained with fewer."""
INSTALL = 'pip install "lee-llm-router[local]"'

_MIB = 1024 * 1024
_OVERHEAD = 48 * _MIB
"""Bytes that llama.cpp uses besides those that depend on the model."""
_ADDRESS_OVERHEAD = 768 * _MIB
"""Bytes of address space besides the memory in use: the library, stacks and arenas of threads."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that a loaded model takes."""

    weights: int
    """The file, which also stays on disk: the system may drop parts of it, and read them again."""
    filled: int
    """Computed data: contexts, and working memory."""

    @property
    def total(self) -> int:
        """The total."""
        return self.weights + self.filled


def library_problem() -> str | None:
    """Return why xllamacpp cannot be used, as a sentence; None if it can."""
    try:
        native.load_library()
    except ImportError as error:
        if error.name == "xllamacpp":
            return f"models in this process need an extra: {INSTALL}"
        return f"xllamacpp cannot be loaded: {error}"
    except OSError as error:
        return f"xllamacpp cannot be loaded: {error.strerror or error}"
    return None


def header_of(path: str) -> GGUFHeader:
    """Return the header of the model's file.

    Raises:
        ModelNotFoundError: there is no such file, or it is not a model.
        ProviderError: this machine has run out of a resource.
    """
    try:
        return read_header(Path(path))
    except GGUFError as error:
        raise ModelNotFoundError(f"{path} {error}", final=True, sent=False) from None
    except OSError as error:
        if (short_of := lacking(error)) is not None:
            raise _short(f"{path} cannot be read: this machine has run out of {short_of}") from error
        reason = error.strerror or type(error).__name__
        raise ModelNotFoundError(f"{path} cannot be read: {reason}", final=True, sent=False) from error


def context_of(wanted: int | None, header: GGUFHeader) -> int:
    """Return the most tokens of one conversation."""
    return wanted or min(DEFAULT_CONTEXT, header.context_length or DEFAULT_CONTEXT)


def memory_need(settings: LoadSettings, header: GGUFHeader) -> MemoryNeed:
    """Return roughly how much memory a loaded model takes."""
    context, slots = context_of(settings.context, header), settings.slots
    batch = context if settings.embeddings else native.BATCH
    heads, width = max(1, header.number("attention.head_count")), header.number("embedding_length")
    groups = header.number("attention.head_count_kv") or heads
    key = header.number("attention.key_length") or width // heads
    value = header.number("attention.value_length") or width // heads
    cache = context * slots * header.number("block_count") * groups * (key + value) * 2
    work = batch * 4 * (header.vocabulary + 12 * width + 3 * header.number("feed_forward_length"))
    return MemoryNeed(header.size, cache + work + slots * header.vocabulary * 4 + _OVERHEAD)


@dataclass(frozen=True, slots=True)
class MemoryProblem:
    """Why a model does not fit into memory."""

    message: str
    is_lasting: bool
    """Whether it can never fit, however much memory comes free."""


def memory_problem(need: MemoryNeed) -> MemoryProblem | None:
    """Return why a model cannot be loaded into free memory; None if it fits."""
    free, whole, space = free_memory(), whole_memory(), free_address_space()
    if free is not None and need.filled > free:
        what = f"{shown_size(need.filled)} are needed in addition to the file, and {shown_size(free)} are free"
        return MemoryProblem(f"memory is short: {what}", whole is not None and need.filled > whole)
    wanted = need.total + _ADDRESS_OVERHEAD
    if space is not None and wanted > space:
        limit = f"the limit (ulimit -v) leaves {shown_size(space)}"
        return MemoryProblem(f"memory is short: {shown_size(wanted)} of address space are needed, and {limit}", True)
    return None


def load_model(settings: LoadSettings) -> NativeServer:
    """Load a model.

    Raises:
        LLMRouterError: it cannot be loaded.
    """
    header = header_of(settings.path)
    problem = library_problem()
    if problem is not None:
        raise ProviderError(problem, final=True, sent=False)
    context = context_of(settings.context, header)
    need = memory_need(settings, header)
    shortage = memory_problem(need)
    if shortage is not None:
        raise ProviderError(shortage.message, final=shortage.is_lasting, sent=False, local_shortage=True)
    if need.weights <= (free_memory() or need.weights):
        native.read_ahead(settings.path)
    return _start(settings, context, header)


def _start(settings: LoadSettings, context: int, header: GGUFHeader) -> NativeServer:
    try:
        return native.start_server(settings, context, Path(settings.path).stem)
    except (RuntimeError, ValueError) as error:
        what = f"architecture {header.architecture}, n_ctx {context}, {settings.slots} slots"
        template = "" if settings.chat_template is None else ", chat_template wrong"
        raise ModelNotFoundError(
            f"llama.cpp cannot load {settings.path} ({what}): its architecture may be too new for the installed"
            f" xllamacpp, the file damaged{template}, or n_ctx too large",
            final=True,
            sent=False,
        ) from error
    except MemoryError as error:
        raise _short("memory is short: the model cannot be loaded") from error
    except OSError as error:
        short_of = lacking(error)
        if short_of is not None:
            raise _short(f"the model cannot be loaded: this machine has run out of {short_of}") from error
        raise ProviderError(f"the model cannot be loaded: {error.strerror or error}", sent=False) from error


def _short(message: str) -> LLMRouterError:
    return ProviderError(message, sent=False, local_shortage=True)


def shown_size(count: int) -> str:
    """Return a number of bytes in readable form."""
    return f"{max(1, round(count / _MIB))} MiB"
