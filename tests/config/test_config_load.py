"""Loading a source: what loads, and which findings, at which position, explain what does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.config_support import findings, register_probe, role
from lee_llm_router.config import LLMConfig, load_config, yaml_reader
from lee_llm_router.errors import ConfigError, FailureType

OTHER_SERVERS = "any other server is {type: http, base_url: https://SERVER/v1, api_key_env: NAME_OF_A_VARIABLE})"

GOOD = "llm:\n  providers:\n    m: {type: mock}\n  roles:\n    r: {provider: m}\n"

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


@pytest.fixture(autouse=True)
def _probe() -> None:
    register_probe()


@pytest.fixture(params=["C", "python"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with each parser: PyYAML may be installed without libyaml."""
    if request.param == "python":
        monkeypatch.setattr(yaml_reader, "_Loader", yaml.SafeLoader)


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


def test_a_path_a_text_and_a_mapping_give_the_same(tmp_path: Path) -> None:
    """`load_config` takes a path as str or Path, YAML text and a mapping, and reads the same from each."""
    path = tmp_path / "llm.yaml"
    path.write_text(GOOD)
    sources: list[Any] = [path, str(path), GOOD, yaml.safe_load(GOOD), "\ufeff" + GOOD, GOOD.replace("\n", "\r\n")]
    first, *others = [load_config(source) for source in sources]
    assert isinstance(first, LLMConfig)
    assert first.default_role == "r"
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "the path is empty"),
        ("nowhere.yaml", "cannot be read: No such file or directory"),
        ("llm=a: b", "cannot be read: No such file or directory (YAML text would have a newline in it)"),
        ("a\0b", "not a path"),
        ("x" * 5000, "cannot be read: File name too long"),
        (os.curdir, "a directory, not a file"),
        ("/dev/null", "not a regular file"),
        (5, "a path, YAML text or a mapping is wanted"),
        (None, "a path, YAML text or a mapping is wanted"),
        (b"llm.yaml", "a path, YAML text or a mapping is wanted"),
    ],
)
def test_what_is_no_readable_file_is_one_finding(source: Any, said: str) -> None:
    """Any wrong source raises a ConfigError that says what is wrong with it."""
    assert findings(source) == [said]


def test_a_fifo_does_not_hang_and_an_endless_device_does_not_fill_memory(tmp_path: Path) -> None:
    """Only regular files are read."""
    os.mkfifo(tmp_path / "fifo")
    assert findings(tmp_path / "fifo") == ["not a regular file"]
    assert findings("/dev/zero") == ["not a regular file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_finding(tmp_path: Path) -> None:
    """A refused permission becomes a finding, not an OSError."""
    (tmp_path / "secret.yaml").write_text(GOOD)
    (tmp_path / "secret.yaml").chmod(0)
    assert findings(tmp_path / "secret.yaml") == ["cannot be read: Permission denied"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1:1: llm: missing: the file is empty"),
        (b"# only a comment\n", "1:1: llm: missing: the file is empty"),
        (b"llm:\n  \xff: 1\n", "2:3: not UTF-8 text (a binary file?)"),
        ("é: é\n".encode() + b"\xe9\n", "2:1: not UTF-8 text (a binary file?)"),
        (b"\x7fELF\x00\x01", "1:1: a character that no YAML file may hold (a binary file?)"),
        (b"llm:\n  a: \x00\n", "2:6: a character that no YAML file may hold (a binary file?)"),
        (GOOD.encode("utf-16"), "UTF-16 text, not UTF-8: save it as UTF-8"),
        (b"a: 1\n" * 200_001, "larger than 1,000,000 bytes"),
        (b"x" * 10_000_000, "larger than 1,000,000 bytes"),
        (b"llm:\n\ta: 1\n", "2:1: a tab: indent with spaces"),
        (b"llm: {a: 1\n", "2:1: not YAML: "),
        (b"llm: 'x\n", "2:1: not YAML: "),
        (b"llm: @x\n", "1:6: not YAML: "),
        (b"%YAML 9.9\n---\na: 1\n", "1:1: not YAML: "),
        (b"a: 1\n---\nb: 2\n", "2:1: a second document: one is wanted"),
        (b"- 1\n", "1:1: llm: missing: a mapping with the key llm is wanted"),
        (b"42\n", "1:1: llm: missing: a mapping with the key llm is wanted"),
        (b"app: 1\n", "1:1: llm: the top key llm is missing"),
        (b"app: 1\nlmm: {}\n", "2:1: lmm: the top key llm is missing (did you mean 'llm'?)"),
        (b"providers: {}\nroles: {}\n", "1:1: llm: missing: put providers and roles under the key llm"),
        (b"app: 1\nroles: {}\n", "2:1: llm: missing: put roles under the key llm"),
        (b"llm:\n", "1:5: llm: a mapping is wanted"),
        (b"llm: [1]\n", "1:6: llm: a mapping is wanted"),
        (b"llm: text\n", "1:6: llm: a mapping is wanted"),
        (b"llm: {a: *nothing}\n", "1:10: an alias (*) of an anchor (&) that does not come before it"),
        (b"llm: &a [*a]\n", "1:10: an anchor (&) that contains itself"),
        (b"llm: &a {b: {c: *a}}\n", "1:17: an anchor (&) that contains itself"),
        (b"[" * 100_000, "1:101: nested deeper than 100 levels"),
        (b"".join(b" " * i + b"a:\n" for i in range(200)), "nested deeper than 100 levels"),
        (b"llm:\n" + b"  - \n" * 100_001, "more than 100,000 values"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_a_broken_file_is_one_finding_at_its_place(
    tmp_path: Path, content: bytes, said: str, either_parser: None
) -> None:
    """An empty, binary, huge, badly indented or endlessly nested file gives one finding, and no other exception."""
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    (found,) = findings(path)
    if "not YAML" in said or "deeper" in said or "100,000" in said:
        # Where exactly, and in which words, differs between PyYAML's two parsers.
        assert said.partition(": ")[2] in found
    else:
        assert found == said


def test_a_text_over_the_limit_is_refused() -> None:
    """The limit holds for text as for files."""
    assert findings("\n" * 1_000_001) == ["longer than 1,000,000 characters"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "a: &a {x: 1}\n"
        + "".join(
            f"{name}: &{name} {{<<: [{','.join([f'*{before}'] * 10)}]}}\n"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        ),
    ],
    ids=["lists", "merges"],
)
def test_anchors_that_multiply_are_refused(text: str, either_parser: None) -> None:
    """Repeated values are counted before anything is built (the "billion laughs" attack)."""
    (found,) = findings(text + "llm: *j\n")
    assert "more than 100,000 values, counting what anchors repeat" in found


def test_anchors_that_nest_without_end_are_refused(either_parser: None) -> None:
    """Depth counts through aliases too."""
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 5000))
    assert "nested deeper than 100 levels" in findings(chain + "llm: *a4999\n")[0]


def test_plain_anchors_and_merge_keys_work(either_parser: None) -> None:
    """Defaults outside `llm` are merged in; written keys win over merged ones, earlier merges over later."""
    config = load_config("""\
x-a: &a {temperature: 0.1, seed: 1}
x-b: &b {temperature: 0.9, seed: 9, max_tokens: 5}
x-m: &m {type: mock}
llm:
  default_role: one
  providers: {p: *m, q: *m}
  roles:
    one: {<<: *a, provider: p, seed: 2}
    two:
      <<: [*a, *b]
      provider: q
""")
    one, two = config.roles["one"], config.roles["two"]
    assert (one.temperature, one.seed, one.max_tokens) == (0.1, 2, None)
    assert (two.temperature, two.seed, two.max_tokens) == (0.1, 1, 5)


def test_a_mistake_in_an_anchor_is_found_where_it_is_written(either_parser: None) -> None:
    """A mistake in an aliased value is reported at the alias; one inside it, or merged, where it is written."""
    text = "x: &bad hot\ny: &retry {attempts: 0}\nz: &z {top_p: 7}\n" + role(
        "temperature: *bad, retry: *retry,\n    <<: *z, <<: {stop: 5}"
    )
    assert findings(text) == [
        "2:22: llm.roles.r.retry.attempts: must be at least 1",
        "3:15: llm.roles.r.top_p: must be at most 1",
        "9:18: llm.roles.r.temperature: a number is wanted",
        "10:24: llm.roles.r.stop: a list is wanted",
    ]


@pytest.mark.parametrize("bad", ["<<: 5", "<<: [{seed: 1}, 5]", "<<: text"])
def test_a_merge_of_what_is_no_mapping_is_a_finding(bad: str) -> None:
    """`<<` takes mappings."""
    (found,) = findings(role(bad))
    assert "llm.roles.r.<<" in found.replace("['<<']", ".<<")
    assert found.endswith("<< takes a mapping or a list of mappings")


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system ['true']", "!!python/name:os.system ''", "!include x", "!!binary aGk=",
     "!!set {a}",
     "!!omap []", "!!int [1]", "!foo {a: 1}"],
)  # fmt: skip
def test_tags_are_findings_and_run_nothing(value: str, either_parser: None) -> None:
    """Only the tags of plain values are allowed, and a finding does not show the tag."""
    assert findings(role(f"metadata: {value}")) == ["6:15: llm.roles.r.metadata: a tag, and none is allowed here"]


def test_plain_tags_are_read(either_parser: None) -> None:
    """The tags of YAML's plain values give values of their types."""
    config = load_config(role('model: !!str 5, temperature: !!float "1", seed: !!int 0x10, stop: !!seq [! a]'))
    found = config.roles["r"]
    assert (found.model, found.temperature, found.seed, found.stop) == ("5", 1.0, 16, ("a",))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("!!int abc", "not a whole number that can be read"),
        ("!!bool abc", "not a boolean that can be read"),
        ("!!float abc", "not a number that can be read"),
        ("0x_", "not a whole number that can be read"),
        ("9" * 5000, "not a whole number that can be read"),
    ],
)
def test_scalars_that_are_not_what_they_say_are_findings(value: str, said: str, either_parser: None) -> None:
    """YAML takes the value for a number, but Python cannot read it."""
    assert findings(role(f"seed: {value}")) == [f"6:11: llm.roles.r.seed: {said}"]


def test_dates_and_odd_words_are_text(either_parser: None) -> None:
    """Model names that look like dates stay text; so do YAML 1.1's `=` and `<<` as values."""
    config = load_config(role("model: 2024-08-06, stop: [=, <<, 2024-01-01 10:00:00]"))
    assert config.roles["r"].model == "2024-08-06"
    assert config.roles["r"].stop == ("=", "<<", "2024-01-01 10:00:00")


@pytest.mark.parametrize("key", ["1", "no", "~", "1.5", "? [a]\n    "])
def test_keys_that_are_no_text_are_findings(key: str, either_parser: None) -> None:
    """Keys that YAML reads as something other than text, such as a bare `no`, are reported."""
    text = f"llm:\n  providers: {{p: {{type: mock}}}}\n  roles:\n    r: {{provider: p}}\n    {key}: {{provider: p}}\n"
    column = 7 if key.startswith("?") else 5
    assert findings(text) == [f"5:{column}: llm.roles: a key must be text: put it in quotes"]


def test_the_applications_own_keys_are_left_alone(monkeypatch: pytest.MonkeyPatch, either_parser: None) -> None:
    """Beside `llm` a file may contain anything: tags, numbers as keys, repeats, references to unset variables."""
    monkeypatch.delenv("CONFIG_TEST_UNSET", raising=False)
    config = load_config(f"app: !mine {{1: 2, a: 1, a: 2, b: '${{CONFIG_TEST_UNSET}}'}}\napp: 2\n{GOOD}")
    assert list(config.roles) == ["r"]


def test_llm_written_twice_is_a_finding(either_parser: None) -> None:
    """Of the top keys only `llm` is checked."""
    assert findings(GOOD + "llm: {}\n") == ["6:1: llm: duplicate key, first on line 1"]


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
        ("type: probe, api_key: abcdef", "3:22: llm.providers.p.api_key: a key is never written in the file: "
         "name its environment variable with api_key_env"),
        ("type: probe, Token: abcdef", "3:22: llm.providers.p.Token: a key is never written in the file: "
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
        ("type: probe, base_url: 'http://me:pw@h/v1'", "3:32: llm.providers.p.base_url: no user or password goes into "
         "an address: name the key with api_key_env"),
        ("type: probe, base_url: 'http://me@[h/v1'", "3:32: llm.providers.p.base_url: no user or password goes into "
         "an address: name the key with api_key_env"),
        ("type: probe, headers: {Authorization: Bearer abc}", "3:47: llm.providers.p.headers.Authorization: a key is "
         "never written in the file: put ${NAME} in its place, NAME being its environment variable"),
        ("type: probe, headers: {x-api-key: abc}", "3:43: llm.providers.p.headers.x-api-key: a key is never written "
         "in the file: put ${NAME} in its place, NAME being its environment variable"),
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
         ["1:1: llm.default_role: missing: with several roles, say which serves where none is asked for"]),
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
        "10:72: llm.roles.planner.fallback_providers[3]: the same provider, model and settings stand in the chain "
        "already",
    ]


def test_the_same_target_twice_is_a_finding_and_another_model_is_not() -> None:
    """Two targets are the same if provider, model and settings are, wherever these were written."""
    same = "the same provider, model and settings stand in the chain already"
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


def test_mappings_that_hold_themselves_or_too_much_are_refused() -> None:
    """A mapping has the same limits as a file."""
    loop: dict[str, Any] = {"llm": {}}
    loop["llm"]["llm"] = loop
    assert findings(loop) == ["nested deeper than 100 levels, or holding itself"]
    assert findings({"llm": {"x": [0] * 100_001}}) == ["more than 100,000 values"]
    assert findings({}) == ["llm: the top key llm is missing"]


def test_a_mapping_keeps_its_python_objects() -> None:
    """Tuples, sets, classes and other objects in a mapping are kept."""
    marker = object()
    config = load_config({
        "llm": {
            "providers": {"p": {"type": "mock"}},
            "roles": {
                "r": {
                    "provider": "p", "stop": ("a", "b"), "fallback_on": {"CONTENT_FILTER"}, "schema": LLMConfig,
                    "metadata": {"marker": marker, "pair": (1, 2)},
                },
            },
        }
    })  # fmt: skip
    role = config.roles["r"]
    assert role.metadata == {"marker": marker, "pair": (1, 2)}
    assert role.response_schema is LLMConfig
    assert role.stop == ("a", "b")
    assert role.fallback_on == frozenset({"CONTENT_FILTER"})


def test_a_thousand_providers_and_roles_load() -> None:
    """A large file loads, and a thousand wrong names do not take a million comparisons."""
    providers = "".join(f"    provider-{i}: {{type: mock, model: m{i}}}\n" for i in range(1000))

    def text(target: str) -> str:
        roles = "".join(
            f"    role-{i}: {{provider: {target}{i}, temperature: 0.5, retry: {{attempts: 2}}}}\n" for i in range(1000)
        )
        return f"llm:\n  default_role: role-0\n  providers:\n{providers}  roles:\n{roles}"

    config = load_config(text("provider-"))
    assert len(config.roles) == len(config.providers) == 1000
    assert len(findings(text("provder-"))) == 1000


def test_importing_the_configuration_loads_no_yaml() -> None:
    """A program whose configuration is a mapping loads no YAML library."""
    code = (
        "import sys; from lee_llm_router.config import load_config;"
        "load_config({'llm': {'providers': {'p': {'type': 'mock'}}, 'roles': {'r': {'provider': 'p'}}}});"
        "print('yaml' in sys.modules, 'httpx' in sys.modules, 'typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False"] * 3


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


SECRET = "s3cr3t-value-98765"


@pytest.mark.parametrize(
    "text",
    [
        '{"llm": {"providers": {"p": {"type": "moc", "token": "%s"}}}}',
        '{"llm":{"a":"%s"}}',
        " {llm: {a: %s}}",
        "['%s']",
        "llm: {providers: {p: {type: mock, note: '%s'}}}",
        "token: %s",
        '"%s": 1',
        "%s" + "x" * 5000,
        "llm: [%s",
        "{%s",
    ],
)
def test_text_on_one_line_is_not_taken_for_a_path(text: str) -> None:
    """An error names a path, and text may hold keys."""
    with pytest.raises(ConfigError) as caught:
        load_config(text % SECRET)
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.message.endswith("<text>")


def test_json_on_one_line_loads() -> None:
    config = '{"llm": {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}}}'
    assert load_config(config).default_role == "r"


@pytest.mark.parametrize("name", ["a: b.yaml", "{a}.yaml", "[x]"])
def test_a_file_whose_name_looks_like_text_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(GOOD)
    assert load_config(name).default_role == "r"
