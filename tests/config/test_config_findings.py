"""What is wrong in a configuration is a finding at its position, which says what is wanted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.config_support import findings, role
from lee_llm_router.config import load_config
from lee_llm_router.errors import ConfigError, FailureType

OTHER_SERVERS = "any other server is {type: http, base_url: https://SERVER/v1, api_key_env: NAME_OF_A_VARIABLE})"

TEN = """\
llm:
  default_role: plannr
  providers:
    main:
      type: mock
      response_txt: hello
    coder:
      type: codex
    cli:
      type: codex_cli
      sandbox: readonly
      api_key_env: sk-abcdefghijklmnop1234
  roles:
    planner:
      provider: mian
      temperature: hot
      temperature: 0.2
    extractor:
      model: x
      timeout: ${CONFIG_TEST_UNSET}
"""


def test_ten_mistakes_are_ten_findings_with_line_and_column(tmp_path: Path, either_parser: None) -> None:
    """Ten mistakes give ten findings, each at its position, in the order of the file, with suggestions."""
    path = tmp_path / "ten.yaml"
    path.write_text(TEN)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    expected = [
        "2:17: llm.default_role: no such role (did you mean 'planner'?)",
        "6:7: llm.providers.main.response_txt: unknown key (did you mean 'response_text'?)",
        f"8:13: llm.providers.coder.type: unknown provider type (did you mean 'codex_cli'? {OTHER_SERVERS}",
        "11:16: llm.providers.cli.sandbox: one of 'read-only', 'workspace-write' or 'danger-full-access' is wanted"
        " (did you mean 'read-only'?)",
        "12:20: llm.providers.cli.api_key_env: the name of an environment variable is wanted (OPENAI_API_KEY, say),"
        " never the key itself",
        "15:17: llm.roles.planner.provider: no such provider (did you mean 'main'?)",
        "16:20: llm.roles.planner.temperature: a number is wanted",
        "17:7: llm.roles.planner.temperature: duplicate key, first on line 16",
        "18:5: llm.roles.extractor.provider: missing",
        "20:16: llm.roles.extractor.timeout: environment variable CONFIG_TEST_UNSET is not set, and no default is"
        " given: ${CONFIG_TEST_UNSET:-...}",
    ]
    assert list(caught.value.findings) == [f"{path}:{line}" for line in expected]
    assert "sk-abcdef" not in str(caught.value) + repr(caught.value)
    assert str(caught.value).startswith(f"10 mistakes in the configuration {path}\n  {path}:2:17: ")
    assert caught.value.failure_type is FailureType.INVALID_REQUEST


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("temperature: '0,5'", "6:18: llm.roles.r.temperature: a number is wanted"),
        ("temperature: true", "6:18: llm.roles.r.temperature: a number is wanted"),
        ("temperature: -1", "6:18: llm.roles.r.temperature: must be at least 0"),
        ("temperature: .nan", "6:18: llm.roles.r.temperature: a finite number is wanted"),
        ("top_p: 0", "6:12: llm.roles.r.top_p: must be greater than 0"),
        ("max_tokens: 1.5", "6:17: llm.roles.r.max_tokens: a whole number is wanted"),
        ("max_tokens: yes", "6:17: llm.roles.r.max_tokens: a whole number is wanted"),
        ("max_tokens: [1]", "6:17: llm.roles.r.max_tokens: a whole number is wanted"),
        ("timeout: 0", "6:14: llm.roles.r.timeout: must be greater than 0"),
        ("timeout: .inf", "6:14: llm.roles.r.timeout: a finite number is wanted"),
        ("deadline: 1m", "6:15: llm.roles.r.deadline: a number is wanted"),
        ("model: 5", "6:12: llm.roles.r.model: text is wanted: put it in quotes"),
        ("model: ''", "6:12: llm.roles.r.model: must not be empty"),
        ("model: [a]", "6:12: llm.roles.r.model: text is wanted: put it in quotes"),
        ("stop: 5", "6:11: llm.roles.r.stop: a list is wanted"),
        ("stop: [a, 5]", "6:15: llm.roles.r.stop[1]: text is wanted: put it in quotes"),
        ("json_mode: perhaps", "6:16: llm.roles.r.json_mode: true or false is wanted"),
        ("schema: 5", "6:13: llm.roles.r.schema: a mapping is wanted"),
        ("headers: [a]", "6:14: llm.roles.r.headers: a mapping is wanted"),
        ("headers: {a: 1}", "6:18: llm.roles.r.headers.a: text is wanted: put it in quotes"),
        ("retry: 3", "6:12: llm.roles.r.retry: a mapping is wanted"),
        ("retry: {attempts: 101}", "6:23: llm.roles.r.retry.attempts: must be at most 100"),
        ("fallback_providers: p", "6:25: llm.roles.r.fallback_providers: a list is wanted"),
        ("fallback_providers: [[p]]", "6:26: llm.roles.r.fallback_providers[0]: a mapping is wanted"),
        ("fallback_providers: [{model: m}]", "6:26: llm.roles.r.fallback_providers[0].provider: missing"),
        ("fallback_on: [TIMEOUTS]", "6:19: llm.roles.r.fallback_on[0]: one of "
         "'INVALID_REQUEST' or 'CONTENT_FILTER' is wanted"),
        (f"fallback_providers: [{', '.join(f'{{provider: p, model: m{i}}}' for i in range(101))}]",
         "6:25: llm.roles.r.fallback_providers: must have at most 100"),
        ("retry_effects: 7", "6:20: llm.roles.r.retry_effects: true or false is wanted"),
        ("tiemout: 5", "6:5: llm.roles.r.tiemout: unknown key (did you mean 'timeout'?)"),
        ("retry: {atempts: 5}", "6:13: llm.roles.r.retry.atempts: unknown key (did you mean 'attempts'?)"),
        ("fallback_providers: [{provider: p, modle: m}]",
         "6:40: llm.roles.r.fallback_providers[0].modle: unknown key (did you mean 'model'?)"),
        ("zzz: 5", "6:5: llm.roles.r.zzz: unknown key"),
        ("'a.b c': 5", "6:5: llm.roles.r['a.b c']: unknown key"),
        ("model: \"a\\0b\"", "6:12: llm.roles.r.model: text with a NUL, or with half a character"),
    ],
)  # fmt: skip
def test_wrong_settings_are_findings(settings: str, said: str, either_parser: None) -> None:
    """Wrong types, bounds and names are reported at the value, with what is wanted; unknown keys at the key."""
    assert findings(role(settings)) == [said]


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("", "3:5: llm.providers.p.type: missing"),
        ("type: 5", "3:15: llm.providers.p.type: text is wanted: put it in quotes"),
        ("type: mok", f"3:15: llm.providers.p.type: unknown provider type (did you mean 'mock'? {OTHER_SERVERS}"),
        ("type: probe, pol: 1", "3:22: llm.providers.p.pol: unknown key (did you mean 'pool'?)"),
        ("type: probe, limits: {per_minit: 1}",
         "3:31: llm.providers.p.limits.per_minit: unknown key (did you mean 'per_minute'?)"),
        ("type: probe, by_name: {x: {per_minit: 1}}",
         "3:36: llm.providers.p.by_name.x.per_minit: unknown key (did you mean 'per_minute'?)"),
        ("type: probe_eu, basurl: x", "3:25: llm.providers.p.basurl: unknown key (did you mean 'base_url'?)"),
        ("type: probe, api: openai-caht",
         "3:27: llm.providers.p.api: one of 'openai-chat' or 'openai-responses' is wanted"
         " (did you mean 'openai-chat'?)"),
        ("type: probe, api_key: abcdef", "3:22: llm.providers.p.api_key: never write a key in the file: "
         "name its environment variable with api_key_env"),
        ("type: probe, Token: abcdef", "3:22: llm.providers.p.Token: never write a key in the file: "
         "name its environment variable with api_key_env"),
        ("type: mock, script: [{txt: a}]",
         "3:31: llm.providers.p.script[0].txt: unknown key (did you mean 'text'?)"),
        ("type: mock, script: [{error: TIME_OUT}]",
         "3:38: llm.providers.p.script[0].error: one of 'TIMEOUT', 'RATE_LIMIT', 'OVERLOADED', 'PROVIDER_ERROR', "
         "'INVALID_RESPONSE', 'AUTH', 'QUOTA', 'MODEL_NOT_FOUND', 'CONTEXT_LENGTH', 'CONTENT_FILTER', "
         "'INVALID_REQUEST', 'CONTRACT_VIOLATION', 'UNAVAILABLE', 'CANCELLED' or 'UNKNOWN' is wanted"
         " (did you mean 'TIMEOUT'?)"),
        ("type: mock, api_key: abcdef", "3:21: llm.providers.p.api_key: unknown key"),
        ("type: probe, word: nonsense", "3:28: llm.providers.p.word: I do not like *** at all"),
        ("type: probe, strict: true, words: [forbidden]", "3:8: llm.providers.p: strict does not go with ***"),
        ("type: probe, word: crash", "3:8: llm.providers.p: checking these settings raised TypeError"),
        ("type: probe, base_url: 'ftp://h'", "3:32: llm.providers.p.base_url: an address is wanted: http:// or https://,"
         " a host, perhaps a path"),
        ("type: probe, base_url: 'http://[::1'", "3:32: llm.providers.p.base_url: an address is wanted: http:// or "
         "https://, a host, perhaps a path"),
        ("type: probe, base_url: 'http://h/v1?v=1'",
         "3:32: llm.providers.p.base_url: an address ends with its path: nothing after ? or #"),
        ("type: probe, base_url: 'http://me:pw@h/v1'", "3:32: llm.providers.p.base_url: an address must not contain "
         "a user or password: name the key with api_key_env"),
        ("type: probe, base_url: 'http://me@[h/v1'", "3:32: llm.providers.p.base_url: an address must not contain "
         "a user or password: name the key with api_key_env"),
        ("type: probe, headers: {Authorization: Bearer abc}", "3:47: llm.providers.p.headers.Authorization: never "
         "write a key in the file: put ${NAME} instead, where NAME is its environment variable"),
        ("type: probe, headers: {x-api-key: abc}", "3:43: llm.providers.p.headers.x-api-key: never write a key "
         "in the file: put ${NAME} instead, where NAME is its environment variable"),
    ],
)  # fmt: skip
def test_wrong_providers_are_findings(provider: str, said: str) -> None:
    """The model of each type checks its settings; secrets in the file are reported, and not shown."""
    assert findings(role(provider=provider)) == [said]


@pytest.mark.parametrize(
    "name",
    ["sk-proj-abcdefghij0123456789", "sk_live_0123456789abcdef", "gsk_aaaaaaaaaaaaaaaa1111", "MY KEY", "", "1KEY",
     "AIzaSyA1234567890abcdefghijklmnopqrstu", "a1b2c3d4e5f60718293a4b5c6d7e8f90"],
)  # fmt: skip
def test_a_key_in_place_of_its_variables_name_is_a_finding(name: str) -> None:
    """The finding says to name the variable, and does not show the value."""
    (found,) = findings(role(provider=f"type: probe, api_key_env: '{name}'"))
    assert found.startswith("3:35: llm.providers.p.api_key_env: the name of an environment variable is wanted")
    assert not name or name not in found


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "_k", "my_service_openai_api_key_2", "AZURE_OPENAI_KEY_EASTUS2"])
def test_names_of_variables_are_taken(name: str) -> None:
    """Whether the variable is set is checked when it is used."""
    assert load_config(role(provider=f"type: probe, api_key_env: {name}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("llm: {}\n", ["1:1: llm.providers: missing", "1:1: llm.roles: missing"]),
        ("llm: {providers: {}, roles: {}}\n",
         ["1:18: llm.providers: must not be empty", "1:29: llm.roles: must not be empty"]),
        ("llm: {providers: [], roles: 5}\n",
         ["1:18: llm.providers: a mapping is wanted", "1:29: llm.roles: a mapping is wanted"]),
        ("llm:\n  providers:\n  roles:\n",
         ["2:13: llm.providers: a mapping is wanted", "3:9: llm.roles: a mapping is wanted"]),
        ("llm: {providers: {p: 5}, roles: {r: q}}\n",
         ["1:22: llm.providers.p: a mapping is wanted", "1:37: llm.roles.r: a mapping is wanted"]),
        ("llm: {providers: {'': {type: mock}}, roles: {r: {provider: ''}}}\n",
         ["1:19: llm.providers['']: as a name, must not be empty"]),
        ("llm: {provders: {p: {type: mock}}, roles: {r: {provider: p}}}\n",
         ["1:1: llm.providers: missing", "1:7: llm.provders: unknown key (did you mean 'providers'?)",
          "1:58: llm.roles.r.provider: no such provider"]),
        ("llm: {providers: {p: {type: mock}}, roles: {a: {provider: p}, b: {provider: p}}}\n",
         ["1:1: llm.default_role: missing: with several roles, name the one for calls that name none"]),
        ("llm: {policy: simpel, providers: {p: {type: mock}}, roles: {a: {provider: p}}}\n",
         ["1:15: llm.policy: unknown routing policy (did you mean 'simple'?)"]),
        ("llm: {trace: {keep_days: -1, capture: all, dri: x},\n"
         "      providers: {p: {type: mock}}, roles: {a: {provider: p}}}\n",
         ["1:26: llm.trace.keep_days: must be at least 0",
          "1:39: llm.trace.capture: one of 'none', 'meta' or 'full' is wanted",
          "1:44: llm.trace.dri: unknown key (did you mean 'dir'?)"]),
    ],
)  # fmt: skip
def test_the_outline_is_checked(text: str, said: list[str]) -> None:
    """Missing and empty sections, references between them, the policy and the traces are checked."""
    assert findings(text) == said


def test_references_are_checked_even_where_fields_are_wrong() -> None:
    """One run gives all findings: a wrong number does not hide an unknown provider, nor that a repeated target."""
    assert findings("""\
llm:
  default_role: nobody
  providers:
    openai: {type: probe, pool: many}
    codex: {type: nonsense}
  roles:
    planner:
      provider: opnai
      temperature: hot
      fallback_providers: [codx, {provider: openai, model: 1}, openai, openai]
""") == [
        "2:17: llm.default_role: no such role",
        "4:33: llm.providers.openai.pool: a whole number is wanted",
        "5:19: llm.providers.codex.type: unknown provider type (any server with an OpenAI-compatible API is"
        " {type: http, base_url: https://SERVER/v1, api_key_env: NAME_OF_A_VARIABLE})",
        "8:17: llm.roles.planner.provider: no such provider (did you mean 'openai'?)",
        "9:20: llm.roles.planner.temperature: a number is wanted",
        "10:28: llm.roles.planner.fallback_providers[0]: no such provider (did you mean 'codex'?)",
        "10:60: llm.roles.planner.fallback_providers[1].model: text is wanted: put it in quotes",
        "10:72: llm.roles.planner.fallback_providers[3]: the same provider, model and settings are already in the "
        "chain",
    ]


def test_the_same_target_twice_is_a_finding_and_another_model_is_not() -> None:
    """Two targets are the same if provider, model and settings are, wherever these were written."""
    same = "the same provider, model and settings are already in the chain"
    assert findings(role("model: m, fallback_providers: [p]")) == [f"6:36: llm.roles.r.fallback_providers[0]: {same}"]
    assert findings(role("fallback_providers: [{provider: p, model: m}]", "type: mock, model: m")) == [
        f"6:26: llm.roles.r.fallback_providers[0]: {same}"
    ]
    assert findings(role("seed: 1, fallback_providers: [{provider: p, seed: 1}]"))
    assert load_config(role("fallback_providers: [{provider: p, model: n}]"))
    assert load_config(role("seed: 1, fallback_providers: [{provider: p, seed: 2}]"))
    assert load_config(role("model: m, fallback_providers: [p]", "type: mock, model: n"))


def test_a_mapping_has_paths_for_places() -> None:
    """Without a file a finding is `<mapping>: path: message`, in the order of the mapping."""
    with pytest.raises(ConfigError) as caught:
        load_config({"llm": {"providers": {"p": {"type": "mok"}, 5: {}}, "roles": {"r": {"provider": "q", "x": 1}}}})
    assert caught.value.findings == (
        f"<mapping>: llm.providers.p.type: unknown provider type (did you mean 'mock'? {OTHER_SERVERS}",
        "<mapping>: llm.providers: a key must be text",
        "<mapping>: llm.roles.r.provider: no such provider",
        "<mapping>: llm.roles.r.x: unknown key",
    )


def test_every_finding_has_the_promised_shape(tmp_path: Path) -> None:
    """A finding is `file:line:column: path: message`; findings are sorted by position."""
    path = tmp_path / "llm.yaml"
    path.write_text(TEN)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    shape = re.compile(rf"{re.escape(str(path))}:(\d+):(\d+): llm[\w.\[\]]*: .+")
    places = [tuple(map(int, match.groups())) for line in caught.value.findings if (match := shape.fullmatch(line))]
    assert len(places) == len(caught.value.findings)
    assert places == sorted(places)
