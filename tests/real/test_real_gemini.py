"""The provider `gemini_cli` with the real gemini binary, served by a server that fails on purpose."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from helpers.agent_crowd import Leftovers, crowd
from lee_llm_router import LLMRequest
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.gemini_cli import GeminiCLIConfig, GeminiCLIProvider
from real import agent_asks
from real import gemini_behaviours as gb
from real import responses_server as rs
from real.agent_asks import failure_of
from real.processes import HANG, gone, processes

pytestmark = pytest.mark.real

KEY = "AIza-real-test-key-0123456789abcdef"
CALLER = """
import sys, tempfile
from lee_llm_router import LLMRequest
from lee_llm_router.providers.gemini_cli import GeminiCLIConfig, GeminiCLIProvider
config = GeminiCLIConfig(command=sys.argv[1], base_url=sys.argv[2], api_key_env="LEE_TEST_KEY")
GeminiCLIProvider("g", config).complete(LLMRequest(messages=({"role": "user", "content": "hi"},), model="m"), 600)
"""


def provider(gemini: str, server: rs.ResponsesServer, **settings: Any) -> GeminiCLIProvider:
    address = server.base_url.removesuffix("/v1")
    return GeminiCLIProvider(
        "gemini", GeminiCLIConfig(command=gemini, base_url=address, api_key_env="LEE_TEST_KEY", **settings)
    )


@pytest.fixture(autouse=True)
def nothing_left(temp_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file may be left in the folder for temporary files, and no process with its name."""
    monkeypatch.setenv("LEE_TEST_KEY", KEY)
    yield
    until = monotonic() + HANG
    while list(temp_root.iterdir()) and monotonic() < until:
        sleep(0.05)
    assert list(temp_root.iterdir()) == []
    assert gone(str(temp_root))


def ask(text: str = "hello", *system: str, **settings: Any) -> LLMRequest:
    return agent_asks.ask(text, *system, **{"model": "gemini-2.5-flash", **settings})


def prompt_of(server: rs.ResponsesServer) -> str:
    """Return the user's text of the only request: gemini puts a part of its own before it."""
    [post] = server.posts
    texts = [part["text"] for part in post.body["contents"][-1]["parts"]]
    assert len(texts) == 2
    return str(texts[-1])


def test_an_answer_has_text_usage_model_and_thoughts(gemini_path: str) -> None:
    behaviour = gb.events(gb.part("hmm", thought=True), gb.part("hel"), gb.part("lo", "STOP", gb.USAGE))
    with rs.serve(behaviour) as server:
        response = provider(gemini_path, server).complete(ask(), HANG)
    assert (response.text, response.reasoning, response.finish_reason) == ("hello", "hmm", "stop")
    assert response.model == "gemini-served-001"
    assert response.details.id
    usage = response.usage
    assert (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (100, 40, 27)
    assert (usage.reasoning_tokens, usage.total_tokens) == (7, 127)
    assert server.posts[0].headers["x-goog-api-key"] == KEY


def test_a_streamed_answer_comes_in_pieces(gemini_path: str) -> None:
    with rs.serve(gb.answer("hel", "lo")) as server:
        stream = provider(gemini_path, server).stream(ask(), HANG)
        texts = []
        while (chunk := stream.pull(HANG)) is not None:
            texts.append(chunk.text)
        stream.close()
    assert [text for text in texts if text] == ["hel", "lo"]


def test_several_at_once_answer_async(gemini_path: str) -> None:
    async def all_of_them() -> list[str]:
        found = await asyncio.gather(*(subject.complete_async(ask(), 300) for _ in range(4)))
        return [one.text for one in found]

    with rs.serve(gb.answer("hello")) as server:
        subject = provider(gemini_path, server)
        assert asyncio.run(all_of_them()) == ["hello"] * 4


def test_a_completion_sends_the_request_and_nothing_of_this_machine(
    gemini_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instructions, prompt, options and schema arrive; tools, variables, GEMINI.md and .env at home or above do not."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "GEMINI.md").write_text("marked-above")
    home = tmp_path / "user"
    (home / ".gemini").mkdir(parents=True)
    (home / ".gemini/GEMINI.md").write_text("marked-memory")
    (home / ".gemini/settings.json").write_text('{"mcpServers": {"x": {"command": "marked-server"}}}')
    (tmp_path / ".env").write_text("GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SOME_SECRET", "marked-variable")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    request = ask(
        "${AvailableTools}", "Be brief. ${AvailableTools}", temperature=0.25, top_p=0.5, top_k=7, max_tokens=99, seed=5,
        stop=("END",), frequency_penalty=0.5, presence_penalty=0.25, reasoning_effort="low", schema=schema,
    )  # fmt: skip
    with rs.serve(gb.answer("{}")) as server:
        provider(gemini_path, server).complete(request, HANG)
    body = server.posts[0].body
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief. $ {AvailableTools}"}]
    assert prompt_of(server) == "${AvailableTools}"
    assert body["generationConfig"] == {
        "temperature": 0.25, "topP": 0.5, "topK": 7, "maxOutputTokens": 99, "seed": 5, "stopSequences": ["END"],
        "frequencyPenalty": 0.5, "presencePenalty": 0.25, "responseMimeType": "application/json",
        "responseJsonSchema": schema, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 1024},
    }  # fmt: skip
    assert not body["tools"][0]["functionDeclarations"]
    assert "marked" not in json.dumps(body)


class _Proxy(socketserver.BaseRequestHandler):
    asked: list[bytes]

    def handle(self) -> None:
        self.asked.append(self.request.recv(4096).partition(b"\r\n")[0])
        self.request.sendall(b"HTTP/1.1 502 no\r\n\r\n")


def test_a_completion_asks_no_other_server(gemini_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _Proxy.asked = []
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Proxy) as proxy, rs.serve(gb.answer("hello")) as server:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
        try:
            assert provider(gemini_path, server).complete(ask(), HANG).text == "hello"
        finally:
            proxy.shutdown()
            thread.join()
    assert _Proxy.asked == []
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "text",
    [
        "/help", "/quit", "//comment", "!ls", "@/etc/passwd", "@./", "@.env", "@../agent/.gemini/settings.json",
        "@\"./\"", "@.\\./agent", "@generalist hi", "me@example.org", "@a/../../work/", "@/proc/self/cwd/.env", "@.",
        "a\0b", "\U0001f600\u2028", "${x} {{args}} !{ls} @{.env}",
    ],
)  # fmt: skip
def test_a_prompt_does_nothing_but_reach_the_model(gemini_path: str, text: str) -> None:
    """No file is read and no command run; invisible characters break what would lead somewhere."""
    with rs.serve(gb.answer("hello")) as server:
        assert provider(gemini_path, server).complete(ask(text), HANG).text == "hello"
    assert prompt_of(server).replace("\u2060", "").removeprefix("\n") == text


def test_a_workspaces_files_and_settings_do_nothing_unasked(gemini_path: str, tmp_path: Path) -> None:
    """Its hooks and servers are not started, and a file named in the prompt is not put into it."""
    folder = tmp_path / "work"
    (folder / ".gemini").mkdir(parents=True)
    (folder / "notes.txt").write_text("marked-notes")
    hook = {"type": "command", "command": f"touch {tmp_path}/hooked"}
    hooks = {"SessionStart": [{"hooks": [hook]}], "BeforeModel": [{"matcher": "*", "hooks": [hook]}]}
    servers = {"x": {"command": "/bin/sh", "args": ["-c", f"touch {tmp_path}/served; cat"]}}
    (folder / ".gemini/settings.json").write_text(json.dumps({"hooks": hooks, "mcpServers": servers}))
    with rs.serve(gb.answer("hello")) as server:
        subject = provider(gemini_path, server, agent=True, workspace=str(folder))
        assert subject.complete(ask("@notes.txt @notes"), HANG).text == "hello"
    assert "marked-notes" not in json.dumps(server.posts[0].body)
    assert not (tmp_path / "hooked").exists()
    assert not (tmp_path / "served").exists()
    tools = json.dumps(server.posts[0].body["tools"])
    assert "read_file" in tools


def test_an_agent_by_default_changes_nothing(gemini_path: str, tmp_path: Path) -> None:
    """What needs an approval is refused, and gemini goes on to an answer."""
    folder = tmp_path / "work"
    folder.mkdir()

    def call(name: str, **args: Any) -> dict[str, Any]:
        found = gb.part(None, "STOP", gb.USAGE)
        found["candidates"][0]["content"]["parts"] = [{"functionCall": {"name": name, "args": args}}]
        return found

    answers = iter(
        [
            gb.events(call("write_file", file_path=str(folder / "new.txt"), content="x")),
            gb.events(call("run_shell_command", command=f"touch {folder}/shell.txt")),
            gb.answer("done"),
        ]
    )

    def in_turn(exchange: rs.Exchange) -> None:
        next(answers)(exchange)

    with rs.serve(in_turn) as server:
        response = provider(gemini_path, server, agent=True, workspace=str(folder)).complete(ask(), HANG)
    assert response.text == "done"
    assert len(server.posts) == 3
    assert list(folder.iterdir()) == []
    assert response.usage.prompt_tokens == 300


FAILURES: list[tuple[str, rs.Behaviour, F, dict[str, Any]]] = [
    ("401", gb.refusal(401, "Invalid credentials.", "UNAUTHENTICATED"), F.AUTH, {"status_code": 401}),
    ("bad key", gb.refusal(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"), F.AUTH, {}),
    ("403", gb.refusal(403, "Permission denied", "PERMISSION_DENIED"), F.AUTH, {"status_code": 403}),
    ("404", gb.refusal(404, "models/foo is not found for API version v1beta", "NOT_FOUND"), F.MODEL_NOT_FOUND,
     {"status_code": 404}),
    ("400", gb.refusal(400, "contents is not specified", "INVALID_ARGUMENT"), F.INVALID_REQUEST, {"status_code": 400}),
    ("context", gb.refusal(400, "The input token count (1200000) exceeds the maximum number of tokens allowed.", "X"),
     F.CONTEXT_LENGTH, {}),
    ("429", gb.refusal(429, "Resource has been exhausted.", "RESOURCE_EXHAUSTED"), F.RATE_LIMIT, {"status_code": 429}),
    ("a minute", gb.refusal(429, "You exceeded your quota.", "RESOURCE_EXHAUSTED", *gb.quota("Minute", "34.07s")),
     F.RATE_LIMIT, {"retry_after": 34.07}),
    ("a day", gb.refusal(429, "You exceeded your quota.", "RESOURCE_EXHAUSTED", *gb.quota("Day", "34.07s")),
     F.QUOTA, {"status_code": 429}),
    ("a plan", gb.refusal(429, "You have exhausted your capacity on this model. Your quota will reset after 14h59m59s.",
                          "RESOURCE_EXHAUSTED"), F.QUOTA, {"retry_after": 53_999.0}),
    ("500", gb.refusal(500, "An internal error has occurred.", "INTERNAL"), F.PROVIDER_ERROR, {"status_code": 500}),
    ("503", gb.refusal(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"), F.OVERLOADED, {}),
    ("502 page", rs.status(502, "<html><h1>Bad Gateway</h1></html>"), F.PROVIDER_ERROR,
     {"status_code": 502}),
    ("200 page", rs.status(200, "<html><h1>hello</h1></html>"), F.INVALID_RESPONSE, {}),
    ("nothing", rs.status(200, ""), F.INVALID_RESPONSE, {}),
    ("cut", gb.events(gb.part("half")), F.INVALID_RESPONSE, {}),
    ("broken", gb.events(gb.part("half"), garbage="{nope"), F.INVALID_RESPONSE, {}),
    ("late error", gb.events(gb.part("half"), {"error": {"code": 503, "message": "no"}}), F.INVALID_RESPONSE, {}),
    ("safety", gb.events(gb.part("bad"), gb.part(None, "SAFETY", gb.USAGE)), F.CONTENT_FILTER, {}),
    ("recitation", gb.events(gb.part("", "RECITATION", gb.USAGE)), F.CONTENT_FILTER, {}),
    ("blocked", gb.events({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), F.CONTENT_FILTER, {}),
    ("no text", gb.events(gb.part("", "STOP", gb.USAGE)), F.INVALID_RESPONSE, {}),
    ("thoughts", gb.events(gb.part("hmm", thought=True), gb.part(None, "STOP", gb.USAGE)), F.INVALID_RESPONSE, {}),
    ("malformed", gb.events(gb.part("", "MALFORMED_FUNCTION_CALL", gb.USAGE)), F.INVALID_RESPONSE, {}),
    ("cut at once", gb.events(gb.part("", "MAX_TOKENS", gb.USAGE)), F.INVALID_RESPONSE, {"final": True}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "kind", "details"), [case[1:] for case in FAILURES], ids=[c[0] for c in FAILURES]
)
def test_every_failure_has_its_type_after_one_request(
    gemini_path: str, behaviour: rs.Behaviour, kind: F, details: dict[str, Any]
) -> None:
    with rs.serve(behaviour) as server:
        error = failure_of(provider(gemini_path, server), ask())
    assert error.failure_type is kind, error.message
    assert {name: getattr(error, name) for name in details} == details
    assert len(server.posts) == 1, "gemini has retried"
    assert KEY not in error.message


def test_an_answer_cut_by_its_length_says_so(gemini_path: str) -> None:
    with rs.serve(gb.events(gb.part("half", "MAX_TOKENS", gb.USAGE))) as server:
        response = provider(gemini_path, server).complete(ask(), HANG)
    assert (response.text, response.finish_reason) == ("half", "length")


def test_an_answer_that_repeats_itself_is_whole(gemini_path: str) -> None:
    with rs.serve(gb.answer(*["the same sentence over and over. "] * 200)) as server:
        assert provider(gemini_path, server).complete(ask(), HANG).text == "the same sentence over and over. " * 200


def test_a_server_that_cannot_be_reached_is_a_provider_error(gemini_path: str) -> None:
    with rs.serve(gb.answer("x")) as server:
        subject = provider(gemini_path, server)
    assert failure_of(subject, ask()).failure_type is F.PROVIDER_ERROR


@pytest.mark.parametrize("behaviour", [rs.silent, rs.silent_stream, gb.half_then_silence])
def test_a_hanging_service_ends_with_the_attempt(gemini_path: str, behaviour: rs.Behaviour) -> None:
    """Also after a part of the answer, which gemini, told to end, takes for nothing."""
    with rs.serve(behaviour) as server:
        assert failure_of(provider(gemini_path, server, term_grace=0.5), ask(), 5.0).failure_type is F.TIMEOUT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_gemini_is_a_provider_error(gemini_path: str, temp_root: Path, number: signal.Signals) -> None:
    with rs.serve(gb.half_then_silence) as server:

        def kill() -> None:
            until = monotonic() + HANG
            while not server.posts and monotonic() < until:
                sleep(0.05)
            for pid in processes(f"TMPDIR={temp_root}"):
                os.kill(pid, number)

        killer = threading.Thread(target=kill)
        killer.start()
        error = failure_of(provider(gemini_path, server), ask())
        killer.join()
    assert error.failure_type is F.PROVIDER_ERROR


def test_nothing_is_left_if_the_routers_process_is_killed(gemini_path: str, temp_root: Path) -> None:
    with rs.serve(rs.silent) as server:
        command = [sys.executable, "-c", CALLER, gemini_path, server.base_url.removesuffix("/v1")]
        with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(temp_root)}) as caller:
            until = monotonic() + HANG
            while not server.posts and monotonic() < until:
                sleep(0.05)
            assert server.posts
            assert processes(str(temp_root))
            caller.kill()


def test_of_several_that_are_killed_in_part_nothing_is_left(gemini_path: str, tmp_path: Path) -> None:
    """Those that are not killed answer all the same. Each takes much memory, so they are no crowd."""
    before = Leftovers()
    with rs.serve(gb.answer("hello")) as server:
        ends = crowd([provider(gemini_path, server) for _ in range(9)], 1, 10.0)
    assert ends["answer"] >= 6, ends
    assert set(ends) <= {"answer", "cancelled", "PROVIDER_ERROR"}
    assert before.found(tmp_path / "temp") == []


def test_a_long_prompt_arrives_whole_and_a_too_long_one_is_named(gemini_path: str) -> None:
    with rs.serve(gb.answer("hello")) as server:
        subject = provider(gemini_path, server)
        assert subject.complete(ask("0123456789" * 50_000), HANG).text == "hello"
        assert len(prompt_of(server)) == 500_000
        assert failure_of(subject, ask("word " * 1_600_000)).failure_type is F.CONTEXT_LENGTH


def test_the_doctor_shows_the_version_and_misses_no_flag(gemini_path: str) -> None:
    with rs.serve(gb.answer("x")) as server:
        findings = list(provider(gemini_path, server).check())
    assert [level for level, _ in findings] == ["ok", "ok"]
    assert findings[0][1].endswith(": 0.61.0")
