"""How gemini is run: command line, settings, environment, login and key, prompt and instructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from helpers import fake_gemini as fg
from helpers.agent_calls import KEY, TOKEN
from helpers.fake_gemini import FakeGemini
from helpers.gemini_support import complete, failure, generation_of, provider, service, settings_of
from lee_llm_router import LLMRequest, LLMRouterError
from lee_llm_router.errors import FailureType as F
from lee_llm_router.providers.gemini_cli import GeminiCLIConfig, GeminiCLIProvider
from lee_llm_router.providers.gemini_cli.command import service_schema
from lee_llm_router.providers.gemini_cli.prompt import guarded

JOINER = "\u2060"


def test_a_completion_runs_without_tools_retries_and_reports(gemini: FakeGemini) -> None:
    complete(provider(gemini), "the prompt")
    call = gemini.run
    assert call["stdin"] == "the prompt"
    assert "the prompt" not in str(call["argv"])
    assert {"--output-format=stream-json", "--approval-mode=default", "--extensions=none"} <= set(call["argv"])
    assert "--model=gemini-asked" in call["argv"]
    settings = settings_of(call)
    assert settings["tools"] == {"core": []}
    assert settings["general"]["maxAttempts"] == 1
    assert settings["telemetry"] == {"enabled": False}
    assert settings["privacy"] == {"usageStatisticsEnabled": False}
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert settings["model"]["disableLoopDetection"], "an answer that repeats itself is cut off otherwise"
    assert settings["hooksConfig"] == {"enabled": False}


def test_a_completion_sees_nothing_of_the_user(
    gemini: FakeGemini, gemini_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its home, folder and temporary folder are private; variables come by list; a .env above is not looked for."""
    monkeypatch.setenv("SOME_SECRET", "marked")
    complete(provider(gemini))
    call = gemini.run
    assert "marked" not in str(call["env"])
    assert not str(call["env"]["HOME"]).startswith(str(gemini_machine))
    assert call["work"] == [".env"]
    assert "GEMINI.md" not in call["home"]
    assert call["env"]["GEMINI_API_KEY"] == KEY
    assert call["env"]["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:1"
    assert KEY not in str(call["argv"]) + call["home"]["settings.json"]


def test_a_login_is_lent_and_a_renewed_one_kept(gemini: FakeGemini, gemini_machine: Path) -> None:
    new = json.dumps({"access_token": f"new-{TOKEN}", "refresh_token": f"refresh-{TOKEN}", "expiry_date": 2})
    path = "Path(os.environ['GEMINI_CLI_HOME'], '.gemini/oauth_creds.json')"
    gemini.script(before=f"{path}.write_text({new!r})")
    complete(service(gemini))
    call = gemini.run
    assert json.loads(call["home"]["oauth_creds.json"])["access_token"] == TOKEN
    assert json.loads(call["home"]["google_accounts.json"]) == {"active": "me@example.org"}
    assert settings_of(call)["security"]["auth"]["selectedType"] == "oauth-personal"
    assert "GEMINI_API_KEY" not in call["env"]
    assert (gemini_machine / ".gemini/oauth_creds.json").read_text() == new


def test_gemini_may_have_a_home_of_its_own(
    gemini: FakeGemini, gemini_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gemini_machine / ".gemini").rename(gemini_machine / "other")
    (gemini_machine / "elsewhere").mkdir()
    (gemini_machine / "other").rename(gemini_machine / "elsewhere/.gemini")
    monkeypatch.setenv("GEMINI_CLI_HOME", str(gemini_machine / "elsewhere"))
    complete(service(gemini))
    assert json.loads(gemini.run["home"]["oauth_creds.json"])["access_token"] == TOKEN


def test_a_key_in_the_environment_never_stands_in_for_a_login(
    gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where `env` names it: a subscription must not become a bill unasked."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    complete(service(gemini, env=["GEMINI_API_KEY"]))
    assert "GEMINI_API_KEY" not in gemini.run["env"]


def test_paid_ok_lets_a_found_key_serve(gemini: FakeGemini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    complete(service(gemini, paid_ok=True))
    assert gemini.run["env"]["GEMINI_API_KEY"] == KEY
    assert settings_of(gemini.run)["security"]["auth"]["selectedType"] == "gemini-api-key"


def test_without_a_login_nothing_is_run(gemini: FakeGemini, gemini_machine: Path) -> None:
    (gemini_machine / ".gemini/oauth_creds.json").unlink()
    error = failure(service(gemini))
    assert error.failure_type is F.AUTH
    assert not error.sent
    assert "api_key_env" in error.message
    assert not gemini.runs


def test_options_reach_the_model_by_its_settings(gemini: FakeGemini) -> None:
    options: dict[str, Any] = {
        "temperature": 0.0, "top_p": 0.5, "top_k": 7, "max_tokens": 33, "seed": 0, "frequency_penalty": 0.1,
        "presence_penalty": -0.2, "stop": ("x", "y"),
    }  # fmt: skip
    complete(provider(gemini), **options)
    assert generation_of(gemini.run) == {
        "temperature": 0.0, "topP": 0.5, "topK": 7, "maxOutputTokens": 33, "seed": 0, "frequencyPenalty": 0.1,
        "presencePenalty": -0.2, "stopSequences": ["x", "y"],
    }  # fmt: skip
    request = LLMRequest(messages=(), model="m", **options)
    assert GeminiCLIProvider.unsupported(request, provider(gemini).config) == {}


@pytest.mark.parametrize("option", ["logprobs", "service_tier", "extra_body", "headers", "extra_query"])
def test_what_it_cannot_express_is_known_before_the_call(gemini: FakeGemini, option: str) -> None:
    value: Any = True if option == "logprobs" else "flex" if option == "service_tier" else {"a": "b"}
    request = LLMRequest(messages=(), model="m", **{option: value})
    assert list(GeminiCLIProvider.unsupported(request, provider(gemini).config)) == [option]


@pytest.mark.parametrize(
    ("model", "effort", "wanted"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}), ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24_576}), ("gemini-2.5-flash", "777", {"thinkingBudget": 777}),
        ("gemini-2.5-flash", "dynamic", {"thinkingBudget": -1}),
        ("gemini-3-pro", "low", {"thinkingLevel": "LOW"}), ("gemini-3-pro", "max", {"thinkingLevel": "HIGH"}),
        ("auto", "none", {"thinkingLevel": "MINIMAL"}), ("gemini-9", "ultra", {"thinkingLevel": "ULTRA"}),
    ],
)  # fmt: skip
def test_one_scale_of_effort_fits_all_models(
    gemini: FakeGemini, model: str, effort: str, wanted: dict[str, Any]
) -> None:
    complete(provider(gemini, reasoning_effort=effort), model=model)
    assert generation_of(gemini.run) == {"thinkingConfig": wanted}


class City(BaseModel):
    name: str
    size: int | None = None


def test_a_schema_goes_to_the_service_where_it_takes_it(gemini: FakeGemini) -> None:
    complete(provider(gemini), schema=City)
    generation = generation_of(gemini.run)
    assert generation["responseMimeType"] == "application/json"
    assert generation["responseJsonSchema"]["properties"]["name"]["type"] == "string"
    assert "default" not in str(generation)
    assert "JSON" not in gemini.run["system"]


@pytest.mark.parametrize("agent", [False, True])
def test_another_schema_goes_into_the_instructions(gemini: FakeGemini, agent: bool) -> None:
    """One with a rule that the service does not know; and any, for an agent with tools."""
    schema = {"type": "object", "properties": {"a": {"type": "string"} if agent else {"pattern": "x"}}}
    complete(provider(gemini, agent=agent), schema=schema)
    assert "responseJsonSchema" not in generation_of(gemini.run)
    assert json.dumps(schema) in gemini.run["system"]


@pytest.mark.parametrize(
    ("schema", "taken"),
    [
        ({"type": "object"}, True), (True, False), ({"properties": {"pattern": {"type": "string"}}}, True),
        ({"items": {"pattern": "x"}}, False), ({"additionalProperties": True}, True), ({"properties": [1]}, False),
        ({"anyOf": [{"type": "string"}, {"not": {}}]}, False), ({"$defs": {"a": {"if": {}}}}, False), ([], False),
    ],
)  # fmt: skip
def test_a_schema_is_taken_if_each_rule_in_it_is(schema: Any, taken: bool) -> None:
    assert (service_schema(schema) is not None) is taken


def test_instructions_replace_those_of_gemini(gemini: FakeGemini) -> None:
    complete(provider(gemini), {"role": "system", "content": "Be brief."}, "hello")
    assert gemini.run["system"] == "Be brief."
    gemini.forget()
    complete(provider(gemini), "hello")
    assert gemini.run["system"] == "Answer the user's message."


def test_nothing_in_instructions_is_filled_in(gemini: FakeGemini) -> None:
    text = "${AvailableTools} ${read_file_ToolName} ${SubAgents} ${HOME} $x"
    complete(provider(gemini), {"role": "system", "content": text}, "hello")
    assert gemini.run["system"] == "$ {AvailableTools} $ {read_file_ToolName} $ {SubAgents} ${HOME} $x"


def test_a_conversation_is_one_text(gemini: FakeGemini) -> None:
    complete(provider(gemini), "a", {"role": "assistant", "content": "b"}, "c")
    assert '<message role="assistant">\nb\n</message>' in gemini.run["stdin"]


@pytest.mark.parametrize(
    "text",
    [
        "mail me@example.org", "@types/node", "@decorator\ndef f(): ...", "import x from '@/components/x'", "//c",
        "@/etc/passwd", "/* c */", "a@", "@", "!ls", "? help", "@notes.txt", "\\@notes", "@@", "v1.2@latest",
    ],
)  # fmt: skip
def test_a_text_without_a_way_to_a_file_stays_as_it_is(gemini: FakeGemini, text: str) -> None:
    complete(provider(gemini), text)
    assert gemini.run["stdin"] == text


@pytest.mark.parametrize("text", ["/quit", "/help", "/", "/etc/hosts says"])
def test_no_prompt_is_a_command(gemini: FakeGemini, text: str) -> None:
    complete(provider(gemini), text)
    assert gemini.run["stdin"] == f"\n{text}"


@pytest.mark.parametrize(
    "text",
    [
        "@./", "@../home/.gemini/x", "@a/../../agent/.gemini/settings.json", "see @.//", "@.env", "@\"./\"", "@\\./",
        "@.\\./x", "@/proc/self/cwd", "@/dev/fd/0", "@.ENV", "@.env:3", "@.env's", "x@./",
    ],
)  # fmt: skip
def test_a_path_that_may_lead_somewhere_is_broken(gemini: FakeGemini, text: str) -> None:
    """By characters that nobody sees."""
    complete(provider(gemini), text)
    sent = gemini.run["stdin"]
    assert sent != text
    assert sent.replace(JOINER, "") == text
    assert ".." not in sent.partition("@")[2]


def test_files_of_a_workspace_are_not_put_into_the_prompt(gemini: FakeGemini, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "src").mkdir(parents=True)
    (folder / "notes.txt").touch()
    complete(
        provider(gemini, agent=True, workspace=str(folder)), f"@notes.txt @src/a.py @other.txt @{folder}/notes.txt"
    )
    sent = gemini.run["stdin"]
    assert sent.replace(JOINER, "") == f"@notes.txt @src/a.py @other.txt @{folder}/notes.txt"
    assert [word.startswith(f"@{JOINER}") for word in sent.split()] == [True, True, False, True]
    assert settings_of(gemini.run)["context"]["fileFiltering"]["enableRecursiveFileSearch"] is False


@given(st.text(st.sampled_from("@./\\\"' a\n~:"), max_size=30))
def test_a_guarded_text_says_the_same(tmp_path_factory: Any, text: str) -> None:
    sent = guarded(text, tmp_path_factory.getbasetemp())
    assert sent.replace(JOINER, "").removeprefix("\n") == text.removeprefix("\n")
    assert not sent.startswith("/") or sent.startswith("//")


def test_an_agent_has_its_tools_and_asks_for_nothing(gemini: FakeGemini, gemini_machine: Path, tmp_path: Path) -> None:
    """By default it may only read."""
    subject = provider(gemini, agent=True, workspace=str(tmp_path))
    assert subject.effects == "workspace"
    complete(subject)
    call = gemini.run
    assert "tools" not in settings_of(call)
    assert "--approval-mode=default" in call["argv"]
    assert call["env"]["HOME"] == str(gemini_machine)
    assert call["cwd"] == str(tmp_path)
    assert call["system"] is None
    gemini.forget()
    complete(provider(gemini, agent=True, approval="auto_edit", workspace=str(tmp_path)))
    assert "--approval-mode=auto_edit" in gemini.run["argv"]
    assert provider(gemini).effects == "none"


def test_without_agent_the_approval_is_not_passed_on(gemini: FakeGemini) -> None:
    complete(provider(gemini, approval="yolo"))
    assert "--approval-mode=default" in gemini.run["argv"]


def test_settings_of_the_user_go_before_ours(gemini: FakeGemini) -> None:
    complete(provider(gemini, extra_settings={"general": {"maxAttempts": 2}, "ui": {"theme": "x"}}))
    settings = settings_of(gemini.run)
    assert settings["general"]["maxAttempts"] == 2
    assert settings["general"]["retryFetchErrors"] is False
    assert settings["ui"] == {"theme": "x"}


def test_flags_that_it_lacks_are_left_out_or_named(new_gemini: FakeGemini) -> None:
    help_text = fg.HELP.replace("--raw-output", "--nothing").replace("--accept-raw-output-risk", "--nothing")
    new_gemini.script(help=help_text)
    complete(provider(new_gemini))
    assert "--raw-output" not in new_gemini.run["argv"]
    findings = list(provider(new_gemini).check())
    assert ("warning" in [level for level, _ in findings]) is True


def test_the_doctor_shows_program_version_and_login(gemini: FakeGemini, gemini_machine: Path) -> None:
    good = [said for level, said in service(gemini).check() if level == "ok"]
    assert any("0.61.0" in said for said in good)
    assert any(".gemini/oauth_creds.json" in said for said in good)
    (gemini_machine / ".gemini/oauth_creds.json").unlink()
    assert "error" in [level for level, _ in service(gemini).check()]


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://example.org"}, {"base_url": "https://example.org/v1beta"}, {"approval": "never"},
        {"base_url": "http://127.0.0.1:8/v1"}, {"timeout": 3}, {"api_key_env": "a b"},
    ],
)  # fmt: skip
def test_wrong_settings_are_findings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GeminiCLIConfig(**settings)


@pytest.mark.parametrize("part", [{"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "input_audio"}])
def test_what_is_no_text_is_refused_before_the_call(gemini: FakeGemini, part: dict[str, Any]) -> None:
    error = failure(provider(gemini), {"role": "user", "content": [part]})
    assert error.failure_type is F.INVALID_REQUEST
    assert not error.sent
    assert not gemini.runs


def test_streamed_pieces_make_the_answer(gemini: FakeGemini) -> None:
    """Each comes while gemini runs; a character in two pieces comes whole."""
    lines = [*fg.BEGIN, fg.piece("a\ud83d"), fg.piece("\ude00b"), fg.result()]
    gemini.script([json.dumps(one) + "\n" for one in lines])
    stream = provider(gemini).stream(LLMRequest(messages=({"role": "user", "content": "x"},), model="m"), 60.0)
    chunks = []
    while (chunk := stream.pull(60.0)) is not None:
        chunks.append(chunk)
    stream.close()
    assert [chunk.text for chunk in chunks if chunk.text] == ["a", "\U0001f600b"]
    assert chunks[-1].finish_reason == "stop"


def test_a_streamed_answer_that_is_taken_back_breaks(gemini: FakeGemini) -> None:
    gemini.script(record=fg.sent("hello", "SAFETY"))
    stream = provider(gemini).stream(LLMRequest(messages=({"role": "user", "content": "x"},), model="m"), 60.0)
    with pytest.raises(LLMRouterError) as caught:
        while stream.pull(60.0) is not None:
            pass
    stream.close()
    assert caught.value.failure_type is F.CONTENT_FILTER
