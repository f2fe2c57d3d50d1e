"""A real model in this process: answers, schemas, cancellation, bad files, short memory, forks, a program's end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from pydantic import BaseModel

from helpers.servers import open_descriptors
from helpers.support import Memory
from lee_llm_router import ConfigError, FailureType, LeeLLMRouter, LLMRouterError, LLMTimeoutError

pytestmark = pytest.mark.real

PROMPT = "Count from one to fifty in words, separated by commas."
HANG = 240.0
SOON = 20.0
"""Seconds of computing: far more than a call takes to be stopped, far less than it would go on."""


def config_of(model: str | Path, role: dict[str, Any] | None = None, **inside: Any) -> dict[str, Any]:
    role = {
        "temperature": 0,
        "max_tokens": 24,
        "timeout": 200,
        "deadline": 220,
        "retry": {"attempts": 1},
        **(role or {}),
    }
    return {
        "llm": {
            "providers": {"inside": {"type": "llama_cpp", "model_path": str(model), **inside}},
            "roles": {"r": {"provider": "inside", **role}},
            "trace": {"enabled": False},
        }
    }


def test_an_answer_is_the_same_in_each_form(model: str) -> None:
    """Whole and streamed, sync and async: text, finish reason, usage; in many pieces."""
    with LeeLLMRouter(config_of(model, extra_body={"ignore_eos": True})) as router:
        whole = router.complete("r", PROMPT)
        stream = router.stream("r", PROMPT)
        pieces = [chunk.text for chunk in stream]

        async def both() -> tuple[str, str]:
            parts = [chunk.text async for chunk in router.stream_async("r", PROMPT)]
            return (await router.complete_async("r", PROMPT)).text, "".join(parts)

        assert asyncio.run(both()) == (whole.text, whole.text)
    assert "".join(pieces) == whole.text == stream.response.text != ""
    assert len(pieces) > 5
    assert stream.response.finish_reason == whole.finish_reason == "length"
    assert whole.usage.completion_tokens == stream.response.usage.completion_tokens == 24
    assert whole.model == Path(model).stem
    assert whole.raw["choices"][0]["message"]["content"] == whole.text


class Town(BaseModel):
    name: str
    inhabitants: int


@pytest.mark.parametrize("streamed", [False, True])
def test_a_schema_is_honoured(model: str, streamed: bool) -> None:
    with LeeLLMRouter(config_of(model, {"max_tokens": 200})) as router:
        question = "Describe Paris as JSON with the keys name and inhabitants."
        if streamed:
            stream = router.stream("r", question, schema=Town)
            seen = [stream.partial for _ in stream]
            assert len(seen) > 3
            parsed = stream.response.parsed
        else:
            parsed = router.complete("r", question, schema=Town).parsed
    assert isinstance(parsed, Town) and parsed.name


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"v": {"type": "string", "pattern": r"^\d{4}$"}}, "required": ["v"],
         "additionalProperties": False},
        {"type": "object", "properties": {"v": {"type": "string", "pattern": "^[^a]{2}.$"}}, "required": ["v"],
         "additionalProperties": False},
        {"type": "string", "enum": ["red", "green"]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    ],
)  # fmt: skip
def test_nothing_is_printed_for_a_schema(model: str, schema: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """llama.cpp would print what it makes no grammar of."""
    with LeeLLMRouter(config_of(model, {"max_tokens": 60})) as router:
        parsed = router.complete("r", "Answer with any value.", schema=schema).parsed
    assert parsed is not None
    assert capfd.readouterr() == ("", "")


def test_options_have_their_effect(model: str) -> None:
    with LeeLLMRouter(config_of(model, {"temperature": 1.5, "max_tokens": 12})) as router:
        texts = {router.complete("r", PROMPT, seed=7).text for _ in range(3)}
        assert len(texts) == 1, "a seed"
        assert len({router.complete("r", PROMPT, seed=seed).text for seed in range(4)}) > 1
        assert len({router.complete("r", PROMPT, top_k=1).text for _ in range(2)}) == 1
        greedy = router.complete("r", PROMPT, temperature=0).text
        cut = router.complete("r", PROMPT, temperature=0, stop=[greedy[6]])
        assert greedy.startswith(cut.text) and cut.text != greedy and cut.finish_reason == "stop"


def test_a_prompt_past_the_context(model: str) -> None:
    memory = Memory()
    with LeeLLMRouter(config_of(model, n_ctx=256, extra_body={"ignore_eos": True}), trace_store=memory) as router:
        with pytest.raises(LLMRouterError, match="context") as caught:
            router.complete("r", "word " * 500)
        assert caught.value.failure_type is FailureType.CONTEXT_LENGTH
        assert router.complete("r", PROMPT, max_tokens=2000).finish_reason == "length", "an answer that fills it"
    assert [record.failure_type for record in memory.records] == [FailureType.CONTEXT_LENGTH, None]


def _answers_soon(router: LeeLLMRouter) -> None:
    begun = process_time()
    assert router.complete("r", "Hi", max_tokens=1).text
    assert process_time() - begun < SOON


def test_calls_that_are_left_are_stopped(model: str) -> None:
    """By a timeout, in answer and prompt; by a cancellation; a stream that is left. The only slot is then free."""
    with LeeLLMRouter(config_of(model, {"max_tokens": 3500})) as router:
        _answers_soon(router)
        for prompt in (PROMPT * 3, "alpha " * 3000):
            with pytest.raises(LLMTimeoutError):
                router.complete("r", prompt, timeout=0.7)
            _answers_soon(router)
        for _ in router.stream("r", "Write a very long story."):
            break
        _answers_soon(router)

        async def cancelled() -> None:
            task = asyncio.create_task(router.complete_async("r", "Write a very long story."))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
        _answers_soon(router)


def test_eight_calls_at_once_on_two_slots_and_two_routers(model: str) -> None:
    """All are answered, by one model."""
    with (
        LeeLLMRouter(config_of(model, max_concurrency=2)) as one,
        LeeLLMRouter(config_of(model, max_concurrency=2)) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        ask = [pool.submit((one, two)[n % 2].complete, "r", f"Say {n}", max_tokens=6) for n in range(8)]
        assert all(call.result(HANG).text for call in ask)


def test_closing_leaves_nothing(model: str) -> None:
    """Threads, descriptors, temporary files; also while a call runs."""

    def use() -> None:
        router = LeeLLMRouter(config_of(model, {"max_tokens": 3500}))
        _answers_soon(router)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(router.complete, "r", "Write a very long story.")
            threading.Event().wait(0.5)
            router.close()
            assert isinstance(call.exception(SOON), LLMRouterError)

    def tasks() -> int:
        return len(os.listdir("/proc/self/task")) if Path("/proc/self/task").exists() else threading.active_count()

    use()  # what the library keeps for ever
    before = open_descriptors(), tasks()
    for _ in range(3):
        use()
    assert open_descriptors() == before[0]
    for _ in range(200):
        if tasks() <= before[1]:
            break
        threading.Event().wait(0.02)
    assert tasks() <= before[1]


@pytest.mark.parametrize("n_ctx", [1, 255, 10**9])
def test_a_context_that_cannot_be_is_a_finding(model: str, n_ctx: int) -> None:
    with pytest.raises(ConfigError, match="n_ctx"):
        LeeLLMRouter(config_of(model, n_ctx=n_ctx))


def _with_number(data: bytes, name: bytes, number: int) -> bytes:
    """A GGUF file with another number (u32) in a field."""
    place = data.index(name) + len(name) + 4
    return data[:place] + number.to_bytes(4, "little") + data[place + 4 :]


def test_bad_files_are_typed_errors_and_the_process_lives(model: str, tmp_path: Path) -> None:
    data = Path(model).read_bytes()
    bad = {
        "cut": data[: len(data) // 2], "header": data[:5000], "text": b"hello", "empty": b"",
        "unknown": data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lluma", 1),
        "no layers": _with_number(data, b"llama.block_count", 0),
        "no context": _with_number(data, b"llama.context_length", 1),
        "vocabulary": data.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz", 1),
    }  # fmt: skip
    for name, content in bad.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        with LeeLLMRouter(config_of(path)) as router, pytest.raises(LLMRouterError) as caught:
            router.complete("r", "Hi")
        assert caught.value.failure_type is FailureType.MODEL_NOT_FOUND, name
        path.unlink()
    with LeeLLMRouter(config_of(model)) as router:
        _answers_soon(router)


PROGRAM = """
import os, resource, sys, threading, time
from lee_llm_router import LeeLLMRouter, LLMRouterError
def config(**role):
    role = {"provider": "inside", "temperature": 0, "max_tokens": 5, "retry": {"attempts": 1}, **role}
    inside = {"type": "llama_cpp", "model_path": sys.argv[1]}
    return {"llm": {"providers": {"inside": inside}, "roles": {"r": role}, "trace": {"enabled": False}}}
"""


def run(model: str, code: str) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM + code, model]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)


@pytest.mark.parametrize(
    "code",
    [
        "router = LeeLLMRouter(config(max_tokens=3500)); next(router.stream('r', 'Write a long story'))",
        "router = LeeLLMRouter(config(max_tokens=3500)); it = router.stream('r', 'Write a long story'); next(it)",
        "router = LeeLLMRouter(config()); router.complete('r', 'Hi')",
        "router = LeeLLMRouter(config()); router.stream_async('r', 'Hi')",
    ],
)
def test_a_program_may_end_with_an_open_stream_and_an_open_model(model: str, code: str) -> None:
    """Its exit code is 0, and nothing is printed."""
    done = run(model, code + "\nprint('bye')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "bye\n", "")


def test_a_program_may_end_while_threads_wait_for_the_model(model: str) -> None:
    done = run(
        model,
        "router = LeeLLMRouter(config(max_tokens=3500))\n"
        "def ask():\n"
        "    try: router.complete('r', 'Write a long story')\n"
        "    except LLMRouterError: pass\n"
        "for _ in range(3): threading.Thread(target=ask, daemon=True).start()\n"
        "time.sleep(1)\nprint('bye')",
    )
    assert (done.returncode, done.stdout) == (0, "bye\n")


@pytest.mark.parametrize("uses", ["router.complete('r', 'Hi')", "pass"])
@pytest.mark.parametrize("running", [False, True])
def test_a_forked_child_loads_the_model_anew_and_ends_with_its_exit_code(model: str, uses: str, running: bool) -> None:
    """By `sys.exit`, which runs all destructors; also if a call ran in the parent when it was forked."""
    stream = "stream = router.stream('r', 'Write a long story', max_tokens=3000); next(stream)\n" if running else ""
    done = run(
        model,
        "router = LeeLLMRouter(config())\nfirst = router.complete('r', 'Hi').text\n" + stream + "pid = os.fork()\n"
        f"if pid == 0:\n    {uses}\n    router.close()\n    sys.exit(5)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        + ("stream.close()\n" if running else "")
        + "assert router.complete('r', 'Hi').text == first\nrouter.close()\n",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="macOS keeps no such limit")
@pytest.mark.parametrize("megabytes", [250, 350, 450, 600, 900, 3000])
def test_short_memory_is_a_typed_error_and_the_process_lives(model: str, megabytes: int) -> None:
    """llama.cpp itself ends the process when it gets no memory."""
    done = run(
        model,
        f"resource.setrlimit(resource.RLIMIT_AS, ({megabytes} << 20, {megabytes} << 20))\n"
        "try:\n    with LeeLLMRouter(config()) as router: print(router.complete('r', 'Hi').text)\n"
        "except LLMRouterError as error: print(error.failure_type, 'memory' in error.message)\n",
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout if megabytes == 3000 else done.stdout == "PROVIDER_ERROR True\n"


def test_it_is_the_last_target_of_a_chain_that_must_not_fail(model: str) -> None:
    """Nothing listens at the first, the second is wrong; the model in this process answers."""
    config = config_of(model, {"provider": "dead", "model": "m", "fallback_providers": ["cut", "inside"]})
    config["llm"]["providers"]["dead"] = {"type": "http", "base_url": "http://127.0.0.1:9/v1"}
    config["llm"]["providers"]["cut"] = {"type": "llama_cpp", "model_path": "/nowhere/model.gguf"}
    with LeeLLMRouter(config) as router:
        answer = router.complete("r", "Hi")
    assert answer.provider == "inside" and answer.text


def test_embeddings(model: str) -> None:
    """One vector for each text, alike for like texts; the model still answers; a text past the context is told."""
    with LeeLLMRouter(config_of(model, embeddings=True, n_ctx=256)) as router:
        found = router.embed("r", ["The cat sleeps.", "The cat is sleeping.", "Stock prices fell sharply."] * 4)
        assert len(found.vectors) == 12 and found.dimensions > 100 and (found.usage.prompt_tokens or 0) > 12
        near, far = (sum(a * b for a, b in zip(found.vectors[0], found.vectors[n], strict=True)) for n in (1, 2))
        assert near > far
        (again,) = asyncio.run(router.embed_async("r", "The cat sleeps.")).vectors
        assert again == pytest.approx(found.vectors[0], abs=1e-3)
        assert router.embed("r", "The cat sleeps.", dimensions=32).dimensions == 32
        with pytest.raises(LLMRouterError) as caught:
            router.embed("r", "word " * 400)
        assert caught.value.failure_type is FailureType.CONTEXT_LENGTH
        assert router.complete("r", "Hi", max_tokens=4).text


def test_nobody_else_can_reach_the_model(model: str) -> None:
    """It listens nowhere that anything could connect to."""
    if not Path("/proc/self/net/unix").exists():
        pytest.skip("looks at /proc")
    with LeeLLMRouter(config_of(model)) as router:
        _answers_soon(router)
        sockets = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)}
        numbers = {name[8:-1] for name in sockets if name.startswith("socket:[")}
        tcp = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/self/net/{name}").read_text().splitlines()
        ]
        assert not [line for line in tcp if len(line) > 9 and line[3] == "0A" and line[9] in numbers]
        unix = [line.split() for line in Path("/proc/self/net/unix").read_text().splitlines()]
        paths = [line[7] for line in unix if len(line) > 7 and line[6] in numbers]
        assert not [path for path in paths if Path(path).exists()]


def _is_link(number: str) -> bool:
    return Path(f"/proc/self/fd/{number}").is_symlink()
