"""A configuration loads from a path, a text and a mapping alike; what cannot be read is a finding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.config_support import findings
from lee_llm_router.config import LLMConfig, load_config
from lee_llm_router.errors import ConfigError

GOOD = "llm:\n  providers:\n    m: {type: mock}\n  roles:\n    r: {provider: m}\n"


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


def test_a_text_over_the_limit_is_refused() -> None:
    """The limit holds for text as for files."""
    assert findings("\n" * 1_000_001) == ["longer than 1,000,000 characters"]


def test_the_applications_own_keys_are_left_alone(monkeypatch: pytest.MonkeyPatch, either_parser: None) -> None:
    """Beside `llm` a file may contain anything: tags, numbers as keys, repeats, references to unset variables."""
    monkeypatch.delenv("CONFIG_TEST_UNSET", raising=False)
    config = load_config(f"app: !mine {{1: 2, a: 1, a: 2, b: '${{CONFIG_TEST_UNSET}}'}}\napp: 2\n{GOOD}")
    assert list(config.roles) == ["r"]


def test_llm_written_twice_is_a_finding(either_parser: None) -> None:
    """Of the top keys only `llm` is checked."""
    assert findings(GOOD + "llm: {}\n") == ["6:1: llm: duplicate key, first on line 1"]


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
