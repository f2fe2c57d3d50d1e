"""The table of vendors: each alias loads, can be overridden, and is found by what people call it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import respx
from pydantic import BaseModel

from helpers.config_support import findings, role
from lee_llm_router import LeeLLMRouter, load_config
from lee_llm_router.errors import AuthenticationError, ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import ProviderConfig
from lee_llm_router.providers.vendors import Vendor, vendor_called, vendors
from lee_llm_router.settings import fields

WANTED = (
    "openai openrouter azure groq mistral deepseek together fireworks xai perplexity cerebras nvidia moonshot zhipu"
    " dashscope huggingface github_models bedrock_mantle vertex ollama llama_cpp_server vllm lm_studio litellm_proxy"
    " anthropic gemini openai_responses openai_http openrouter_http"
)

ADDRESSES = {
    "ollama": "http://localhost:11434/v1", "vllm": "http://localhost:8000/v1", "lm_studio": "http://localhost:1234/v1",
    "openai": "https://api.openai.com/v1", "openrouter": "https://openrouter.ai/api/v1",
    "groq": "https://api.groq.com/openai/v1", "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta", "mistral": "https://api.mistral.ai/v1",
    "zhipu": "https://open.bigmodel.cn/api/paas/v4", "huggingface": "https://router.huggingface.co/v1",
    "azure": "https://RESOURCE.openai.azure.com/openai/v1",
    "bedrock_mantle": "https://bedrock-mantle.REGION.api.aws/v1",
}  # fmt: skip


def _is_built(vendor: Vendor) -> bool:
    try:
        registry.get(vendor.name)
    except ConfigError:
        return False
    return True


TABLE = list(vendors().values())
BUILT = [vendor for vendor in TABLE if _is_built(vendor)]


def _settings(vendor: Vendor, **written: Any) -> ProviderConfig:
    address = {"base_url": _own(vendor.base_url)} if vendor.fill_in else {}
    provider = {"type": vendor.name, **address, **written}
    return load_config({"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}}}).providers["p"]


def _as_written(value: Any) -> Any:
    """A setting as the table, or a file, would write it."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    return list(value) if isinstance(value, tuple) else value


def _own(address: str) -> str:
    return re.sub("RESOURCE|REGION|PROJECT|WORKSPACE", "mine-1", address)


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in TABLE:
        for name in vendor.keys:
            monkeypatch.delenv(name, raising=False)


def test_every_vendor_that_must_be_there_is_there() -> None:
    assert set(WANTED.split()) <= vendors().keys()
    assert {name: vendors()[name].base_url for name in ADDRESSES} == ADDRESSES


@pytest.mark.parametrize("vendor", BUILT, ids=lambda vendor: vendor.name)
def test_an_alias_loads_and_fills_in_what_the_table_says(vendor: Vendor) -> None:
    """The address, the variables of the key and the settings, in the model of the real type."""
    settings = _settings(vendor)
    assert settings.type == vendor.type
    wanted = {"base_url": _own(vendor.base_url), "api_key_env": next(iter(vendor.keys), None), **vendor.settings}
    assert {name: _as_written(getattr(settings, name)) for name in wanted} == wanted
    assert settings.key_variables() == vendor.keys  # type: ignore[attr-defined]


@pytest.mark.parametrize("vendor", BUILT, ids=lambda vendor: vendor.name)
def test_every_setting_that_an_alias_fills_in_can_be_overridden(vendor: Vendor) -> None:
    other = {
        "base_url": "https://other.test/v9", "api_key_env": "MINE", "stream_usage": True,
        "max_tokens_field": "max_tokens", "structured_output": "prompt", "cache_marks": "none", "rename": {"seed": "s"},
        "unsupported": ["stop"], "tool_id": {"length": 12}, "media_in_results": False, "after_results": "Well.",
        "missing_reasoning": "hm", "message_names": True, "platform": "messages",
    }  # fmt: skip
    for name in {*vendor.defaults(), "base_url"} - {"other_api_key_envs"}:
        assert _as_written(getattr(_settings(vendor, **{name: other[name]}), name)) == other[name]
    settings = _settings(vendor, api_key_env="MINE")
    assert settings.key_variables() == ("MINE",)  # type: ignore[attr-defined]
    assert _settings(vendor, api_key_env=None).key_variables() == ()  # type: ignore[attr-defined]
    assert _settings(vendor, api_key_file="/k").api_key_env is None  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="unknown key"):
        _settings(vendor, no_such_setting=1)


@pytest.mark.parametrize("vendor", TABLE, ids=lambda vendor: vendor.name)
def test_a_row_of_the_table_is_sound(vendor: Vendor) -> None:
    """An address, https unless it is this machine; names of variables; words to fill in that the loader knows."""
    address = urlsplit(vendor.base_url)
    assert address.scheme == ("http" if address.hostname == "localhost" else "https")
    assert not vendor.base_url.endswith("/") and re.fullmatch(r"[a-z0-9_]+", vendor.name)
    assert vendor.about and len(vendor.about) < 100 and not vendor.about.endswith(".")
    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in (*vendor.keys, *filter(None, vendor.fill_in.values())))
    words = set(fields._PLACEHOLDER.findall(vendor.base_url))
    assert words == set(vendor.fill_in) == set(re.findall(r"[A-Z]{3,}", vendor.base_url))
    assert not vendor.is_local or vendor.name == "litellm_proxy" or not vendor.keys


@pytest.mark.parametrize("vendor", [one for one in TABLE if one.fill_in], ids=lambda vendor: vendor.name)
def test_an_address_with_words_to_fill_in_is_asked_for(vendor: Vendor) -> None:
    """The finding says what to write, beside all other findings; the words themselves are no address."""
    found = findings(role("temperature: hot", f"type: {vendor.name}, no_such: 1"))
    assert found[0] == (
        f"3:5: llm.providers.p.base_url: missing (write base_url: {vendor.base_url} with your own {vendor.own_words()})"
    )
    assert [line.partition(": ")[2] for line in found[1:]] == [
        "llm.providers.p.no_such: unknown key", "llm.roles.r.temperature: a number is wanted",
    ]  # fmt: skip
    (copied,) = findings(role(provider=f"type: {vendor.name}, base_url: '{vendor.base_url}'"))
    assert re.search(r"llm.providers.p.base_url: replace [A-Z]+ with your own$", copied)


@pytest.mark.parametrize(
    ("written", "alias"),
    [
        ("ollama_chat", "ollama"), ("Ollama", "ollama"), ("claude", "anthropic"), ("OpenAI-Compatible", "openai"),
        ("azure_openai", "azure"), ("Azure AI", "azure"), ("google-genai", "gemini"), ("vertex_ai", "vertex"),
        ("together_ai", "together"), ("mistralai", "mistral"), ("lm-studio", "lm_studio"), ("lmstudio", "lm_studio"),
        ("llama.cpp", "llama_cpp_server"), ("vLLM", "vllm"), ("hf", "huggingface"), ("xAI", "xai"), ("grok", "xai"),
        ("aws", "bedrock"), ("kimi", "moonshot"), ("litellm", "litellm_proxy"), ("github", "github_models"),
        ("googlevertex", "vertex"), ("nvidia_nim", "nvidia"), ("pplx", "perplexity"), ("qwen", "dashscope"),
    ],
)  # fmt: skip
def test_what_people_call_a_vendor_leads_to_its_alias(written: str, alias: str) -> None:
    vendor = vendor_called(written)
    assert vendor is not None and vendor.name == alias
    (found,) = findings({"llm": {"providers": {"p": {"type": written}}, "roles": {"r": {"provider": "p"}}}})
    assert found.startswith("llm.providers.p.type: unknown provider type (write {type: " + alias)
    assert ("base_url: https://RESOURCE" in found) == (alias == "azure")


@pytest.mark.parametrize("written", ["llamacpp", "llama-cpp", "llama.cpp", "Llama_CPP"])
def test_a_name_that_may_be_a_type_too_names_both(written: str) -> None:
    """Whoever means the model in the process is not sent to a server alone."""
    (found,) = findings({"llm": {"providers": {"p": {"type": written}}, "roles": {"r": {"provider": "p"}}}})
    assert "write {type: llama_cpp_server}; or did you mean 'llama_cpp'?" in found


@pytest.mark.parametrize("written", ["acme", "my-gateway", "日本", "x" * 5000, ""])
def test_a_type_that_nobody_knows_is_told_how_to_reach_any_server(written: str) -> None:
    (found,) = findings({"llm": {"providers": {"p": {"type": written}}, "roles": {"r": {"provider": "p"}}}})
    assert found.startswith("llm.providers.p.type: unknown provider type (")
    assert "{type: http, base_url: https://SERVER/v1, api_key_env: " in found


@pytest.mark.parametrize(
    ("written", "near"), [("groc", "groq"), ("deepsek", "deepseek"), ("open_router2", "openrouter")]
)
def test_a_misspelt_alias_is_suggested_beside_the_way_to_any_server(written: str, near: str) -> None:
    (found,) = findings(role(provider=f"type: {written}"))
    assert f"(did you mean '{near}'? any other server is {{type: http, base_url: https://SERVER/v1" in found


def test_no_name_leads_to_two_vendors() -> None:
    names = [re.sub("[^a-z0-9]", "", name) for vendor in TABLE for name in (vendor.name, *vendor.names)]
    assert [name for name in {*names} if names.count(name) > 1] == []
    assert not {name for vendor in TABLE for name in vendor.names} & vendors().keys()


@pytest.mark.usefixtures("no_keys")
class TestKeysInOneOfSeveralVariables:
    """The first variable that is set and not empty holds the key; each attempt looks again."""

    @pytest.fixture
    def router(self) -> Iterator[LeeLLMRouter]:
        provider = {"type": "huggingface", "base_url": "https://hub.test/v1", "transport": "httpx"}
        config = {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "retry": {"attempts": 1}}}}
        with LeeLLMRouter({"llm": config}, trace_store=False) as router:
            yield router

    @pytest.mark.parametrize(
        ("set_to", "sent"),
        [
            ({"HF_TOKEN": "hf-1"}, "hf-1"),
            ({"HUGGINGFACE_API_KEY": "hf-2"}, "hf-2"),
            ({"HF_TOKEN": "hf-1", "HUGGINGFACE_API_KEY": "hf-2"}, "hf-1"),
            ({"HF_TOKEN": "", "HUGGINGFACE_API_KEY": "hf-2"}, "hf-2"),
            ({"HF_TOKEN": "  ", "HUGGINGFACE_API_KEY": "hf-2"}, "hf-2"),
        ],
    )
    def test_the_first_that_is_set_is_sent(
        self, router: LeeLLMRouter, monkeypatch: pytest.MonkeyPatch, set_to: dict[str, str], sent: str
    ) -> None:
        for name, value in set_to.items():
            monkeypatch.setenv(name, value)
        body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
        with respx.mock() as web:
            route = web.post("https://hub.test/v1/chat/completions").respond(json=body)
            router.complete("r", "x")
        assert route.calls[0].request.headers["authorization"] == f"Bearer {sent}"

    def test_none_set_names_all_of_them(self, router: LeeLLMRouter) -> None:
        with pytest.raises(AuthenticationError, match="HF_TOKEN is not set, nor is HUGGINGFACE_API_KEY"):
            router.complete("r", "x")

    def test_all_that_are_set_are_kept_out_of_errors(
        self, router: LeeLLMRouter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf-first-key")
        monkeypatch.setenv("HUGGINGFACE_API_KEY", "hf-second-key")
        with respx.mock() as web:
            web.post("https://hub.test/v1/chat/completions").respond(400, text="bad hf-first-key hf-second-key")
            with pytest.raises(Exception) as caught:
                router.complete("r", "x")
        assert "hf-first" not in str(caught.value) and "hf-second" not in str(caught.value)


@pytest.mark.parametrize(
    ("alias", "address", "variables"),
    [
        ("openai", "https://gateway.corp.test/openai", ("OPENAI_API_KEY",)),
        ("groq", "http://localhost:8080/v1", ("GROQ_API_KEY",)),
        ("openai_responses", "https://eu.api.openai.com/v1/", ("OPENAI_API_KEY",)),
        ("openai_responses", "https://API.OpenAI.com./v2", ("OPENAI_API_KEY",)),
        ("openai_responses", "https://openai.com.evil.test/v1", ()),
        ("openai_responses", "https://notopenai.com/v1", ()),
        ("openai_responses", "http://localhost:8080/v1", ()),
        ("anthropic", "http://127.0.0.1:8080/v1", ()),
        ("anthropic", "https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
        ("gemini", "https://gateway.test/v1", ()),
        ("gemini", "https://generativelanguage.googleapis.com/v1", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
        ("openai_responses", "http://[::1]:8080/v1", ()),
        ("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1", ("DASHSCOPE_API_KEY", "ALIBABA_API_KEY")),
        ("azure", "https://gateway.corp.test/azure", ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")),
        ("litellm_proxy", "https://llm.corp.test/v1", ("LITELLM_API_KEY", "LITELLM_PROXY_API_KEY")),
        ("vertex_anthropic", "https://aiplatform.us.rep.googleapis.com/v1/models", ("VERTEX_ACCESS_TOKEN",)),
        ("ollama", "https://llm.corp.test/v1", ()),
    ],
)
def test_a_key_goes_with_the_name_of_a_vendor_and_not_with_that_of_an_api(
    alias: str, address: str, variables: tuple[str, ...]
) -> None:
    """Groq by another way is Groq; another owner's server with Anthropic's API gets no key unless the file names it."""
    assert _settings(vendors()[alias], base_url=address).key_variables() == variables  # type: ignore[attr-defined]
    named = _settings(vendors()[alias], base_url=address, api_key_env="MINE")
    assert named.key_variables() == ("MINE",)  # type: ignore[attr-defined]


def test_a_key_named_otherwise_later_leaves_none_of_the_variables_before() -> None:
    """A policy that names another key for a provider must not have the old one sent in its place."""
    settings = _settings(vendors()["huggingface"])
    assert settings.changed({"api_key_env": "MINE"}).key_variables() == ("MINE",)  # type: ignore[attr-defined]
    assert settings.changed({"api_key_file": "/k"}).key_variables() == ()  # type: ignore[attr-defined]
    assert settings.changed({"model": "m"}).key_variables() == ("HF_TOKEN", "HUGGINGFACE_API_KEY")  # type: ignore[attr-defined]


def test_further_variables_need_a_first_one() -> None:
    (found,) = findings(role(provider="type: http, base_url: 'https://a.test/v1', other_api_key_envs: [A]"))
    assert found.endswith("other_api_key_envs are used after api_key_env: set that too")


def test_the_table_is_read_only_when_an_alias_may_be_meant() -> None:
    """Importing the router does not read it."""
    check = (
        "import lee_llm_router.router, lee_llm_router.providers.vendors as v;"
        "assert v.vendors.cache_info().currsize == 0;"
        "import lee_llm_router.providers.registry as r; r.get('groq'); assert v.vendors.cache_info().currsize == 1"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
