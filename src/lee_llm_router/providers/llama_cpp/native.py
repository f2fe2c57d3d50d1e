"""The only file that imports xllamacpp: starts its server in this process, and isolates it from the outside.

How this works. `xllamacpp.Server` is llama.cpp's server as an object. It loads a model, runs its own threads, and
always listens for HTTP as well, without a key. Nobody should reach that, so it listens on a Unix socket in a private
folder, with a key that nobody knows, and the socket is removed as soon as the model is loaded.

- Loading holds the interpreter's lock throughout. To shorten that, the file is read beforehand, without the lock, so
  that the load finds it in memory, and nothing is tried out (`warmup`, `fit_params`).
- Its log is switched off. It belongs to the whole process, and would write to standard error.
- A prompt is computed in pieces of `BATCH` tokens, since a call can be stopped only between two of them.
- A forked child has none of the native threads, so it must never destroy its parent's server: that would wait for them
  forever. The object is kept until the process ends (`abandon_after_fork`). Some of the destructors that C++ runs at
  that point wait for those threads too, so they are skipped.
"""

from __future__ import annotations

import ctypes
import secrets
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from lee_llm_router._util.data_class import dataclass
from lee_llm_router.providers.llama_cpp.settings import Pooling

BATCH = 128
"""Prompt tokens to compute at once. A larger number is hardly faster."""
_READ_AHEAD = 8 * 1024 * 1024
_LONGEST_SOCKET_PATH = 100
"""Bytes. The address of a Unix socket holds 108, on macOS 104."""


class NativeServer(Protocol):
    """The methods of `xllamacpp.Server` in use."""

    def handle_chat_completions(self, body: bytes, callback: Any, /) -> None:
        """Answer the request `body`: pass each event to `callback`, until that returns true."""
        ...

    def handle_embeddings(self, body: str, /) -> str:
        """Return the answer to the request `body`, both as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How to load a model. Providers with equal settings share it."""

    path: str
    context: int | None
    """Tokens of one conversation; None: the file's default."""
    slots: int
    threads: int
    gpu_layers: int | None
    embeddings: bool
    pooling: Pooling | None
    chat_template: str | None


def load_library() -> Any:
    """Return the module xllamacpp.

    Raises:
        ImportError: it is not installed, or does not run on this machine.
    """
    return import_module("xllamacpp")


def read_ahead(path: str) -> None:
    """Make the system read the file at `path` into memory."""
    buffer = bytearray(_READ_AHEAD)
    with suppress(OSError), Path(path).open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def start_server(settings: LoadSettings, context: int, alias: str) -> NativeServer:
    """Load a model. Holds the interpreter's lock throughout.

    Args:
        settings: What to load, and how.
        context: Tokens of one conversation.
        alias: The model's name in its answers.

    Raises:
        ImportError: as `load_library`.
        OSError: there is no temporary folder.
        RuntimeError: llama.cpp cannot load it; the message does not say why.
    """
    library = load_library()
    with tempfile.TemporaryDirectory(prefix="lee-llama-") as folder:
        socket = str(Path(folder, "s.sock"))
        if len(socket.encode()) > _LONGEST_SOCKET_PATH:
            with tempfile.TemporaryDirectory(prefix="lee-llama-", dir="/tmp") as short:
                return _start(library, settings, context, alias, str(Path(short, "s.sock")))
        return _start(library, settings, context, alias, socket)


def _start(library: Any, settings: LoadSettings, context: int, alias: str, socket: str) -> NativeServer:
    params = library.CommonParams()
    params.verbosity = -1
    params.model.path = settings.path
    params.model_alias = {alias}
    params.hostnames = [socket]
    params.api_keys = [secrets.token_hex(32)]
    params.n_threads_http = 1
    params.endpoint_slots = params.ui = False
    params.n_parallel = settings.slots
    params.n_ctx = context * settings.slots
    params.n_batch = params.n_ubatch = BATCH
    for cores in (params.cpuparams, params.cpuparams_batch):
        cores.n_threads = settings.threads
    params.cache_ram_mib = 0  # it would keep up to 8 GiB of past conversations
    params.warmup = False
    params.fit_params = settings.gpu_layers is None and _has_gpu(library)
    if settings.gpu_layers is not None:
        params.n_gpu_layers = settings.gpu_layers
    if settings.chat_template is not None:
        params.chat_template = settings.chat_template
    if settings.embeddings:
        params.embedding = True
        params.n_batch = params.n_ubatch = context  # a text is processed in one piece
        pooling = (settings.pooling or "mean").upper()
        params.pooling_type = getattr(library.llama_pooling_type, f"LLAMA_POOLING_TYPE_{pooling}")
    server: NativeServer = library.Server(params)
    return server


def _has_gpu(library: Any) -> bool:
    return any("GPU" in str(device["type"]) for device in library.get_device_info())


def keep(server: NativeServer) -> None:
    """Prevent `server` from ever being destroyed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(server))


def abandon_after_fork(servers: list[NativeServer]) -> None:
    """Prevent the parent's `servers` from being destroyed in this forked child, and skip C++'s cleanup at its end."""
    for server in servers:
        keep(server)
    if not sys.platform.startswith("linux"):
        return
    with suppress(AttributeError, OSError):  # another C library has no such function
        system = ctypes.CDLL(None)
        # A function registered now runs before the destructors registered earlier. This one ends the process with its
        # exit code; by then Python has flushed its own buffers.
        system.on_exit(ctypes.cast(system._exit, ctypes.c_void_p), None)
