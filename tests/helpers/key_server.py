"""A server that answers by the key that it is asked with, and routers that have several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from helpers.servers import Received, Server, answering_by, completion, json_answer
from helpers.support import FakeClock, Memory
from lee_llm_router import (
    LeeLLMRouter,
)
from lee_llm_router.config import LLMConfig, load_config

KEYS = {"KEY_A": "secret-of-a", "KEY_B": "secret-of-b", "KEY_C": "secret-of-c"}
NAMES = {value: name for name, value in KEYS.items()}
OK = json_answer(completion("hello"))

Answer = bytes | Callable[[Received], bytes]


class KeyServer(Server):
    """Answers by the key that it is asked with: `answers` has what is not a plain answer."""

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        self.answers: dict[str, Answer] = dict(answers or {})
        super().__init__(answering_by(self._answer))

    def __enter__(self) -> KeyServer:
        super().__enter__()
        return self

    def _answer(self, received: Received) -> bytes:
        answer = self.answers.get(key_of(received), OK)
        return answer if isinstance(answer, bytes) else answer(received)

    @property
    def asked(self) -> list[str]:
        """The keys it was asked with, in order."""
        return [key_of(one) for one in self.requests]


def key_of(received: Received) -> str:
    return NAMES[received.headers["authorization"].removeprefix("Bearer ")]


def refusal(status: int, code: str = "", **headers: str) -> bytes:
    body = {"error": {"message": "no", "code": code}}
    return json_answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def config_of(server: KeyServer, role: Any = None, others: Any = None, state: Any = None, **settings: Any) -> LLMConfig:
    """One provider with three keys, and whatever stands behind it in the chain."""
    keyed = {"type": "http", "model": "m", "base_url": server.url, "api_key_env": list(KEYS), **settings}
    chain = {"provider": "k", "fallback_providers": list(others or {})}
    top = {} if state is None else {"state": state}
    return load_config(
        {"llm": {"providers": {"k": keyed, **(others or {})}, "roles": {"r": {**chain, **(role or {})}}, **top}}
    )


@contextmanager
def routed(server: KeyServer, **settings: Any) -> Iterator[tuple[LeeLLMRouter, Memory, FakeClock]]:
    """A router by `config_of`, on a fake clock."""
    memory, clock = Memory(), FakeClock()
    with LeeLLMRouter(config_of(server, **settings), trace_store=memory, clock=clock, random=lambda: 0.0) as router:
        yield router, memory, clock
