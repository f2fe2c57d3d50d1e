"""`LeeLLMRouter.of`: a chain from names, ``vendor/model``, without a file."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import respx
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from helpers.drawn_examples import examples
from helpers.support import Memory
from lee_llm_router import FailureType, LeeLLMRouter
from lee_llm_router.config.models import RoleConfig
from lee_llm_router.errors import AuthenticationError, ConfigError, LLMRouterError
from lee_llm_router.providers import registry
from lee_llm_router.providers.mock import MockConfig, MockProvider
from lee_llm_router.providers.vendors import vendors
from lee_llm_router.routing.router_arguments import RouterArguments, TargetOptions

CHAT = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in vendors().values():
        for name in vendor.keys:
            monkeypatch.delenv(name, raising=False)


def chain(*targets: str, **options: Any) -> list[tuple[str, str | None]]:
    with LeeLLMRouter.of(*targets, trace_store=False, **options) as router:
        return [(target.provider, target.model) for target in router.resolve()]


def mistakes(*targets: Any, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        LeeLLMRouter.of(*targets, **{"trace_store": False, **options})
    return list(caught.value.findings)


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        (["mock"], [("mock", None)]),
        (["mock/small"], [("mock", "small")]),
        (["mock/small", "mock/large"], [("mock", "small"), ("mock", "large")]),
        (["mock/meta/llama-3", "mock"], [("mock", "meta/llama-3"), ("mock", None)]),
        (["mock", "mock/x"], [("mock", None), ("mock", "x")]),
        (["mock//abs/path.gguf"], [("mock", "/abs/path.gguf")]),
        (["mock/org/model:provider"], [("mock", "org/model:provider")]),
        (["mock/${HOME}"], [("mock", "${HOME}")]),
        ([" mock/x "], [("mock", "x")]),
        (["ollama/llama3:8b"], [("ollama", "llama3:8b")]),
        (["llama_cpp_server"], [("llama_cpp_server", None)]),
        (["codex_cli", "codex_cli/gpt-5"], [("codex_cli", None), ("codex_cli", "gpt-5")]),
    ],
)
def test_names_become_a_chain(targets: list[str], wanted: list[tuple[str, str | None]]) -> None:
    """The first slash parts vendor and model; the rest belongs to the model, which is taken as it stands."""
    assert chain(*targets) == wanted


def test_a_target_without_a_model_does_not_get_that_of_another() -> None:
    """An agent behind a vendor is not asked for the vendor's model."""
    assert chain("mock/small", "codex_cli", "mock") == [("mock", "small"), ("codex_cli", None), ("mock", None)]


def test_the_role_is_called_default_and_none_means_it() -> None:
    with LeeLLMRouter.of("mock/a", trace_store=False, providers={"mock": {"response_text": "hi"}}) as router:
        assert list(router.config.roles) == ["default"]
        assert router.complete("default", "x").text == router.complete(None, "x").text == "hi"
        assert asyncio.run(router.complete_async(None, "x")).text == "hi"
        assert "".join(chunk.text for chunk in router.stream(None, "x")) == "hi"


def test_a_chain_falls_back_and_is_traced_by_the_names_that_were_given() -> None:
    store = Memory()
    busy = {"type": "mock", "script": [{"error": "OVERLOADED"}]}
    with LeeLLMRouter.of(
        "busy/large", "mock/small", providers={"busy": busy}, trace_store=store, retry={"attempts": 1}
    ) as router:
        assert router.complete(None, "x").model == "small"
    assert [(record.target, record.outcome) for record in store.records] == [
        ("busy/large", "error"), ("mock/small", "ok"),
    ]  # fmt: skip


def test_a_vendor_is_asked_at_its_address_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-1")
    with (
        respx.mock() as web,
        LeeLLMRouter.of(
            "groq/openai/gpt-oss-120b", trace_store=False, providers={"groq": {"transport": "httpx"}}, temperature=0.2
        ) as router,
    ):
        route = web.post("https://api.groq.com/openai/v1/chat/completions").respond(json=CHAT)
        assert router.complete(None, "x").provider == "groq"
    request = route.calls[0].request
    assert request.headers["authorization"] == "Bearer gsk-1"
    assert b'"model":"openai/gpt-oss-120b"' in request.content and b'"temperature":0.2' in request.content


@pytest.mark.parametrize(
    ("target", "variable", "url", "header"),
    [
        ("anthropic/claude-x", "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1/messages", "authorization"),
        ("openai_responses/gpt-x", "OPENAI_API_KEY", "https://api.openai.com/v1/responses", "authorization"),
        ("openai/gpt-x", "OPENAI_API_KEY", "https://api.openai.com/v1/chat/completions", "authorization"),
        ("gemini/g-x", "GOOGLE_API_KEY", "https://generativelanguage.googleapis.com/v1beta/models/g-x:generateContent",
         "x-goog-api-key"),
        ("openrouter/a/b", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1/chat/completions", "authorization"),
        ("mistral/m", "MISTRAL_API_KEY", "https://api.mistral.ai/v1/chat/completions", "authorization"),
        ("ollama/llama3:8b", None, "http://localhost:11434/v1/chat/completions", None),
    ],
)  # fmt: skip
def test_each_kind_of_vendor_is_asked_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch, target: str, variable: str | None, url: str, header: str | None
) -> None:
    """Where its API is, with the key where that API wants it, and nowhere else."""
    if variable is not None:
        monkeypatch.setenv(variable, "key-of-the-vendor")
    own = {target.partition("/")[0]: {"transport": "httpx"}}
    with (
        respx.mock() as web,
        LeeLLMRouter.of(target, trace_store=False, providers=own, retry={"attempts": 1}) as router,
        pytest.raises(LLMRouterError),
    ):
        route = web.post(url).respond(400, json={"error": {"message": "no"}})
        router.complete(None, "x")
    sent = {name: value for name, value in route.calls[0].request.headers.items() if "key-of-the-vendor" in value}
    assert list(sent) == ([header] if header else [])


class FileConfig(MockConfig):
    setting_in_target_name = "path"
    path: str


class FileProvider(MockProvider):
    config_model = FileConfig


class Trip(BaseModel):
    name: str


def test_options_are_the_settings_of_the_role_and_the_arguments_of_the_class() -> None:
    with LeeLLMRouter.of(
        "mock", schema=Trip, deadline=9, retry={"attempts": 2}, metadata={"team": "a"}, trace_store=False,
        policy="simple", providers={"mock": {"response_text": '{"name": "Rome"}'}},
    ) as router:  # fmt: skip
        role = router.config.roles["default"]
        assert (role.deadline, role.retry.attempts, role.metadata) == (9, 2, {"team": "a"})
        assert router.complete(None, "x").parsed == Trip(name="Rome")
        assert router.trace_store is None


def test_what_type_checkers_are_told_is_what_a_role_and_the_class_take() -> None:
    import inspect

    named = {"provider", "model", "fallback_providers"}
    role = {field.alias or name for name, field in RoleConfig.model_fields.items()} - named
    arguments = set(inspect.signature(LeeLLMRouter.__init__).parameters) - {"self", "config"}
    assert set(RouterArguments.__annotations__) == arguments
    assert set(TargetOptions.__annotations__) == role | arguments


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("openai", "'openai': the model is missing: openai/gpt-"),
        ("openai/", "'openai/': the model is missing: openai/gpt-"),
        ("ollama", "'ollama': the model is missing: ollama/MODEL"),
        ("mock/", "'mock/': the model is missing: mock/MODEL"),
        ("llama_cpp", "'llama_cpp': the model_path is missing: llama_cpp/MODEL_PATH"),
        ("/x", "'/x': the vendor is missing: vendor/model"),
        ("//", "'//': the vendor is missing: vendor/model"),
        ("", "'': a target is named as vendor/model"),
        ("  ", "'': a target is named as vendor/model"),
        ("gpt-5-mini", "'gpt-5-mini': the vendor is missing: openai/gpt-5-mini"),
        ("claude-sonnet-5", "'claude-sonnet-5': the vendor is missing: anthropic/claude-sonnet-5"),
        ("qwen-plus", "'qwen-plus': the vendor is missing: dashscope/qwen-plus"),
        ("openai:gpt-5", "'openai:gpt-5': a vendor and its model are joined by a slash: openai/gpt-5"),
        ("openrouter:a/b", "'openrouter:a/b': a vendor and its model are joined by a slash: openrouter/a/b"),
        ("google/gemini-3", "'google/gemini-3': unknown vendor 'google' (did you mean 'gemini'? any other server:"),
        ("groc/x", "'groc/x': unknown vendor 'groc' (did you mean 'groq'? any other server: providers={'groc': {"),
        ("Groq/x", "'Groq/x': unknown vendor 'Groq' (did you mean 'groq'?"),
        ("acme/x", "'acme/x': unknown vendor 'acme' (any server: providers={'acme': {'type': 'http', 'base_url'"),
        ("nonsense", "'nonsense': unknown vendor: write vendor/model ('anthropic/claude"),
        ("sk-abcdefghijklmnop1234567890", "'***': unknown vendor"),
        (5, "the name of a target must be text, not int"),
        (None, "the name of a target must be text, not NoneType"),
        (["mock", "mock/x"], "the name of a target must be text, not list: write of(*names)"),
    ],
)
def test_a_name_that_is_none_is_told_what_was_meant(target: Any, problem: str) -> None:
    (found,) = mistakes(target)
    assert found.startswith(problem), found


def test_every_mistake_is_told_at_once() -> None:
    assert [line.partition(": ")[0] for line in mistakes("openai", "groc/x", 5, "mock", "mock")] == [
        "'openai'", "'groc/x'", "the name of a target must be text, not int", "'mock'",
    ]  # fmt: skip
    assert mistakes() == ["no target: name at least one, as vendor/model ('anthropic/claude-sonnet-5-5', say)"]
    assert mistakes(*[f"mock/{number}" for number in range(200)]) == ["at most 100 targets, not 200"]
    assert mistakes("mock/x", "mock", "mock/x") == ["'mock/x': named twice"]


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"temprature": 1}, ["temprature: unknown key (did you mean 'temperature'?)"]),
        ({"temperature": "hot", "retry": {"attempts": 0}},
         ["retry.attempts: must be at least 1", "temperature: a number is wanted"]),
        ({"model": "x"}, ["model: set it in the targets, as vendor/model"]),
        ({"fallback_providers": []}, ["fallback_providers: set it in the targets, as vendor/model"]),
        ({"providers": {"mok": {}}}, ["providers.mok: no target uses it (did you mean 'mock'?)"]),
        ({"providers": {"mock": 5}}, ["providers: a mapping of names to mappings of settings is wanted"]),
        ({"providers": ["mock"]}, ["providers: a mapping of names to mappings of settings is wanted"]),
        ({"providers": {"mock": {"ecko": True}}}, ["providers.mock.ecko: unknown key (did you mean 'echo'?)"]),
        ({"providers": {"mock": {"type": "mok"}}}, ["providers.mock.type: unknown provider type (did you mean"]),
    ],
)  # fmt: skip
def test_wrong_options_are_told_in_the_words_of_the_call(options: dict[str, Any], problems: list[str]) -> None:
    found = mistakes("mock", **options)
    assert len(found) == len(problems)
    assert all(line.startswith(problem) for line, problem in zip(sorted(found), sorted(problems), strict=True)), found


def test_an_address_to_fill_in_is_asked_for_and_given_by_providers() -> None:
    assert mistakes("azure/gpt-5", "mock") == [
        "providers.azure.base_url: missing (write base_url: https://RESOURCE.openai.azure.com/openai/v1 with your own"
        " RESOURCE)"
    ]
    own = {"azure": {"base_url": "https://mine.openai.azure.com/openai/v1"}}
    assert chain("azure/gpt-5", "mock", providers=own) == [("azure", "gpt-5"), ("mock", None)]


class TestKeys:
    def test_no_key_for_any_target_is_told_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            LeeLLMRouter.of("openai/gpt-5-mini", "huggingface/a/b")
        assert caught.value.message == (
            "none of the targets has a key: set OPENAI_API_KEY for openai; HF_TOKEN or HUGGINGFACE_API_KEY for"
            " huggingface"
        )

    @pytest.mark.parametrize("key", ["", "  "])
    def test_an_empty_key_is_none(self, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ConfigError, match="none of the targets has a key: set OPENAI_API_KEY for openai"):
            LeeLLMRouter.of("openai/gpt-5-mini")

    @pytest.mark.parametrize("other", ["ollama/llama3", "mock", "codex_cli"])
    def test_one_target_that_can_answer_is_enough(self, other: str) -> None:
        """A key that is missing then fails the attempt there, as with a file, and the next target is asked."""
        assert chain("openai/gpt-5-mini", other)[0] == ("openai", "gpt-5-mini")
        store = Memory()
        with LeeLLMRouter.of("openai/gpt-5-mini", "mock", trace_store=store) as router:
            assert router.complete(None, "x").provider == "mock"
        assert [record.failure_type for record in store.records] == [FailureType.AUTH, None]

    def test_a_key_that_goes_later_is_an_error_of_the_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        with LeeLLMRouter.of("openai/gpt-5-mini", trace_store=False) as router:
            monkeypatch.delenv("OPENAI_API_KEY")
            with pytest.raises(AuthenticationError, match="OPENAI_API_KEY is not set"):
                router.complete(None, "x")


def test_a_registered_type_or_alias_is_a_vendor_too() -> None:
    registry.register("named_probe", MockProvider, replace=True)
    registry.register_alias("named_alias", "mock", {"response_text": "from the alias"}, replace=True)
    assert chain("named_probe/x", "named_alias") == [("named_probe", "x"), ("named_alias", None)]


def test_a_type_may_have_its_file_named_in_place_of_a_model() -> None:
    """Two files are two providers; each may name its model by itself."""
    registry.register("named_file", FileProvider, replace=True)
    with LeeLLMRouter.of("named_file//models/a.gguf", "named_file/~/b.gguf", "mock/x", trace_store=False) as router:
        files = {name: getattr(one, "path", None) for name, one in router.config.providers.items()}
        assert files == {"named_file": "/models/a.gguf", "named_file-2": "~/b.gguf", "mock": None}
        assert [target.model for target in router.resolve()] == [None, None, "x"]
    assert mistakes("named_file", "mock") == ["'named_file': the path is missing: named_file/PATH"]
    assert chain("named_file", providers={"named_file": {"path": "c.gguf"}}) == [("named_file", None)]


@given(
    st.lists(
        st.text("/:$\u007b} aé\u0000\ud800", max_size=8)
        | st.sampled_from(
            ["mock", "mock/", "openai", "azure/x", "http", "command", "llama_cpp", "groq/é", "codex_cli/${A}"]
        )
        | st.integers()
        | st.none()
        | st.binary(max_size=3),
        max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(["mock", "x", "", "/"]), st.none() | st.dictionaries(st.text(max_size=3), st.none())
    ),
    st.dictionaries(
        st.sampled_from(["temperature", "schema", "retry", "provider", "x"]), st.none() | st.text(max_size=2)
    ),
)
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_named_there_is_a_router_or_one_error_that_says_why(
    targets: list[Any], providers: dict[str, Any], options: dict[str, Any]
) -> None:
    try:
        router = LeeLLMRouter.of(*targets, providers=providers, trace_store=False, **options)
    except ConfigError as error:
        assert error.findings or "none of the targets has a key" in error.message
        assert all(line.isprintable() for line in error.findings)
    else:
        router.close()
