"""A real language model behind a real llama.cpp server on loopback, in a process of its own.

Run as a program, it serves the model named by its first argument, prints its address, and ends when its standard
input does. So it ends with the tests, however they end.
"""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from lee_llm_router.providers.llama_cpp.machine import usable_cores

READY_TIMEOUT = 180.0
MAX_TOKENS = 48
"""Tokens of one answer: enough to see that it is one, few enough for a slow machine."""
CONTEXT = 4096
"""Tokens a conversation may have."""
SLOTS = 2


def available(model: str) -> str:
    """Why the model cannot be served; empty if it can."""
    if not Path(model).is_file():
        return f"there is no model at {model!r}"
    return "" if importlib.util.find_spec("xllamacpp") else "xllamacpp is not installed"


@contextmanager
def serve_model(model: str, *, embeddings: bool = False) -> Iterator[str]:
    """A running server for a GGUF file, one for embeddings perhaps; gives its address, with ``/v1`` at the end."""
    with model_process(model, embeddings=embeddings) as (_, address):
        yield address


@contextmanager
def model_process(model: str, *, embeddings: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """As `serve_model`; gives the server's process too, for those who mean to kill it."""
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, __file__, model, *(["embeddings"] if embeddings else [])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as child:
            try:
                yield child, _address(child, log.fileno()) + "/v1"
            finally:
                assert child.stdin is not None
                child.stdin.close()
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    child.kill()


def _address(child: subprocess.Popen[bytes], log: int) -> str:
    assert child.stdout is not None
    deadline = monotonic() + READY_TIMEOUT
    seen = b""
    while b"\n" not in seen:
        ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - monotonic()))
        data = os.read(child.stdout.fileno(), 4096) if ready else b""
        if not data:
            said = os.pread(log, 4000, 0).decode(errors="replace")
            raise RuntimeError(f"the model server did not come up: {said}")
        seen += data
    return seen.partition(b"\n")[0].decode()


def main(model: str, kind: str = "chat") -> None:
    """Serve `model` until standard input ends."""
    # llama.cpp may print to standard output, where only the address belongs.
    address_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import xllamacpp  # type: ignore[import-not-found, import-untyped, unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"] if isinstance(params.hostnames, list) else "127.0.0.1"
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT * SLOTS
    params.n_predict = MAX_TOKENS
    # Threads spin while they wait for each other: with one for each core, a busy machine spends eight times the CPU.
    for cores in (params.cpuparams, params.cpuparams_batch):
        cores.n_threads = max(1, usable_cores() // 2)
    if kind == "embeddings":
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_batch = params.n_ubatch = CONTEXT
    server = xllamacpp.Server(params)
    print(server.listening_address, file=address_to, flush=True)
    sys.stdin.buffer.read()
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
