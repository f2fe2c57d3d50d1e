"""`${VAR}` in a configuration: replaced, read as the type that is wanted, and never shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from helpers.config_support import ProbeConfig, findings, role
from helpers.drawn_examples import examples
from lee_llm_router.config import CallSettings, LLMConfig, load_config
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry

SECRET = "hunter2-is-the-secret-value"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"T_SECRET": SECRET, "T_SIXTY": "60", "T_EMPTY": "", "T_WORD": "word", "T_YES": "yes"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("T_UNSET", raising=False)


def model_of(text: str) -> str | None:
    """Return what `text` becomes where any text is allowed."""
    return load_config(role(f"model: {text!r}")).roles["r"].model


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("${T_WORD}", "word"),
        ("a-${T_WORD}-${T_SIXTY}-z", "a-word-60-z"),
        ("${T_UNSET:-plain}", "plain"),
        ("${T_EMPTY:-plain}", "plain"),
        ("x${T_EMPTY}", "x"),
        ("x${T_UNSET:-}", "x"),
        ("${T_WORD:-plain}", "word"),
        ("$${T_WORD}", "${T_WORD}"),
        ("$${T_WORD} ${T_WORD}", "${T_WORD} word"),
        ("$$${T_WORD}", "$${T_WORD}"),
        ("$T_WORD $", "$T_WORD $"),
        ("${T_UNSET:-http://h:1/p?q=$x}", "http://h:1/p?q=$x"),
        ("${T_SIXTY}", "60"),
        ("${T_YES}", "yes"),
    ],
)
def test_references_are_replaced_in_text(text: str, becomes: str) -> None:
    """A text may have any number of references, with defaults; it stays text even if it looks like a number."""
    assert model_of(text) == becomes


@pytest.mark.parametrize("text", ["${}", "${1}", "${A-b}", "${A", "${A:-${B}}", "a ${A.B}"])
def test_what_is_no_reference_is_a_finding(text: str) -> None:
    """A `${` that begins no reference is a mistake, and the finding shows how to escape it."""
    (found,) = findings(role(f"model: {text!r}"))
    assert found == (
        "6:12: llm.roles.r.model: not a reference: write ${NAME} or ${NAME:-default}, and $${ for a plain ${"
    )


def test_an_unset_variable_is_one_finding_at_its_value_and_nothing_follows_from_it() -> None:
    """There is no second finding about a missing type, an unknown provider or a wrong number."""
    text = """\
llm:
  default_role: ${T_UNSET}
  providers:
    p: {type: mock}
    q: {type: "${T_UNSET}"}
    s: {type: probe, base_url: "${T_UNSET}", headers: {Authorization: "${T_UNSET}"}}
  roles:
    r: {provider: "${T_UNSET}", timeout: "${T_UNSET}"}
    s: {provider: p}
"""
    said = findings(text)
    assert [line.split(": ")[0] for line in said] == ["2:17", "5:15", "6:32", "6:71", "8:19", "8:42"]
    assert all("environment variable T_UNSET is not set" in line for line in said)


@pytest.mark.parametrize(
    ("field", "reference", "becomes"),
    [
        ("timeout", "${T_SIXTY}", 60.0),
        ("timeout", "${T_UNSET:-1.5}", 1.5),
        ("max_tokens", "${T_SIXTY}", 60),
        ("temperature", "${T_UNSET:-}", None),
        ("json_mode", "${T_YES}", True),
        ("json_mode", "${T_UNSET:-off}", False),
        ("retry_effects", "${T_UNSET:-true}", True),
    ],
)
def test_a_whole_reference_is_read_as_yaml_reads_it(field: str, reference: str, becomes: Any) -> None:
    """Where a number or a boolean is wanted, a reference alone is read as YAML reads a plain value."""
    assert getattr(load_config(role(f"{field}: '{reference}'")).roles["r"], field) == becomes


def test_also_in_a_providers_own_settings() -> None:
    """The provider's model decides what is wanted, for strict booleans and numbers in lists too."""
    config = load_config(
        role(provider="type: probe, strict: '${T_YES}', pool: '${T_SIXTY}', counts: [1, '${T_SIXTY}'],"
             " limits: {per_minute: '${T_SIXTY}'}, words: []")
    )  # fmt: skip
    settings = config.providers["p"]
    assert isinstance(settings, ProbeConfig)
    assert (settings.strict, settings.pool, settings.counts) == (True, 60, [1, 60])
    assert settings.limits is not None
    assert settings.limits.per_minute == 60


@pytest.mark.parametrize("value", ["${T_SECRET}", "${T_UNSET:-1m}", "6${T_WORD}", "${T_YES}"])
def test_what_is_no_number_is_a_finding_without_its_value(value: str) -> None:
    """A text that does not read as a number stays one."""
    assert findings(role(f"timeout: '{value}'")) == ["6:14: llm.roles.r.timeout: a number is wanted"]


def test_bounds_hold_for_filled_values_too() -> None:
    """A number from the environment is checked like a written one."""
    assert findings(role("top_p: '${T_SIXTY}', temperature: hot")) == [
        "6:12: llm.roles.r.top_p: must be at most 1",
        "6:39: llm.roles.r.temperature: a number is wanted",
    ]


def test_a_mapping_is_filled_as_a_file_is() -> None:
    """References work in a mapping; tuples cannot be changed and keep their text."""
    source: dict[str, Any] = {
        "llm": {
            "providers": {"p": {"type": "probe", "counts": ["${T_SIXTY}"], "words": ("${T_WORD}",)}},
            "roles": {"r": {"provider": "${T_UNSET:-p}", "timeout": "${T_SIXTY}"}},
        }
    }
    config = load_config(source)
    settings = config.providers["p"]
    assert isinstance(settings, ProbeConfig)
    assert (settings.counts, settings.words, config.roles["r"].timeout) == ([60], ("word",), 60.0)
    source["llm"]["providers"]["p"]["grid"] = (1, "${T_SIXTY}")
    assert findings(source) == ["llm.providers.p.grid[1]: a whole number is wanted"]


def test_a_variable_that_is_not_utf8_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a surrogate pair would break the request later."""
    monkeypatch.setenv("T_BYTES", "a\udcff")
    assert findings(role("model: '${T_BYTES}'")) == [
        "6:12: llm.roles.r.model: environment variable T_BYTES is not UTF-8"
    ]


def filled_config() -> LLMConfig:
    """Return a configuration with the secret in every kind of place."""
    return load_config("""\
llm:
  providers:
    p:
      type: probe
      base_url: https://${T_SECRET}.test/v1
      headers: {X-Plain: plain, X-Filled: "Bearer ${T_SECRET}"}
      words: [plain, "${T_SECRET}"]
      pool: ${T_SIXTY}
      limits: {per_minute: "${T_SIXTY}"}
    q: {type: mock, response_text: "${T_SECRET}", script: [{message: "${T_SECRET}", error: TIMEOUT}]}
  roles:
    r:
      provider: p
      model: ${T_SECRET}
      timeout: ${T_SIXTY}
      stop: ${T_SECRET}
      schema: {description: "${T_SECRET}", type: object}
      extra_body: {deep: [{key: "${T_SECRET}"}, plain]}
      headers: {X-Filled: "${T_SECRET}"}
      metadata: {note: "${T_SECRET}"}
      fallback_on: ["${T_UNSET:-CONTENT_FILTER}"]
      fallback_providers:
        - {provider: p, model: other, headers: {}, timeout: 5}
        - ${T_UNSET:-q}
  trace: {workspace: "${T_SECRET}"}
""")


def test_filled_values_are_redacted_in_every_output() -> None:
    """`repr`, `str`, JSON dumps, of the whole and of every part, chains included; a Python dump keeps the values."""
    config = filled_config()
    targets = config.chain("r")
    parts = [
        config, *config.providers.values(), config.roles["r"], *config.roles["r"].fallback_providers, config.trace,
        *targets, *(target.settings for target in targets), config.model_copy(), config.roles["r"].model_copy(),
    ]  # fmt: skip
    for part in parts:
        for by_alias in (True, False):
            shown = [
                repr(part), str(part), f"{part}", part.model_dump_json(by_alias=by_alias),
                repr(part.model_dump(mode="json", by_alias=by_alias)),
            ]  # fmt: skip
            assert SECRET not in "".join(shown)
            for harmless in ("600", "max_cooldown=60.0", '"max_cooldown":60.0', "'max_cooldown': 60.0"):
                shown = [text.replace(harmless, "") for text in shown]
            assert "60" not in "".join(shown)
    assert SECRET in repr(config.model_dump())
    whole = config.model_dump_json(by_alias=True)
    for kept in ('"X-Plain":"plain"', '"X-Filled":"***"', '"timeout":"***"', '"stop":"***"', '["plain","***"]',
                 '{"deep":[{"key":"***"},"plain"]}', '"schema":{"description":"***","type":"object"}'):  # fmt: skip
        assert kept in whole


def test_the_values_themselves_are_there_for_use() -> None:
    """Values are masked where they are shown, not where they are used."""
    config = filled_config()
    first, second, third = config.chain("r")
    assert (first.model, second.model, third.model) == (SECRET, "other", SECRET)
    assert first.settings.headers == {"X-Filled": SECRET}
    assert (first.settings.timeout, second.settings.timeout, third.settings.timeout) == (60, 5, 60)


def test_a_target_redacts_what_it_took_over_and_shows_what_it_replaced() -> None:
    """Settings taken over from the role stay masked; those that the fallback replaces are shown."""
    second = filled_config().chain("r")[1]
    assert "timeout=5.0" in repr(second)
    assert "headers={}" in repr(second)
    assert "stop='***'" in repr(second)


def test_a_provider_counts_filled_values_among_its_secrets() -> None:
    """Values from the environment are scrubbed from errors and traces like keys, except models and numbers."""
    config = filled_config()
    provider = registry.get("probe")("p", config.providers["p"])
    assert list(provider.secrets()) == [SECRET]
    assert config.filled_values() == (SECRET,)
    assert load_config(role("model: '${T_WORD}', timeout: '${T_SIXTY}'")).filled_values() == ()


def test_changed_settings_stay_redacted() -> None:
    """Settings that a policy replaces are shown; those it leaves alone stay masked."""
    settings = filled_config().providers["p"].changed({"pool": 7, "api": "openai-responses"})
    assert "pool=7" in repr(settings)
    assert SECRET not in repr(settings) + settings.model_dump_json()
    assert settings.filled_values() == (SECRET,)
    with pytest.raises(ValidationError):
        settings.changed({"pool": "many"})


def test_sensitive_headers_are_redacted_wherever_they_came_from() -> None:
    """A key that a program puts into a header is masked as well."""
    settings = CallSettings(headers={"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET, "X-Team": "search"})
    for shown in (repr(settings), settings.model_dump_json()):
        assert SECRET not in shown
        assert "search" in shown
    assert settings.headers is not None
    assert settings.headers["X-Api-Key"] == SECRET


_PLACES = st.sampled_from(
    [
        "model: {}", "temperature: {}", "timeout: {}", "stop: [1, {}]", "retry: {}", "retry: {{attempts: {}}}",
        "schema: {}",
        "headers: {{X: {}, Authorization: {}}}", "fallback_on: {}", "fallback_on: [{}]", "fallback_providers: [{}]",
        "fallback_providers: [{{provider: {}, timeout: {}}}]", "json_mode: {}", "extra_body: {}", "metadata: {}",
        "x: {}",
        "extra_body: {{a: [{}]}}", "deadline: {}",
    ]
)  # fmt: skip
_PROVIDERS = st.sampled_from(
    [
        "type: {}", "type: probe, base_url: {}", "type: probe, api_key_env: {}", "type: probe, api_key: {}",
        "type: probe, api: {}", "type: probe, word: {}", "type: probe, headers: {{Cookie: {}}}",
        "type: probe, pool: {}",
        "type: probe, strict: true, words: [{}]", "type: probe, limits: {}", "type: codex_cli, sandbox: {}",
        "type: mock, script: {}", "type: mock, script: [{{error: {}}}]", "type: codex_cli, env: [{}]",
        "type: codex_cli, extra_config: {{a: {}}}", "type: probe, counts: {{{}: 1}}",
    ]
)  # fmt: skip
_VALUES = st.sampled_from(
    [SECRET, f"'{SECRET}'", '"${T_SECRET}"', '"Bearer ${T_SECRET}"', f"[{SECRET}]", f"{{a: {SECRET}}}"]
)


@settings(max_examples=examples(150), deadline=None)
@given(_PLACES, _PROVIDERS, _VALUES)
def test_no_finding_ever_holds_a_value(setting: str, provider: str, value: str) -> None:
    """No finding and no repr shows a secret, wherever it stands, written or filled in."""
    text = role(
        setting.replace("{}", value).replace("{{", "{").replace("}}", "}"),
        provider.replace("{}", value).replace("{{", "{").replace("}}", "}"),
    )
    try:
        config = load_config(text)
    except ConfigError as error:
        assert SECRET not in str(error) + repr(error) + repr(error.__cause__)
    else:
        if "${" in value:
            assert SECRET not in repr(config)
            assert SECRET not in config.model_dump_json()


@settings(max_examples=examples(200), deadline=None)
@given(st.text(st.sampled_from("llm:{}[]&*!<|>'\"- \n\tabc12#%@`,?~$\x00é\ud800"), max_size=120))
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    """Any input loads or raises ConfigError."""
    for source in (f"{text}\n", f"llm:\n  {text}\n"):
        with pytest.raises(ConfigError) as caught:
            load_config(source)
        assert caught.value.findings


_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["provider", "type", "roles", "providers", "model", "retry", "headers", "p"])
            | st.integers(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(200), deadline=None)
@given(_DATA, _DATA)
def test_any_mapping_is_a_configuration_or_a_config_error(providers: Any, roles: Any) -> None:
    """Any input loads or raises ConfigError."""
    with pytest.raises(ConfigError) as caught:
        load_config({"llm": {"providers": providers, "roles": roles, "default_role": 5}})
    assert caught.value.findings
