"""The provider `claude_cli` with the real claude binary, served by a loopback server that also fails on purpose."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest

from lee_llm_router import LLMRequest, LLMUsage
from lee_llm_router.errors import FailureType as F
from real import messages_server as ms
from real import responses_server as rs
from real.agent_asks import failure_of
from real.claude_asks import KEY, MODEL, ask, provider
from real.processes import HANG, gone, processes

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("claude_key")]
TOKEN = "sk-ant-oat01-real-login-token-0123456789"


def sent_texts(post: rs.Seen) -> list[str]:
    """Return the texts of the messages that a request holds."""
    contents = [message["content"] for message in post.body["messages"]]
    parts = [[{"text": content}] if isinstance(content, str) else content for content in contents]
    return [part["text"] for several in parts for part in several if "text" in part]


# An answer


def test_an_answer_comes_with_its_usage_its_model_and_its_price(claude_path: str, temp_root: Path) -> None:
    """The input holds what was read from and written to the cache, which Anthropic counts apart."""
    with rs.serve(ms.answer("hel", "lo \u2028", thinking="hm")) as server:
        response = provider(claude_path, server.base_url).complete(ask(), HANG)
    assert (response.text, response.reasoning, response.finish_reason) == ("hello \u2028", "hm", "stop")
    assert response.usage == LLMUsage(
        prompt_tokens=108, completion_tokens=23, total_tokens=131, cached_tokens=40, cache_write_tokens=7
    )
    assert response.model == MODEL
    assert response.cost_usd is not None
    assert 0 < response.cost_usd < 0.01
    assert response.details.id
    assert list(temp_root.iterdir()) == []


@pytest.mark.parametrize("face", ["sync", "async"])
def test_an_answer_is_streamed_as_it_comes(claude_path: str, face: str) -> None:
    with rs.serve(ms.answer("hel", "lo", thinking="hm")) as server:
        subject = provider(claude_path, server.base_url)

        async def main() -> list[Any]:
            stream = await subject.stream_async(ask(), HANG)
            found = []
            while (chunk := await stream.pull_async(HANG)) is not None:
                found.append(chunk)
            await stream.aclose()
            return found

        def sync() -> list[Any]:
            stream = subject.stream(ask(), HANG)
            found = []
            while (chunk := stream.pull(HANG)) is not None:
                found.append(chunk)
            stream.close()
            return found

        chunks = sync() if face == "sync" else asyncio.run(main())
    assert [(chunk.text, chunk.reasoning) for chunk in chunks] == [("", "hm"), ("hel", ""), ("lo", ""), ("", "")]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage.prompt_tokens == 108


def test_a_completion_sends_the_request_and_nothing_of_this_machine(
    claude_path: str, temp_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instructions and prompt arrive; tools, CLAUDE.md, settings, variables and files that the prompt names do not."""
    home = tmp_path / "user"
    (home / ".claude").mkdir(parents=True)
    (home / ".claude/CLAUDE.md").write_text("marked-memory")
    (tmp_path / "CLAUDE.md").write_text("marked-memory-above")
    (temp_root / "CLAUDE.md").write_text("marked-memory-of-a-stranger")
    secret = tmp_path / "secret.txt"
    secret.write_text("marked-file")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SOME_SECRET", "marked-variable")
    text = f"-- /help @{secret} \u2028 ' \" $HOME `id` ultra"
    with rs.serve(ms.answer("hi")) as server:
        provider(claude_path, server.base_url).complete(ask(text, "Be brief.", json_mode=True), HANG)
    (temp_root / "CLAUDE.md").unlink()
    [post] = server.posts
    assert text in sent_texts(post)
    assert post.body["system"][-1]["text"].startswith("Be brief.\n\nAnswer with")
    assert post.body["tools"] == []
    assert "marked" not in json.dumps(post.body)
    assert post.headers["x-api-key"] == KEY
    assert [seen.path for seen in server.seen] == ["/v1/messages?beta=true"], "it asked for something else, too"
    assert list(temp_root.iterdir()) == []


@pytest.mark.parametrize("text", ["/help", "/foo bar", "/", "!ls", "# a", "--version", "resume"])
def test_no_prompt_is_taken_for_a_command(claude_path: str, text: str) -> None:
    with rs.serve(ms.answer("hi")) as server:
        assert provider(claude_path, server.base_url).complete(ask(text), HANG).text == "hi"
    assert text in [sent.strip() for sent in sent_texts(server.posts[0])]


def test_bounds_and_effort_arrive(claude_path: str) -> None:
    with rs.serve(ms.answer("hi")) as server:
        subject = provider(claude_path, server.base_url)
        subject.complete(ask(max_tokens=77), HANG)
        request = LLMRequest(messages=ask().messages, model="some-model", reasoning_effort="minimal")
        subject.complete(request, HANG)
        subject.complete(ask(reasoning_effort="none"), HANG)
    bounded, low, none = (post.body for post in server.posts)
    assert bounded["max_tokens"] == 77
    assert "thinking" not in bounded or bounded["thinking"]["type"] == "disabled"
    assert (low["model"], low["output_config"]) == ("some-model", {"effort": "low"})
    assert "thinking" not in none or none["thinking"]["type"] == "disabled"


@pytest.mark.parametrize("how", ["file", "variable"])
def test_the_login_is_used_and_a_key_that_is_found_is_not(
    claude_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Claude would prefer the key. One setting redirects it to a loopback server; all else is as for the service."""
    home = tmp_path / "user/.claude"
    home.mkdir(parents=True)
    oauth = {"accessToken": TOKEN, "refreshToken": "refresh-0123456789", "expiresAt": int((time() + 86_400) * 1000),
             "scopes": ["user:inference", "user:profile"], "subscriptionType": "pro"}  # fmt: skip
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-found-key-0123456789")
    if how == "file":
        (home / ".credentials.json").write_text(json.dumps({"claudeAiOauth": oauth}))
    else:
        monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", TOKEN)
    before = sorted(home.iterdir())
    with rs.serve(ms.answer("hi")) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url.removesuffix("/v1"))
        response = provider(claude_path, env=["ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"]).complete(ask(), HANG)
    assert (response.text, response.cost_usd) == ("hi", None)
    [post] = server.posts
    headers = {name.lower(): value for name, value in post.headers.items()}
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "x-api-key" not in headers
    assert sorted(home.iterdir()) == before, "claude wrote into the user's own home"


def test_a_plan_limit_says_when_it_ends(claude_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", TOKEN)
    limit = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(time()) + 7200),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    with rs.serve(ms.error(429, "rate_limit_error", "This would exceed your account's limit.", limit)) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url.removesuffix("/v1"))
        failure = failure_of(provider(claude_path, env=["ANTHROPIC_BASE_URL"]), ask())
    assert failure.failure_type is F.QUOTA
    assert failure.retry_after is not None
    assert 7200 - HANG < failure.retry_after <= 7260


# Every row of the failure table


NOT_JSON = "<html><title>Bad Gateway</title></html>"
ROWS: dict[str, tuple[rs.Behaviour, F, dict[str, Any]]] = {
    "401": (ms.error(401, "authentication_error", f"invalid key {KEY}"), F.AUTH, {"status_code": 401}),
    "403": (ms.error(403, "permission_error", "not allowed"), F.AUTH, {"status_code": 403}),
    "400": (ms.error(400, "invalid_request_error", "messages: bad"), F.INVALID_REQUEST, {"status_code": 400}),
    "400 context": (ms.error(400, "invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum"),
                    F.CONTEXT_LENGTH, {}),
    "400 credit": (ms.error(400, "invalid_request_error", "Your credit balance is too low to access the API."),
                   F.QUOTA, {}),
    "404": (ms.error(404, "not_found_error", "model: some-model"), F.MODEL_NOT_FOUND, {"status_code": 404}),
    "413": (ms.error(413, "request_too_large", "Request exceeds the maximum size"), F.CONTEXT_LENGTH, {}),
    "429": (ms.error(429, "rate_limit_error", "slow down", {"retry-after": "7"}), F.RATE_LIMIT, {"status_code": 429}),
    "500": (ms.error(500, "api_error", "Internal server error"), F.PROVIDER_ERROR, {"status_code": 500}),
    "502": (rs.status(502, NOT_JSON), F.PROVIDER_ERROR, {"status_code": 502}),
    "503": (rs.status(503, NOT_JSON), F.OVERLOADED, {"status_code": 503}),
    "529": (ms.error(529, "overloaded_error", "Overloaded"), F.OVERLOADED, {"status_code": 529}),
    "overloaded in the stream": (ms.broken("half"), F.OVERLOADED, {}),
    "stream cut": (ms.cut("half"), F.INVALID_RESPONSE, {"final": False}),
    "HTML with 200": (rs.status(200, NOT_JSON), F.INVALID_RESPONSE, {}),
    "refused": (ms.answer("I", stop_reason="refusal"), F.CONTENT_FILTER, {}),
    "empty answer": (ms.answer(""), F.INVALID_RESPONSE, {}),
    "a tool that is not there": (ms.tool_call("Read", {"file_path": "/etc/hosts"}, "done"), F.INVALID_RESPONSE, {}),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_failure_table(claude_path: str, row: str, temp_root: Path) -> None:
    """One request is sent, the failure has its type, no text holds the key, and no file is left."""
    behaviour, failure_type, details = ROWS[row]
    with rs.serve(behaviour) as server:
        failure = failure_of(provider(claude_path, server.base_url), ask())
    assert failure.failure_type is failure_type, failure
    assert {name: getattr(failure, name) for name in details} == details
    # Of a model that is not found claude makes sure, without streaming. That costs nothing. After a call of a tool and
    # after an empty answer the run is ended before claude goes on, but on a busy machine the end may come later.
    allowed = {"404": {2}, "a tool that is not there": {1, 2}, "empty answer": {1, 2}}.get(row, {1})
    assert len(server.posts) in allowed, "claude tried again by itself"
    assert failure.sent
    assert KEY not in f"{failure} {failure!r}"
    assert list(temp_root.iterdir()) == []


def test_an_answer_cut_by_its_bound_is_given_as_it_is(claude_path: str) -> None:
    """Claude would ask for the rest. On a busy machine it may have begun to when it is ended: nobody waits for that."""

    def behave(exchange: rs.Exchange) -> None:
        (ms.answer("half", stop_reason="max_tokens") if len(server.posts) == 1 else rs.silent)(exchange)

    with rs.serve(behave) as server:
        response = provider(claude_path, server.base_url).complete(ask(max_tokens=50), HANG)
        assert len(server.posts) <= 2
    assert (response.text, response.finish_reason) == ("half", "length")


def test_a_refused_connection_is_a_provider_error(claude_path: str) -> None:
    assert failure_of(provider(claude_path, "http://127.0.0.1:1"), ask()).failure_type is F.PROVIDER_ERROR


def test_the_longest_prompt_is_read_and_one_that_is_longer_is_not_sent(claude_path: str) -> None:
    with rs.serve(ms.answer("hi")) as server:
        subject = provider(claude_path, server.base_url)
        longest = failure_of(subject, ask("a" * (10 * 1024 * 1024)))
        longer = failure_of(subject, ask("a" * (10 * 1024 * 1024 + 1)))
    assert (longest.failure_type, longest.sent) == (F.CONTEXT_LENGTH, True), "claude has read it"
    assert (longer.failure_type, longer.sent) == (F.CONTEXT_LENGTH, False)


# Ends


@pytest.mark.parametrize("behaviour", [rs.silent, rs.silent_stream])
def test_a_silent_server_is_left_at_the_timeout(claude_path: str, behaviour: rs.Behaviour, temp_root: Path) -> None:
    with rs.serve(behaviour) as server:
        failure = failure_of(provider(claude_path, server.base_url), ask(), timeout=15)
        assert server.posts
    assert failure.failure_type is F.TIMEOUT
    assert gone(str(temp_root))
    assert list(temp_root.iterdir()) == []


def test_a_cancelled_attempt_leaves_no_process_and_no_file(claude_path: str, temp_root: Path) -> None:
    with rs.serve(rs.silent) as server:

        async def cancelled() -> None:
            task = asyncio.create_task(provider(claude_path, server.base_url).complete_async(ask(), HANG))
            while not server.posts:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert list(temp_root.iterdir()) == []

        asyncio.run(cancelled())
    assert gone(str(temp_root))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_killed_claude_is_a_failure(claude_path: str, number: signal.Signals, temp_root: Path) -> None:
    """By SIGINT it ends with exit code 0 and prints nothing."""
    with rs.serve(rs.silent) as server:

        def kill() -> None:
            while not server.posts:
                sleep(0.02)
            for pid in processes(f"CLAUDE_CONFIG_DIR={temp_root}"):
                os.kill(pid, number)

        killer = threading.Thread(target=kill)
        killer.start()
        failure = failure_of(provider(claude_path, server.base_url), ask())
        killer.join()
    assert failure.failure_type is (F.INVALID_RESPONSE if number == signal.SIGINT else F.PROVIDER_ERROR)


OWNER = """
import sys
from lee_llm_router import LLMRequest
from lee_llm_router.providers.claude_cli import ClaudeCLIConfig, ClaudeCLIProvider
config = ClaudeCLIConfig(command=sys.argv[1], base_url=sys.argv[2], api_key_env="LEE_TEST_KEY")
request = LLMRequest(messages=({"role": "user", "content": "hello"},), model="m")
ClaudeCLIProvider("claude", config).complete(request, 600)
"""


def test_a_router_that_is_killed_leaves_no_process_and_no_file(claude_path: str, temp_root: Path) -> None:
    with rs.serve(rs.silent) as server:
        command = [sys.executable, "-c", OWNER, claude_path, server.base_url]
        with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temp_root)}) as owner:
            until = monotonic() + HANG
            while not server.posts and monotonic() < until:
                sleep(0.02)
            assert processes(f"CLAUDE_CONFIG_DIR={temp_root}")
            owner.kill()
        assert gone(str(temp_root))
        until = monotonic() + HANG
        while list(temp_root.iterdir()) and monotonic() < until:
            sleep(0.05)
        assert list(temp_root.iterdir()) == []


# The doctor


def test_the_doctor_finds_nothing_wrong(claude_path: str) -> None:
    """All flags are there, even those that a version may lack."""
    found = list(provider(claude_path, "http://127.0.0.1:1").check())
    assert [level for level, _ in found] == ["ok", "ok"], found
    assert "(Claude Code)" in found[0][1]
