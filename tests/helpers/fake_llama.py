"""A stand-in for xllamacpp, and small GGUF files: what a model in this process does, without one.

The stand-in behaves as xllamacpp 2026.10 was seen to: the server is loaded by its constructor, gives each event of an
answer to a function until that returns true, swallows what the function raises, raises ValueError for a request that it
does not understand, and gives `{"error": ...}` in place of an answer where it refuses.
"""

from __future__ import annotations

import json
import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
TEMPLATE_WITH_TOOLS = "{% if tools %}{{ tools }}{% endif %}" + TEMPLATE

_KINDS = {"u32": (4, "<I"), "u64": (10, "<Q"), "f32": (6, "<f"), "bool": (7, "<?"), "i8": (1, "<b")}


def text_of(value: str) -> bytes:
    """A text as GGUF writes it."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def field_of(name: str, value: Any, kind: str = "u32") -> bytes:
    """A field as GGUF writes it: a text, a number of `kind`, or a list of either."""
    head = text_of(name)
    if isinstance(value, str):
        return head + struct.pack("<I", 8) + text_of(value)
    if isinstance(value, list):
        inner = 8 if value and isinstance(value[0], str) else _KINDS[kind][0]
        parts = (text_of(one) if isinstance(one, str) else struct.pack(_KINDS[kind][1], one) for one in value)
        return head + struct.pack("<IIQ", 9, inner, len(value)) + b"".join(parts)
    number, form = _KINDS[kind]
    return head + struct.pack("<I", number) + struct.pack(form, value)


FIELDS: Mapping[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 16,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": [1, 2],
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
    "tokenizer.chat_template": TEMPLATE,
}


def gguf_bytes(
    fields: Mapping[str, Any] = FIELDS, *, version: int = 3, tensors: int = 1, more: Iterable[bytes] = ()
) -> bytes:
    """A whole GGUF file with these fields, and tensors of 32 zeros."""
    written = [*(field_of(name, value) for name, value in fields.items()), *more]
    described = [
        text_of(f"t{index}") + struct.pack("<IQIQ", 1, 32, 0, index * 128) for index in range(tensors)
    ]  # one dimension, 32 elements, F32
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, len(written)) + b"".join(written) + b"".join(described)
    return head + bytes(-len(head) % 32) + bytes(128 * tensors)


def gguf_file(folder: Path, name: str = "tiny.gguf", **options: Any) -> Path:
    """`gguf_bytes`, written to a file."""
    path = folder / name
    path.write_bytes(gguf_bytes(**options))
    return path


Reply = Literal["answer"] | Mapping[str, Any] | Exception | list[Any]
"""What the stand-in does: answers with words, gives an error, raises, or gives these events."""


class FakeLlama:
    """The module `xllamacpp`, and what the tests want to know of it."""

    def __init__(self) -> None:
        self.words: list[str] = ["Hello", ", ", "world"]
        self.replies: list[Reply] = []
        """What to do with the calls to come, the first first; then answer."""
        self.load_error: Exception | None = None
        self.bodies: list[dict[str, Any]] = []
        """All requests so far."""
        self.params: list[Any] = []
        """How each server was loaded."""
        self.servers: list[weakref.ref[Any]] = []
        self.loading = threading.Event()
        """Set when a load has begun."""
        self.may_load = threading.Event()
        self.may_load.set()
        self.answering = threading.Event()
        """Set when a call has begun."""
        self.may_go_on: Callable[[int], Any] = lambda index: None
        """Called before each event with its number; it may wait."""
        self.at_once = 0
        self.most_at_once = 0
        self.loads_at_once = 0
        self.most_loads_at_once = 0
        self.stopped_after: list[int] = []
        """Events given to each call that was stopped."""
        self.lock = threading.Lock()

    @property
    def alive(self) -> int:
        """Servers that are not destroyed."""
        return sum(server() is not None for server in self.servers)

    def module(self) -> ModuleType:
        """The module."""
        found = ModuleType("xllamacpp")
        found.CommonParams = _params  # type: ignore[attr-defined]
        found.Server = lambda params: _FakeServer(self, params)  # type: ignore[attr-defined]
        found.get_device_info = lambda: [{"type": "GGML_BACKEND_DEVICE_TYPE_CPU"}]  # type: ignore[attr-defined]
        kinds = {f"LLAMA_POOLING_TYPE_{name}": name for name in ("MEAN", "CLS", "LAST")}
        found.llama_pooling_type = SimpleNamespace(**kinds)  # type: ignore[attr-defined]
        return found


def _params() -> Any:
    parts = {name: SimpleNamespace() for name in ("model", "cpuparams", "cpuparams_batch", "sampling")}
    return SimpleNamespace(**parts)


class _FakeServer:
    def __init__(self, fake: FakeLlama, params: Any) -> None:
        self._fake = fake
        with fake.lock:
            fake.params.append(params)
            fake.loads_at_once += 1
            fake.most_loads_at_once = max(fake.most_loads_at_once, fake.loads_at_once)
        Path(params.hostnames[0]).touch()
        fake.loading.set()
        assert fake.may_load.wait(30)
        with fake.lock:
            fake.loads_at_once -= 1
        if fake.load_error is not None:
            raise fake.load_error
        fake.servers.append(weakref.ref(self))

    def handle_chat_completions(self, body: bytes, callback: Callable[[bytes], object]) -> None:
        fake = self._fake
        with fake.lock:
            fake.bodies.append(json.loads(body))
            reply = fake.replies.pop(0) if fake.replies else "answer"
            fake.at_once += 1
            fake.most_at_once = max(fake.most_at_once, fake.at_once)
        fake.answering.set()
        try:
            if isinstance(reply, Exception):
                raise reply
            events = [reply] if isinstance(reply, Mapping) else reply if isinstance(reply, list) else answer(fake.words)
            for index, event in enumerate(events):
                fake.may_go_on(index)
                if _stops(
                    callback, event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()
                ):
                    fake.stopped_after.append(index + 1)
                    return
        finally:
            with fake.lock:
                fake.at_once -= 1

    def handle_embeddings(self, body: str) -> str:
        fake = self._fake
        asked = json.loads(body)
        fake.bodies.append(asked)
        reply = fake.replies.pop(0) if fake.replies else "answer"
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, Mapping):
            return json.dumps(reply)
        data = [{"index": i, "embedding": [float(len(text)), 0.5]} for i, text in enumerate(asked["input"])]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return json.dumps({"object": "list", "model": "tiny", "data": data, "usage": usage})


def _stops(callback: Callable[[bytes], object], event: bytes) -> bool:
    try:
        return bool(callback(event))
    except BaseException:
        return False  # as xllamacpp does: it goes on


def answer(words: Iterable[str], finish_reason: str = "stop") -> list[dict[str, Any]]:
    """The events of an answer, as llama.cpp gives them."""
    progress = {"total": 4, "cache": 0, "processed": 0, "time_ms": 0}
    usage = {"completion_tokens": 3, "prompt_tokens": 4, "total_tokens": 7}
    return [
        {**_chunk({"role": "assistant", "content": None}), "prompt_progress": progress},
        {**_chunk({"role": "assistant", "content": None}), "prompt_progress": progress | {"processed": 4}},
        _chunk({"role": "assistant", "content": None}),
        *(_chunk({"content": word}) for word in words),
        _chunk({}, finish_reason),
        {"object": "chat.completion.chunk", "model": "tiny", "choices": [], "usage": usage},
    ]


def _chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "model": "tiny", "choices": [choice]}
