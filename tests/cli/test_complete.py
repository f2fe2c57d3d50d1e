"""The command `complete`: what is sent along, tools, schemas, and what a person at a terminal sees meanwhile."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from helpers.command_line import Run, command
from helpers.servers import Conversation, Server, answering, json_answer
from helpers.stream_servers import EVENTS, HEAD, HEL, LAST, ROLE, framed, streaming
from helpers.terminal import Terminal
from lee_llm_router.providers.base import Capabilities, Provider
from lee_llm_router.providers.mock import MockProvider
from lee_llm_router.response import LLMRequest, LLMResponse, ToolCall
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8


class Asked:
    """Takes the place of a mock provider: keeps what it was asked, and gives the answers of a list."""

    def __init__(self, *answers: LLMResponse) -> None:
        self.requests: list[LLMRequest] = []
        self._answers = list(answers) or [LLMResponse(text="ok")]

    def __call__(self, request: LLMRequest) -> LLMResponse:
        self.requests.append(request)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    @property
    def content(self) -> Any:
        return self.requests[-1].messages[-1]["content"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return put_in_place(monkeypatch, Asked())


def put_in_place(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> Asked:
    def complete(provider: MockProvider, request: LLMRequest, timeout: float) -> LLMResponse:
        return asked(request)

    monkeypatch.setattr(MockProvider, "complete", complete)
    monkeypatch.setattr(MockProvider, "stream", Provider.stream)
    monkeypatch.setattr(MockProvider, "capabilities", Capabilities(tools=True, content_parts=True))
    return asked


# --- what is sent along ---


def test_a_text_file_stands_before_the_prompt_with_its_name(run: Run, here: Path, asked: Asked) -> None:
    """As text, so that a provider that takes no parts can take it. Several stand in their order."""
    (here / 'a "b".txt').write_text("\ufeffone\ntwo\n")
    (here / "c").write_bytes("drei é".encode("utf-16"))
    assert run("complete", "-f", 'a "b".txt', "-f", "c", "What is it?")[0] == 0
    assert asked.content == (
        '<file name=\'a "b".txt\'>\none\ntwo\n</file>\n\n<file name="c">\ndrei é\n</file>\n\nWhat is it?'
    )


def test_standard_input_may_be_a_file(run: Run, asked: Asked) -> None:
    """`git diff | lee-llm-router complete -f - "Describe it"`. Then it is not the prompt."""
    assert run("complete", "-f", "-", "Describe it", stdin=b"+ new\n")[0] == 0
    assert asked.content == '<file name="standard input">\n+ new\n</file>\n\nDescribe it'
    code, _, err = run("complete", "-f", "-", stdin=b"x")
    assert code == 2 and "read as a file" in err


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.pdf", b"%PDF-1.7", "file"),
        ("picture", PNG, "image_url"),
        ("a.mp3", b"ID3\x03", "input_audio"),
        ("a.docx", b"PK\x03\x04\xff\xfe", "file"),
    ],
)
def test_what_is_no_text_is_sent_as_what_it_is(
    run: Run, here: Path, asked: Asked, name: str, data: bytes, kind: str
) -> None:
    """By its content, else by its name."""
    (here / name).write_bytes(data)
    assert run("complete", "-f", name, "Look")[0] == 0
    assert [part["type"] for part in asked.content] == ["text", kind]


def test_pictures_by_file_and_by_address(run: Run, here: Path, asked: Asked) -> None:
    (here / "cat.png").write_bytes(PNG)
    assert run("complete", "-i", "cat.png", "--image", "https://example.org/dog.png", "Who?")[0] == 0
    first, second = [part["image_url"]["url"] for part in asked.content[1:]]
    assert first.startswith("data:image/png;base64,") and second == "https://example.org/dog.png"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("-f", "nope.txt"), "nope.txt: cannot be read"),
        (("-f", "."), "cannot be read"),
        (("-f", "odd"), "odd: neither UTF-8 text nor a known kind of file"),
        (("-f", "old.txt"), "old.txt: neither UTF-8 text"),
        (("-i", "nope.png"), "nope.png cannot be read"),
        (("-i", "odd"), "type of odd is not known"),
    ],
)
def test_a_file_that_cannot_be_sent_is_wrong_usage(
    run: Run, here: Path, asked: Asked, args: tuple[str, ...], told: str
) -> None:
    (here / "odd").write_bytes(b"\xff\x00\xfe\x01")
    (here / "old.txt").write_bytes("é".encode("latin-1"))
    code, out, err = run("complete", *args, "hi")
    assert (code, out, asked.requests) == (2, "", [])
    assert told in " ".join(err.replace("│", " ").split())


# --- options ---


def test_any_option_of_a_call_can_be_given(run: Run, asked: Asked) -> None:
    """Its value is JSON where it can be, else text."""
    options = ["seed=3", "top-p=.5", "logprobs=True", 'stop=["a", "b"]', "reasoning_effort=high", 'extra_body={"x": 1}']
    code, _, err = run("complete", *[arg for option in options for arg in ("-o", option)], "-t", "0", "hi")
    assert code == 0, err
    request = asked.requests[-1]
    assert request.logprobs is True
    assert (request.seed, request.top_p, request.stop, request.reasoning_effort) == (3, 0.5, ("a", "b"), "high")
    assert (request.temperature, dict(request.extra_body)) == (0, {"x": 1})


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("-o", "seed"), 2, "not of the form NAME=VALUE"),
        (("-o", "=3"), 2, "not of the form NAME=VALUE"),
        (("-o", "role=x"), 2, "role is not an option of a call"),
        (("-o", "seed=1", "-o", "seed=2"), 2, "seed is given twice"),
        (("-t", "1", "-o", "temperature=2"), 2, "temperature is given twice"),
        (("--schema", "a", "-o", "schema={}"), 2, "schema is given twice"),
        (("-o", "sede=1"), 1, "no such option (did you mean seed?)"),
        (("-o", "seed=one"), 1, "seed:"),
    ],
)
def test_wrong_options_say_what_is_wrong(run: Run, asked: Asked, args: tuple[str, ...], code: int, told: str) -> None:
    found, out, err = run("complete", *args, "hi")
    assert (found, out, asked.requests) == (code, "", [])
    assert told in err


# --- schemas ---

PERSON = {"name": "Ann", "age": 3}


@pytest.mark.parametrize(
    "schema",
    ["name, age int", "name: how they are called\nage int: in years", "person.json", '{"type": "object"}', "person"],
)
def test_the_answer_to_a_schema_is_its_value(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch, schema: str
) -> None:
    """Without the fence that the model puts around it; in whichever form the schema is given."""
    text = f"```json\n{json.dumps(PERSON)}\n```"
    asked = put_in_place(monkeypatch, Asked(LLMResponse(text=text)))
    for name in ("person.json", "person"):
        (here / name).write_text('{"type": "object", "required": ["name", "age"]}')
    code, out, err = run("complete", "--schema", schema, "hi")
    assert (code, json.loads(out), err) == (0, PERSON, "")
    assert asked.requests[-1].schema is not None


def test_an_answer_that_does_not_fit_is_repaired_before_anything_is_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = LLMResponse(text='{"name": "Ann", "age": "old"}'), LLMResponse(text=json.dumps(PERSON))
    asked = put_in_place(monkeypatch, Asked(*answers))
    assert run("complete", "--schema", "name, age int", "hi")[1] == json.dumps(PERSON, indent=2) + "\n"
    assert len(asked.requests) == 2


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("name text and more", "not a field"),
        ("name, name", "twice"),
        (", ,", "names no fields"),
        ("{oops", "not JSON"),
        ("nope.json", "cannot be read"),
        ("list.json", "not a JSON Schema"),
    ],
)
def test_what_is_no_schema_is_wrong_usage(run: Run, here: Path, asked: Asked, schema: str, told: str) -> None:
    (here / "list.json").write_text("[]")
    code, out, err = run("complete", "--schema", schema, "hi")
    assert (code, out, asked.requests) == (2, "", [])
    assert told in err


# --- tools ---

TOOLS = '''
from pathlib import Path

print("loaded")


def weather(city: str) -> str:
    """Say how the weather is.

    Args:
        city: Where.
    """
    print("looking")
    return f"sunny in {city}"


async def later(days: int) -> dict:
    return {"days": days}


def _hidden() -> None: ...
'''


def calls(*made: tuple[str, dict[str, Any]], text: str = "") -> LLMResponse:
    tool_calls = [ToolCall(id=f"c{n}", name=name, arguments=json.dumps(args)) for n, (name, args) in enumerate(made)]
    return LLMResponse(text=text, tool_calls=tuple(tool_calls), finish_reason="tool_calls")


def test_functions_of_a_file_are_offered_and_what_the_model_calls_is_printed(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of JSON each, after the text; nothing is run. Names with _ and imported ones are no tools."""
    asked = put_in_place(monkeypatch, Asked(calls(("weather", {"city": "Rome"}), text="Let me see.")))
    (here / "tools.py").write_text(TOOLS)
    code, out, err = run("complete", "--tool", "tools.py", "hi")
    assert (code, err) == (0, "loaded\n")
    assert out == 'Let me see.\n{"tool":"weather","arguments":{"city":"Rome"},"id":"c0"}\n'
    names = [tool["function"]["name"] for tool in asked.requests[0].tools or ()]
    assert names == ["weather", "later"]


def test_functions_that_the_model_calls_are_run(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Async ones too. Standard output has the answers alone; what is run is told on standard error."""
    made = calls(("weather", {"city": "Rome"}), ("later", {"days": 2}))
    asked = put_in_place(monkeypatch, Asked(made, calls(("nope", {})), LLMResponse(text="It is sunny.")))
    (here / "tools.py").write_text(TOOLS)
    code, out, err = run("complete", "--tool", "tools.py", "--run-tools", "hi")
    assert (code, out) == (0, "It is sunny.\n")
    assert 'weather({"city": "Rome"}) -> sunny in Rome' in err and "looking" in err
    results = [message for message in asked.requests[-1].messages if message["role"] == "tool"]
    assert [result["content"] for result in results[:2]] == ["sunny in Rome", '{"days":2}']
    assert "no tool 'nope'" in results[2]["content"]


def test_a_definition_is_shown_and_never_run(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in the OpenAI shape, the function alone, or several in a list."""
    asked = put_in_place(monkeypatch, Asked(calls(("look", {}))))
    one = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    (here / "one.json").write_text(json.dumps(one))
    (here / "more.json").write_text(json.dumps([{"type": "function", "function": {**one, "name": "b"}}]))
    (here / "tools.py").write_text(TOOLS)
    tools = ["--tool", "one.json", "--tool", "more.json", "--tool", "tools.py:weather"]
    code, out, _ = run("complete", *tools, "--run-tools", "hi")
    assert (code, json.loads(out)["tool"], len(asked.requests)) == (0, "look", 1)
    assert [tool["function"]["name"] for tool in asked.requests[0].tools or ()] == ["look", "b", "weather"]


def test_tools_are_run_ten_times_at_most(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = put_in_place(monkeypatch, Asked(calls(("weather", {"city": "Rome"}))))
    (here / "tools.py").write_text(TOOLS)
    code, _, err = run("complete", "--tool", "tools.py", "--run-tools", "hi")
    assert (code, len(asked.requests)) == (0, 11)
    assert "still calls tools after 10 rounds" in err


@pytest.mark.parametrize(
    ("tool", "text", "told"),
    [
        ("t.py", "def f(:", "t.py:1: SyntaxError"),
        ("t.py", "x = 1\nraise SystemExit(3)", "t.py:2: SystemExit"),
        ("t.py", "import nowhere_to_be_found", "t.py:1: ModuleNotFoundError"),
        ("t.py", "x = 1", "defines no function"),
        ("t.py", "def f(*args): ...", "takes *args"),
        ("t.py:wether", TOOLS, "did you mean 'weather'?"),
        ("t.json", "{", "not JSON"),
        ("t.json", "[3]", "a tool is an object"),
        ("t.json", "{}", "a tool has no name"),
        ("nope.py", "", "cannot be read"),
        ("t.txt", "", "neither FILE.py"),
    ],
)
def test_what_holds_no_tools_is_wrong_usage(
    run: Run, here: Path, asked: Asked, tool: str, text: str, told: str
) -> None:
    for name in ("t.py", "t.json", "t.txt"):
        (here / name).write_text(text)
    code, out, err = run("complete", "--tool", tool, "hi")
    assert (code, out, asked.requests) == (2, "", [])
    assert told in err and "Traceback" not in err


# --- at the end, and meanwhile ---


def test_with_verbose_the_end_says_who_answered_and_what_it_took(run: Run) -> None:
    """On standard error, with the id under which the call can be looked up."""
    code, out, err = run("complete", "-v", "--role", "chain", "hi")
    assert (code, out) == (0, "hi\n")
    (record,) = [one for one in LocalFileTraceStore().last() if one.outcome == "ok"]
    assert err.startswith("echo/mock, ") and "tokens 1 in, 1 out" in err and "attempts 2" in err
    assert err.endswith(f"lee-llm-router trace show {record.request_id}\n")


SLOW = """
llm:
  default_role: slow
  providers:
    slow: {{type: http, base_url: "{url}"}}
    other: {{type: http, base_url: "{other}"}}
  roles:
    slow: {{provider: slow, model: big}}
    saved: {{provider: slow, model: big, fallback_providers: [{{provider: other, model: small}}]}}
    waits: {{provider: slow, model: big, retry: {{attempts: 2}}}}
"""


def test_at_a_terminal_a_slow_target_is_named_and_the_line_is_gone_when_it_answers(here: Path) -> None:
    go = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.receive()
        assert go.wait(60)
        conversation.send(HEAD + b"".join(map(framed, EVENTS)) + LAST)
        conversation.stall()

    with Server(script) as server:
        (here / "lee-llm-router.yaml").write_text(SLOW.format(url=server.url, other=server.url))
        with Terminal(command("complete", "hi"), here) as terminal:
            terminal.wait_for("asking slow/big")
            go.set()
            assert terminal.ends() == 0
            assert terminal.seen == "hello"


def test_at_a_terminal_a_wait_and_a_fallback_are_told(here: Path) -> None:
    """What is waited for, how long, and after which failure."""
    limited = answering(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n")
    with Server(limited) as server, Server(Conversation.stall) as other:
        (here / "lee-llm-router.yaml").write_text(SLOW.format(url=server.url, other=other.url))
        with Terminal(command("complete", "-r", "waits", "hi"), here) as terminal:
            terminal.wait_for("s for slow/big, after slow/big: rate limit")
            assert "waiting " in terminal.seen
            terminal.interrupt()
            assert terminal.ends() == 130
            assert "waiting" not in terminal.seen
        with Terminal(command("complete", "-r", "saved", "hi"), here) as terminal:
            terminal.wait_for("asking other/small, after slow/big: rate limit")


def test_a_pipe_gets_the_answer_alone_while_the_terminal_shows_how_far_it_is(here: Path) -> None:
    go = threading.Event()

    def then(conversation: Conversation) -> None:
        assert go.wait(60)
        conversation.send(b"".join(map(framed, EVENTS[2:])) + LAST)

    with Server(streaming(ROLE, HEL, then=then)) as server, (here / "out").open("wb") as out:
        (here / "lee-llm-router.yaml").write_text(SLOW.format(url=server.url, other=server.url))
        with Terminal(command("complete", "hi"), here, stdout=out) as terminal:
            terminal.wait_for("slow/big answers: 3 characters")
            go.set()
            assert terminal.ends() == 0
            assert terminal.seen == ""
    assert (here / "out").read_text() == "hello\n"


def test_json_at_a_terminal_follows_a_line_that_is_gone(here: Path) -> None:
    go = threading.Event()

    def script(conversation: Conversation) -> None:
        conversation.receive()
        assert go.wait(60)
        body = {"choices": [{"message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
        conversation.send(json_answer(body))
        conversation.stall()

    with Server(script) as server:
        (here / "lee-llm-router.yaml").write_text(SLOW.format(url=server.url, other=server.url))
        with Terminal(command("complete", "--json", "hi"), here) as terminal:
            terminal.wait_for("asking slow/big")
            go.set()
            assert terminal.ends() == 0
            assert json.loads(terminal.seen)["text"] == "ok"
