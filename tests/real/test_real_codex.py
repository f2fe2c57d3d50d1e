"""The provider `codex_cli` with the real codex binary, served by a real model and by a server that fails on purpose."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest

from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.codex_cli import CodexCLIConfig, CodexCLIProvider
from real import responses_server as rs
from real.agent_asks import ask, failure_of
from real.processes import HANG, gone, processes

pytestmark = pytest.mark.real

KEY = "sk-real-test-key-0123456789abcdef"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEE_TEST_KEY", KEY)


def provider(codex: str, base_url: str | None = None, **settings: Any) -> CodexCLIProvider:
    if base_url is not None:
        settings = {"api_key_env": "LEE_TEST_KEY", "base_url": base_url, **settings}
    return CodexCLIProvider("codex", CodexCLIConfig(command=codex, **settings))


# Served by a real model


def test_a_real_model_answers_through_codex_sync(codex_path: str, model_server: str) -> None:
    response = provider(codex_path, model_server).complete(ask("What is the capital of France?"), 300)
    assert response.text.strip()
    assert response.usage is not None
    assert response.usage.completion_tokens
    assert response.usage.prompt_tokens is not None
    assert response.usage.prompt_tokens < 200, "the agent's own instructions were sent along"


def test_a_real_model_answers_through_codex_async(codex_path: str, model_server: str) -> None:
    subject = provider(codex_path, model_server)

    async def both() -> list[str]:
        answers = await asyncio.gather(*(subject.complete_async(ask(f"Say hello {n}."), 300) for n in range(2)))
        return [answer.text for answer in answers]

    assert all(text.strip() for text in asyncio.run(both()))


# What goes over the wire


def test_a_completion_sends_the_request_and_nothing_of_this_machine(
    codex_path: str, temp_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instructions, prompt, effort and schema arrive; tools, skills, AGENTS.md and variables do not."""
    home = tmp_path / "user"
    (home / ".agents/skills/spy").mkdir(parents=True)
    (home / ".agents/skills/spy/SKILL.md").write_text("---\nname: spy\ndescription: marked-skill\n---\nx")
    (home / ".codex").mkdir()
    (home / ".codex/AGENTS.md").write_text("marked-agents-file")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SOME_SECRET", "marked-variable")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    text = "-- resume /help \u2028 ' \" $HOME `id`"
    with rs.serve(rs.answer('{"city": "Oslo"}')) as server:
        request = ask(text, "Be brief.", schema=schema, reasoning_effort="low")
        response = provider(codex_path, server.base_url).complete(request, HANG)
    assert response.text == '{"city": "Oslo"}'
    [post] = server.posts
    sent = {item["role"]: item["content"][0]["text"] for item in post.body["input"]}
    assert sent["user"] == text
    assert sent["developer"].startswith("Be brief.\n\nAnswer with one JSON value that fits this JSON Schema")
    assert post.body["tools"] == []
    assert post.body["reasoning"]["effort"] == "low"
    strict = {**schema, "required": ["city"], "additionalProperties": False}
    assert post.body["text"]["format"] == {
        "type": "json_schema", "strict": True, "name": "codex_output_schema", "schema": strict,
    }  # fmt: skip
    assert post.headers["authorization"] == f"Bearer {KEY}"
    assert "marked" not in json.dumps(post.body)
    assert list(temp_root.iterdir()) == []


def test_usage_and_a_line_of_a_megabyte_arrive_whole(codex_path: str) -> None:
    text = "long \u2028 line \u2028 " * 70_000
    with rs.serve(rs.answer(text)) as server:
        response = provider(codex_path, server.base_url).complete(ask(), HANG)
    assert response.text == text
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (101, 23)
    assert (response.usage.cached_tokens, response.usage.reasoning_tokens) == (40, 5)


def test_unreported_usage_is_false_and_holds_no_number(codex_path: str) -> None:
    with rs.serve(rs.answer("hi", None)) as server:
        usage = provider(codex_path, server.base_url).complete(ask(), HANG).usage
        assert not usage and usage.total_tokens is None


def test_a_prompt_of_the_longest_length_is_taken(codex_path: str) -> None:
    with rs.serve(rs.answer("hi")) as server:
        provider(codex_path, server.base_url).complete(ask("x" * 1_048_576), HANG)
        assert server.posts[0].body["input"][-1]["content"][0]["text"] == "x" * 1_048_576


@pytest.mark.parametrize(("setting", "header"), [("login", "Bearer login-access-token-0001"), ("key", f"Bearer {KEY}")])
def test_the_mode_for_the_real_service_takes_the_login_or_a_key(
    codex_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, header: str
) -> None:
    """One setting redirects it to a loopback server; everything else is as for the service."""
    login = tmp_path / "login"
    login.mkdir()
    (login / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "login-access-token-0001"}))
    monkeypatch.setenv("CODEX_HOME", str(login))
    with rs.serve(rs.answer("hi")) as server:
        extra = {"model_providers.lee_llm_router.base_url": server.base_url}
        settings = {"api_key_env": "LEE_TEST_KEY"} if setting == "key" else {}
        assert provider(codex_path, extra_config=extra, **settings).complete(ask(), HANG).text == "hi"
    assert server.posts[0].headers["authorization"] == header
    assert [path.name for path in login.iterdir()] == ["auth.json"], "codex wrote into the user's own home"


# Every row of the failure table


def usage_limit(**details: Any) -> rs.Behaviour:
    return rs.status(429, {"error": {"type": "usage_limit_reached", "message": "limit", **details}})


def error(code: str | None, message: str, **details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **details}}


BROKEN_SERVER = "<html>Bad Gateway</html>"
ROWS: dict[str, tuple[rs.Behaviour, F, dict[str, Any]]] = {
    "401": (rs.status(401, error("invalid_api_key", f"bad key {KEY}")), F.AUTH, {"status_code": 401}),
    "403": (rs.status(403, error(None, "not in your country")), F.AUTH, {"status_code": 403}),
    "402": (rs.status(402, error(None, "pay")), F.QUOTA, {"status_code": 402}),
    "404 model": (rs.status(404, error("model_not_found", "The model `m` does not exist or you do not have access.")),
                  F.MODEL_NOT_FOUND, {}),
    "404 page": (rs.status(404, "<html>nothing here</html>"), F.MODEL_NOT_FOUND, {"status_code": 404}),
    "400": (rs.status(400, error("invalid_value", "bad value", type="invalid_request_error")), F.INVALID_REQUEST,
            {"status_code": 400}),
    "400 model": (rs.status(400, {"detail": "The 'm' model is not supported when using Codex."}), F.MODEL_NOT_FOUND,
                  {"status_code": 400}),
    "400 context": (rs.status(400, error("context_length_exceeded", "too long")), F.CONTEXT_LENGTH, {}),
    "413": (rs.status(413, error(None, "too big")), F.CONTEXT_LENGTH, {"status_code": 413}),
    "408": (rs.status(408, error(None, "slow")), F.TIMEOUT, {"status_code": 408}),
    "409": (rs.status(409, error(None, "conflict")), F.PROVIDER_ERROR, {"status_code": 409}),
    "422": (rs.status(422, error(None, "no")), F.INVALID_REQUEST, {"status_code": 422}),
    "429": (rs.status(429, error("rate_limit_exceeded", "slow down"), {"Retry-After": "7"}), F.RATE_LIMIT,
            {"status_code": 429, "retry_after": None}),
    "429 quota": (rs.status(429, error("insufficient_quota", "no money", type="insufficient_quota")), F.QUOTA, {}),
    "429 plan": (usage_limit(), F.QUOTA, {"status_code": 429, "retry_after": None}),
    "429 plan without codex": (rs.status(429, {"error": {"type": "usage_not_included", "message": "x"}}), F.QUOTA, {}),
    "rate limit in the stream": (
        rs.failed("rate_limit_exceeded", "Rate limit reached for m. Please try again in 11.054s."), F.RATE_LIMIT,
        {"retry_after": 11.054}),
    "quota in the stream": (rs.failed("insufficient_quota", "no money"), F.QUOTA, {}),
    "500": (rs.status(500, error(None, "boom")), F.PROVIDER_ERROR, {"status_code": 500}),
    "error in the stream": (rs.failed("server_error", "An error occurred."), F.PROVIDER_ERROR, {}),
    "503 at capacity": (rs.status(503, error("server_is_overloaded", "x")), F.OVERLOADED, {"status_code": 503}),
    "503": (rs.status(503, error(None, "x")), F.OVERLOADED, {"status_code": 503}),
    "overloaded in the stream": (rs.failed("server_is_overloaded", "x"), F.OVERLOADED, {"status_code": 503}),
    "502": (rs.status(502, BROKEN_SERVER), F.PROVIDER_ERROR, {"status_code": 502}),
    "stream cut": (rs.cut("a whole message"), F.INVALID_RESPONSE, {"final": False}),
    "bad JSON in the stream": (rs.cut("a whole message", "{not json"), F.INVALID_RESPONSE, {"final": False}),
    "HTML with 200": (rs.status(200, "<html>hello</html>"), F.INVALID_RESPONSE, {}),
    "204": (rs.status(204), F.INVALID_RESPONSE, {}),
    "cut by length": (rs.incomplete("max_output_tokens"), F.INVALID_RESPONSE, {"final": True}),
    "filtered": (rs.incomplete("content_filter"), F.CONTENT_FILTER, {}),
    "refused prompt": (rs.failed("invalid_prompt", "Invalid prompt: we've limited access to this content."),
                       F.CONTENT_FILTER, {}),
    "context in the stream": (rs.failed("context_length_exceeded", "too long"), F.CONTEXT_LENGTH, {}),
    "empty answer": (rs.answer(""), F.INVALID_RESPONSE, {}),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_failure_table(codex_path: str, row: str, temp_root: Path) -> None:
    """One request is sent, the failure has its type, no text holds the key, and no file is left."""
    behaviour, failure_type, details = ROWS[row]
    with rs.serve(behaviour) as server:
        failure = failure_of(provider(codex_path, server.base_url), ask())
    assert failure.failure_type is failure_type, failure
    assert {name: getattr(failure, name) for name in details} == details
    assert len(server.posts) == 1, "codex tried again by itself"
    assert failure.sent
    assert KEY not in f"{failure} {failure!r}"
    assert list(temp_root.iterdir()) == []


@pytest.mark.parametrize("days", [0, 3])
def test_a_plan_limit_says_when_it_ends(codex_path: str, days: int) -> None:
    """At most a minute more than codex says, since it prints no seconds."""
    wait = 3600 + days * 86_400
    with rs.serve(usage_limit(plan_type="pro", resets_at=int(time()) + wait)) as server:
        failure = failure_of(provider(codex_path, server.base_url), ask())
    assert failure.failure_type is F.QUOTA
    assert failure.retry_after is not None
    assert wait - HANG < failure.retry_after <= wait + 60


def test_silence_after_the_headers_is_a_timeout_of_codex(codex_path: str) -> None:
    with rs.serve(rs.silent_stream) as server:
        extra = {"model_providers.lee_llm_router.stream_idle_timeout_ms": 300}
        failure = failure_of(provider(codex_path, server.base_url, extra_config=extra), ask())
    assert failure.failure_type is F.TIMEOUT
    assert "idle" in failure.message


def test_a_refused_connection_is_a_provider_error_at_once(codex_path: str) -> None:
    failure = failure_of(provider(codex_path, "http://127.0.0.1:1/v1"), ask())
    assert failure.failure_type is F.PROVIDER_ERROR


@pytest.mark.parametrize(
    ("extra", "failure_type"),
    [
        ({"model_providers.lee_llm_router.env_key": "LEE_TEST_UNSET"}, F.AUTH),
        ({"model_providers.lee_llm_router.wire_api": "chat"}, F.INVALID_REQUEST),
        ({"model_verbosity": "loud"}, F.INVALID_REQUEST),
        ({"model_provider": "nobody"}, F.INVALID_REQUEST),
        ({"model_instructions_file": "/nonexistent"}, F.INVALID_REQUEST),
    ],
)
def test_a_wrong_setting_is_named(codex_path: str, extra: dict[str, str], failure_type: F) -> None:
    with rs.serve(rs.answer("hi")) as server:
        failure = failure_of(provider(codex_path, server.base_url, extra_config=extra), ask())
    assert failure.failure_type is failure_type, failure
    assert server.posts == []


def test_a_missing_codex_home_is_named(codex_path: str, tmp_path: Path) -> None:
    failure = failure_of(provider(codex_path, "http://127.0.0.1:1/v1", codex_home=str(tmp_path / "no")), ask())
    assert failure.failure_type is F.INVALID_REQUEST
    assert not failure.sent


# Ends


@pytest.mark.parametrize("behaviour", [rs.silent, rs.silent_stream])
def test_a_silent_server_is_left_at_the_timeout(codex_path: str, behaviour: rs.Behaviour, temp_root: Path) -> None:
    with rs.serve(behaviour) as server:
        failure = failure_of(provider(codex_path, server.base_url), ask(), timeout=2)
    assert failure.failure_type is F.TIMEOUT
    assert gone(str(temp_root))
    assert list(temp_root.iterdir()) == []


def test_a_cancelled_attempt_leaves_no_process_and_no_file(codex_path: str, temp_root: Path) -> None:
    """Everything is cleaned up before CancelledError is raised."""
    with rs.serve(rs.silent) as server:

        async def cancelled() -> None:
            task = asyncio.create_task(provider(codex_path, server.base_url).complete_async(ask(), HANG))
            while not server.posts:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert list(temp_root.iterdir()) == []

        asyncio.run(cancelled())
    assert gone(str(temp_root))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_codex_is_a_provider_error(codex_path: str, number: signal.Signals, temp_root: Path) -> None:
    with rs.serve(rs.silent) as server:

        def kill() -> None:
            while not server.posts:
                sleep(0.02)
            for pid in processes(str(temp_root)):
                os.kill(pid, number)

        killer = threading.Thread(target=kill)
        killer.start()
        failure = failure_of(provider(codex_path, server.base_url), ask())
        killer.join()
    assert failure.failure_type is F.PROVIDER_ERROR
    assert number.name in failure.message


# An agent


def run_command(command: str) -> rs.Behaviour:
    """Return a model that first asks to run a command, and then answers with its output."""

    def behave(exchange: rs.Exchange) -> None:
        outputs = [item for item in exchange.seen.body["input"] if item["type"] == "function_call_output"]
        if outputs:
            return rs.answer(json.dumps(outputs[-1]["output"]))(exchange)
        exchange.open()
        exchange.event("response.created", response={"id": "resp_1"})
        arguments = json.dumps({"cmd": command, "yield_time_ms": 30_000})
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "exec_command"}
        exchange.event("response.output_item.done", output_index=0, item={**call, "arguments": arguments})
        exchange.event("response.completed", response={"id": "resp_1", "output": [], "usage": rs.USAGE})
        return None

    return behave


@contextmanager
def agent(codex: str, command: str, **settings: Any) -> Iterator[tuple[CodexCLIProvider, rs.ResponsesServer]]:
    with rs.serve(run_command(command)) as server:
        # Not every machine allows codex to set up its sandbox, and the sandbox is not what is tested here.
        settings = {"sandbox": "danger-full-access", **settings}
        yield provider(codex, server.base_url, agent=True, **settings), server


def test_an_agent_works_in_the_workspace_and_does_not_see_the_key(codex_path: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    with agent(codex_path, "pwd > seen.txt; env > env.txt; echo done", workspace=str(folder)) as (subject, _):
        response = subject.complete(ask("Look around."), HANG)
    assert "done" in response.text
    assert (folder / "seen.txt").read_text().strip() == str(folder)
    assert KEY not in (folder / "env.txt").read_text()


@pytest.mark.parametrize("command", ["sleep {}", "sleep {}; true", "setsid sleep {}; true"])
def test_a_command_of_an_agent_does_not_outlive_it(codex_path: str, command: str, temp_root: Path) -> None:
    """Codex starts commands in new sessions, which a signal to its group does not reach."""
    seconds = str(1_000_000 + os.getpid())
    seen: list[int] = []
    with agent(codex_path, command.format(seconds)) as (subject, server):

        def look() -> None:
            until = monotonic() + HANG
            while not seen and monotonic() < until:
                seen.extend(processes(f"sleep\0{seconds}"))
                sleep(0.05)

        looking = threading.Thread(target=look)
        looking.start()
        failure = failure_of(subject, ask("Wait."), timeout=10)
        looking.join()
    assert failure.failure_type is F.TIMEOUT
    assert len(server.posts) == 1
    assert seen, "the command was never started"
    assert gone(seconds)
    assert list(temp_root.iterdir()) == []
