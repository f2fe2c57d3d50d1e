"""The models used directly, the chains of roles, and provider types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.config_support import ProbeConfig, ProbeProvider, findings, role
from lee_llm_router.config import CallSettings, ChainEntry, LLMConfig, RoleConfig, load_config
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.providers.mock import MockConfig


def chain(text: str, name: str = "r") -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return the chain of a role as plain data, with the settings that are set."""
    return [
        (target.provider, target.model, target.settings.model_dump(exclude_unset=True, by_alias=True))
        for target in load_config(text).chain(name)
    ]


CHAIN = """\
llm:
  providers:
    bare: {type: mock}
    own: {type: mock, model: own-model}
  roles:
    r:
      provider: PROVIDER
      model: role-model
      temperature: 0.2
      seed: 1
      headers: {a: b}
      deadline: 5
      fallback_providers:
        - own
        - {provider: bare, temperature: 0.9, seed: null, headers: {c: d}}
        - {provider: own, model: named}
"""


def test_a_chain_gives_every_target_its_model_and_settings() -> None:
    """A fallback takes the model written there, else its provider's, else the role's; its settings come first."""
    settings = {"temperature": 0.2, "seed": 1, "headers": {"a": "b"}}
    assert chain(CHAIN.replace("PROVIDER", "bare")) == [
        ("bare", "role-model", settings),
        ("own", "own-model", settings),
        ("bare", "role-model", {"temperature": 0.9, "seed": None, "headers": {"c": "d"}}),
        ("own", "named", settings),
    ]


def test_the_first_target_prefers_the_roles_model() -> None:
    """For a role's own provider the role's model comes before the provider's; without both there is none."""
    assert chain(role("model: m", "type: mock, model: n"))[0][1] == "m"
    assert chain(role("", "type: mock, model: n"))[0][1] == "n"
    assert chain(role())[0][1] is None


def test_a_chain_of_an_unknown_role_is_an_error_of_ours() -> None:
    """An unknown role is a ConfigError with a suggestion."""
    config = load_config(role().replace(" r: ", " planner: "))
    with pytest.raises(ConfigError, match=r"no such role in the configuration \(did you mean 'planner'\?\)"):
        config.chain("planer")


def test_the_only_role_is_the_default() -> None:
    """A single role need not be named as the default."""
    assert load_config(role()).default_role == "r"
    assert (
        LLMConfig.model_validate({"providers": {"p": {"type": "mock"}}, "roles": {"x": {"provider": "p"}}}).default_role
        == "x"
    )


def test_defaults_are_the_promised_ones() -> None:
    """A role without settings has these defaults."""
    config = load_config(role())
    found = config.roles["r"]
    assert (found.retry.attempts, found.retry.max_attempts) == (3, 6)
    assert (found.retry.backoff, found.retry.max_backoff) == (0.5, 8.0)
    assert (found.timeout, found.deadline) == (None, 600.0)
    assert (found.stream.first_token_timeout, found.stream.idle_timeout, found.stream.on_break) == (None, 30.0, "raise")
    assert (found.fallback_providers, found.fallback_on, found.retry_effects) == ((), frozenset(), False)
    assert (config.policy.type, config.trace.enabled, config.trace.keep_days, config.trace.capture) == (
        "simple",
        True,
        30,
        "meta",
    )
    assert (config.trace.store.type, config.sinks) == ("jsonl", ())  # fmt: skip


def test_models_cannot_be_changed() -> None:
    """Models are frozen, since threads share them."""
    config = load_config(role())
    with pytest.raises(ValidationError):
        setattr(config, "policy", "x")  # noqa: B010 - mypy knows that it cannot be done
    with pytest.raises(ValidationError):
        setattr(config.providers["p"], "model", "x")  # noqa: B010


def test_the_models_dispatch_by_type_like_the_file() -> None:
    """`LLMConfig` built directly takes raw mappings and ready settings, and checks them the same way."""
    ready = ProbeConfig(type="probe", pool=9)
    config = LLMConfig.model_validate(
        {"providers": {"a": {"type": "probe", "pool": 4}, "b": ready, "c": {"type": "mock"}},
         "roles": {"r": {"provider": "a", "fallback_providers": ["b", {"provider": "c"}]}}}
    )  # fmt: skip
    assert isinstance(config.providers["a"], ProbeConfig)
    assert config.providers["b"] is ready
    assert isinstance(config.providers["c"], MockConfig)
    again = LLMConfig.model_validate(config.model_dump())
    assert again == config


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        ({"default_role": "x"}, ("default_role",), "no such role"),
        ({"providers": {"a": {"type": "mok"}}}, ("providers", "a", "type"),
         "unknown provider type (did you mean 'mock'? any other server is"
         " {type: http, base_url: https://SERVER/v1, api_key_env: NAME_OF_A_VARIABLE})"),
        ({"providers": {"a": {"type": "mock", "x": 1}}}, ("providers", "a", "x"), "Extra inputs are not permitted"),
        ({"roles": {"r": {"provider": "b"}}}, ("roles", "r", "provider"), "no such provider"),
        ({"roles": {"planner": {"provider": "a"}}, "default_role": "planer"}, ("default_role",),
         "no such role (did you mean 'planner'?)"),
        ({"roles": {"r": {"provider": "a", "fallback_providers": ["a"]}}}, ("roles", "r", "fallback_providers", 0),
         "the same provider, model and settings are already in the chain"),
    ],
)  # fmt: skip
def test_the_models_refuse_what_the_file_may_not_say(
    change: dict[str, Any], place: tuple[str | int, ...], message: str
) -> None:
    """Without the loader the error is pydantic's, and it shows no values."""
    secret = "hunter2-is-the-secret"
    raw = {"providers": {"a": {"type": "mock", "response_text": secret}}, "roles": {"r": {"provider": "a"}}} | change
    with pytest.raises(ValidationError) as caught:
        LLMConfig.model_validate(raw)
    (error,) = caught.value.errors()
    assert (error["loc"], error["msg"]) == (place, message)
    assert secret not in str(caught.value)


def test_an_alias_brings_its_defaults_and_leaves_its_name() -> None:
    """The settings carry the real type, and written settings win over the alias's defaults."""
    config = load_config(role(provider="type: probe_eu, pool: 7"))
    assert config.providers["p"] == ProbeConfig(type="probe", base_url="https://eu.test/v1", model="eu-1", pool=7)
    changed = load_config(role(provider="type: probe_eu, base_url: 'https://other.test/'"))
    assert isinstance(settings := changed.providers["p"], ProbeConfig)
    assert settings.base_url == "https://other.test"


def test_a_repeat_by_an_aliass_model_is_a_finding() -> None:
    """A repeated target is found although its model comes from an alias."""
    (found,) = findings(role("fallback_providers: [{provider: p, model: eu-1}]", "type: probe_eu"))
    assert found.startswith("6:26: llm.roles.r.fallback_providers[0]: the same provider, model and settings")


def test_a_type_that_cannot_be_loaded_is_a_finding() -> None:
    """A registered path may lead nowhere, or to something other than a provider."""
    registry.register("broken_import", "no_such_package_at_all.x:Y", replace=True)
    registry.register("broken_class", "collections:OrderedDict", replace=True)
    (found,) = findings(role(provider="type: broken_import"))
    assert "3:15: llm.providers.p.type: provider type 'broken_import' cannot be loaded" in found
    (found,) = findings(role(provider="type: broken_class, x: 1"))
    assert "3:15: llm.providers.p.type: provider type 'broken_class' is not a Provider class" in found


def test_types_are_registered_once_unless_replaced() -> None:
    """Registering a name twice is an error, so that two libraries notice."""
    registry.register("taken_once", ProbeProvider, replace=True)
    for name in ("taken_once", "http", "openai_http"):
        with pytest.raises(ValueError, match="already registered"):
            registry.register(name, ProbeProvider)
        with pytest.raises(ValueError, match="already registered"):
            registry.register_alias(name, "http", {})
    with pytest.raises(ValueError, match=r"package\.module:Class"):
        registry.register("no_colon", "package.module.Class")
    assert {"mock", "http", "codex_cli", "openai_http", "openrouter_http", "taken_once"} <= set(registry.available())
    assert registry.get("taken_once") is ProbeProvider
    with pytest.raises(ConfigError, match="unknown provider type"):
        registry.get("never_heard_of")


def test_installed_types_are_found_by_entry_point_and_only_when_needed(tmp_path: Path) -> None:
    """A type that is not built in is found among the entry points; built-in ones need no search."""
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[lee_llm_router.providers]\nplugged = plugin_module:Plugged\n"
        "[lee_llm_router.policies]\nsticky = plugin_module:Sticky\n"
    )
    (tmp_path / "plugin_module.py").write_text(
        "from lee_llm_router.providers.base import Provider, ProviderConfig\n"
        "class Settings(ProviderConfig):\n    colour: str\n"
        "class Plugged(Provider):\n    config_model = Settings\n    def complete(self, request, timeout): ...\n"
        "class Sticky:\n    def choose(self, role, config): ...\n"
    )
    code = f"""
import importlib.metadata, sys
sys.path.insert(0, {str(tmp_path)!r})
from lee_llm_router.config import json_schema, load_config
from lee_llm_router.providers import registry
real, looks = importlib.metadata.entry_points, []
def look(**how):
    looks.extend([how] if how["group"] == registry.ENTRY_POINT_GROUP else [])
    return real(**how)
importlib.metadata.entry_points = look
def load(settings, policy="simple"):
    llm = {{"policy": policy, "providers": {{"p": settings}}, "roles": {{"r": {{"provider": "p"}}}}}}
    return load_config({{"llm": llm}}).providers["p"]
load({{"type": "mock"}})
assert not looks
assert load({{"type": "plugged", "colour": "red"}}).colour == "red"
assert len(looks) == 1
assert load({{"type": "plugged", "colour": "red"}}, "sticky")
assert "plugged" in registry.available()
assert "plugged" in str(json_schema(installed=True)) and "plugged" not in str(json_schema())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_provider_without_settings_of_its_own_takes_the_common_ones() -> None:
    """A provider without `config_model` takes the common settings."""

    class Plain(Provider[ProviderConfig]):
        def complete(self, request: Any, timeout: float) -> Any: ...

    registry.register("plain", Plain, replace=True)
    assert type(load_config(role(provider="type: plain, model: m")).providers["p"]) is ProviderConfig
    assert findings(role(provider="type: plain, modle: m")) == [
        "3:22: llm.providers.p.modle: unknown key (did you mean 'model'?)"
    ]


@pytest.mark.parametrize("settings", [{"temperature": "0.5"}, {"timeout": 0}, {"nonsense": 1}, {"stop": 5}])
def test_settings_of_a_call_are_checked_when_built(settings: dict[str, Any]) -> None:
    """The same model checks the file, a policy and a caller."""
    with pytest.raises(ValidationError):
        CallSettings.model_validate(settings)


def test_schema_may_be_given_by_either_name_in_code() -> None:
    """The field is called `response_schema`, since pydantic uses `schema` itself; the file says `schema`."""
    by_alias = CallSettings.model_validate({"schema": {"type": "object"}})
    assert by_alias == CallSettings(response_schema={"type": "object"})
    assert CallSettings.model_validate({"schema": RoleConfig}).response_schema is RoleConfig
    assert ChainEntry(provider="p").settings == CallSettings()


def test_many_threads_may_use_the_models_first() -> None:
    """A validator is built at its first use, and other threads wait until it is finished."""
    code = (
        "import threading\n"
        "from lee_llm_router import LLMConfig, LeeLLMRouter\n"
        "start = threading.Barrier(8)\n"
        "done = []\n"
        "def use():\n"
        "    start.wait()\n"
        "    config = LLMConfig(providers={'p': {'type': 'mock', 'response_text': 'x'}}, roles={'r': {'provider': 'p',"
        " 'model': 'm'}}, trace={'enabled': False})\n"
        "    with LeeLLMRouter(config) as router:\n"
        "        done.append(router.complete('r', 'hello', temperature=0.5).text)\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(*done)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["x"] * 8, run.stderr
