"""Ctrl-C ends a synchronous call soon, also where the signal cannot interrupt what the call waits for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.servers import Conversation, Server, eventually, http
from lee_llm_router import LocalFileTraceStore

TESTS = str(Path(__file__).parents[1])
HANG = 60.0
"""Seconds after which a call counts as hanging; its own limits are ten times as long."""
PROGRAM = """
import pathlib, signal, sys, threading, time
from lee_llm_router import LeeLLMRouter, Provider, register

class Slow(Provider):
    def complete(self, request, timeout):
        print("asked", flush=True)
        time.sleep(600)

class Told:
    def emit(self, event):
        if event.event == "llm.wait":
            print("waits", flush=True)

register("slow", Slow)
router = LeeLLMRouter({"llm": {
    "providers": {"p": {"type": "http", "base_url": sys.argv[1]}, "s": {"type": "slow"}},
    "roles": {
        "r": {"provider": "p", "model": "m", "timeout": 600, "deadline": 600, "retry": {"attempts": 5, "backoff": 600}},
        "slow": {"provider": "s", "model": "m", "timeout": 600},
    },
    "default_role": "r", "trace": {"dir": sys.argv[2]},
}}, event_sink=Told())

def router_to_a_model_here():
    sys.path.insert(0, sys.argv[3])
    from helpers.fake_llama import FakeLlama, gguf_file

    fake = FakeLlama()
    fake.replies = [[b'{"prompt_progress":{}}'] * 1_000_000]
    fake.may_go_on = lambda index: (index == 30 and print("asked", flush=True), time.sleep(0.01))
    sys.modules["xllamacpp"] = fake.module()
    return LeeLLMRouter({"llm": {
        "providers": {"l": {"type": "llama_cpp", "model_path": str(gguf_file(pathlib.Path(sys.argv[2])))}},
        "roles": {"r": {"provider": "l", "timeout": 600}}, "trace": {"dir": sys.argv[2]},
    }})

# The system gives a signal to any thread that takes it: here to this one, and not to the one that calls.
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
try:
    WAY
except KeyboardInterrupt:
    sys.exit(7)
"""
WAYS = {
    "call": 'router.complete("r", "silent")',
    "stream": 'list(router.stream("r", "silent"))',
    "wait for another attempt": 'router.complete("r", "limited")',
    "call of a provider of one's own": 'router.complete("slow", "hi")',
    "call of a model in the process": 'router_to_a_model_here().complete("r", "hi")',
}


def script(conversation: Conversation) -> None:
    while (request := conversation.receive()) is not None:
        if request.json["messages"][0]["content"] == "silent":
            conversation.stall()
        else:
            conversation.send(http(429, b"{}", {"Retry-After": "300"}))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs masks of signals")
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_that_another_thread_gets_ends_a_call_in_a_second(way: str, tmp_path: Path) -> None:
    """A signal that comes in the last moment before a system call is no better: it interrupts nothing."""
    store = LocalFileTraceStore(trace_dir=tmp_path)
    with Server(script) as server:
        command = [sys.executable, "-c", PROGRAM.replace("WAY", WAYS[way]), server.url, str(tmp_path), TESTS]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            if "silent" in WAYS[way]:
                assert eventually(lambda: bool(server.requests), HANG)
            else:
                assert child.stdout.readline() in ("asked\n", "waits\n")
            child.send_signal(signal.SIGINT)
            try:
                _, errors = child.communicate(timeout=HANG)
            finally:
                child.kill()
    assert (child.returncode, errors) == (7, "")
    assert store.last(1)[-1].outcome == "cancelled"
