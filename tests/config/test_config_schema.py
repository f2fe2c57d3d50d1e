"""The JSON Schema, the example file and the reference agree with the loader."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from helpers.config_support import ProbeProvider
from lee_llm_router.config import LLMConfig, json_schema, load_config, schema_text, template_text
from lee_llm_router.errors import ConfigError
from lee_llm_router.providers import registry
from lee_llm_router.providers.vendors import vendors

REFERENCE = Path(__file__).parents[2] / "docs" / "config.md"
BLOCKS = [
    block
    for block in re.findall(r"^```yaml\n(.*?)^```$", REFERENCE.read_text(), re.M | re.S)
    if "\nllm:" in f"\n{block}"
]

PASSES = [
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p}}}",
    "app: 1\nllm: {providers: {p: {type: mock}}, roles: {r: {provider: p, timeout: 5, stop: x}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, timeout: '${T:-60}', json_mode: '${J:-true}'}}}",
    "llm: {providers: {p: {type: http, base_url: '${B:-http://h}', api: '${A:-openai-chat}'}},"
    " roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: openai_http}}, roles: {r: {provider: p, stop: [a, b], schema: {type: object}}}}",
    "llm: {providers: {p: {type: openrouter_http, model: x, headers: {a: b}}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: groq, max_tokens_field: max_tokens, stream_usage: false}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: azure, base_url: 'https://x.test/v1', api_key_env: null}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: codex_cli, sandbox: read-only}, q: {type: mock}},"
    " roles: {r: {provider: p, fallback_providers: [q, {provider: q, model: m}], fallback_on: [CONTENT_FILTER]}}}",
    "llm: {providers: {p: {type: mock, script: [{error: TIMEOUT, times: 2}, {text: hi}]}}, roles: {r: {provider: p}}}",
]  # fmt: skip

FAILS = [
    "{}",
    "llm: 5",
    "llm: {}",
    "llm: {providers: {}, roles: {}}",
    "llm: {providers: {p: {}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: mock, respons: x}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: http, base_url: 'http://h', api: smoke-signals}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: http}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: http, base_url: 'http://h', api_key: x}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: http, base_url: 'http://h', api_key_env: sk-1}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: openai_http, nonsense: 1}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: groq, stream_end: soon}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: azure}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: vertex_gemini}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: codex_cli, sandbox: none}}, roles: {r: {provider: p}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, timeout: soon}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, timeout: 0}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, temperature: -1}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, retry: {attempts: 0}}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, fallback_on: [TIMEOUT]}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p, fallback_providers: [{model: m}]}}}",
    "llm: {providers: {p: {type: mock}}, roles: {r: {provider: p}}, trace: {capture: all}}",
]  # fmt: skip


def is_loadable(name: str) -> bool:
    try:
        registry.get(name)
    except ConfigError:
        return False
    return True


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def fits(text: str, schema: dict[str, Any] | None = None) -> bool:
    """Whether a file fits the schema."""
    validator = _validator() if schema is None else Draft202012Validator(schema)
    return validator.is_valid(yaml.safe_load(text))


def test_the_schema_is_a_valid_one() -> None:
    """Both forms are valid by draft 2020-12."""
    for schema in (json_schema(), json_schema(installed=True)):
        assert schema["$schema"].endswith("/draft/2020-12/schema")
        Draft202012Validator.check_schema(schema)


def test_the_schema_that_ships_is_the_one_the_models_give() -> None:
    """After a change of a model: `lee-llm-router schema > src/lee_llm_router/config/templates/llm.schema.json`."""
    assert json.loads(schema_text()) == json_schema()


@pytest.mark.parametrize("text", PASSES)
def test_what_loads_fits_the_schema(text: str) -> None:
    """Files that load fit the schema."""
    assert load_config(f"{text}\n")
    assert fits(text)


@pytest.mark.parametrize("text", FAILS)
def test_what_does_not_fit_the_schema_does_not_load(text: str) -> None:
    """Files that do not fit the schema do not load."""
    assert not fits(text)
    with pytest.raises(ConfigError):
        load_config(f"{text}\n")


def test_every_setting_is_described_and_unknown_types_pass() -> None:
    """The schema describes each type, and accepts types it does not know."""
    schema = json_schema()
    sections = [part for name, part in schema["$defs"].items() if name != "Provider"]
    undescribed = [
        name
        for section in sections
        for name, part in section.get("properties", {}).items()
        if "description" not in part
    ]
    assert not undescribed
    assert [case["then"]["properties"]["type"]["const"] for case in schema["$defs"]["Provider"]["allOf"]] == [
        name for name in sorted({*registry.BUILTIN_TYPES, *vendors()}) if is_loadable(name)
    ]
    assert fits("llm: {providers: {p: {type: my_own, anything: [1]}}, roles: {r: {provider: p}}}")


def test_the_installed_schema_knows_registered_types() -> None:
    """It skips types that cannot be loaded."""
    registry.register("schema_probe", ProbeProvider, replace=True)
    registry.register_alias("schema_alias", "schema_probe", {"pool": 5}, replace=True)
    registry.register("schema_broken", "no_such_package_at_all.x:Y", replace=True)
    installed = json_schema(installed=True)
    for name in ("schema_probe", "schema_alias"):
        wrong = f"llm: {{providers: {{p: {{type: {name}, pool: many}}}}, roles: {{r: {{provider: p}}}}}}"
        assert fits(wrong)
        assert not fits(wrong, installed)
    assert fits("llm: {providers: {p: {type: schema_broken, x: 1}}, roles: {r: {provider: p}}}", installed)


def test_the_example_loads_with_nothing_set_and_fits_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """It works as it is, offline, and names its schema for editors."""
    for name in re.findall(r"\$\{(\w+)", template_text()) + re.findall(r"api_key_env: (\w+)", template_text()):
        monkeypatch.delenv(name, raising=False)
    config = load_config(template_text())
    assert config.default_role is not None
    assert config.providers[config.roles[config.default_role].provider].type == "mock"
    assert template_text().startswith("# yaml-language-server: $schema=llm.schema.json\n")
    assert fits(template_text())


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_file_in_the_reference_loads_and_fits_the_schema(block: str) -> None:
    """A whole file shown in the reference works as it is."""
    assert load_config(block)
    assert fits(block)


def test_the_findings_in_the_reference_are_the_ones_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong file in the reference gives the findings shown below it, word for word."""
    monkeypatch.delenv("PLANNER_TIMEOUT", raising=False)
    monkeypatch.chdir(tmp_path)
    found = re.search(r"^```text\n(llm:.*?)^```\n.*?^```text\n(.*?)^```$", REFERENCE.read_text(), re.M | re.S)
    assert found is not None
    Path("llm.yaml").write_text(found[1])
    with pytest.raises(ConfigError) as caught:
        load_config("llm.yaml")
    assert str(caught.value) == found[2].rstrip()


def test_the_reference_names_every_key() -> None:
    """Every key of `llm` and of its sections has a row in a table of the reference."""
    text = REFERENCE.read_text()
    schema = LLMConfig.model_json_schema()
    sections = [schema, *(part for part in schema["$defs"].values() if part["type"] == "object")]
    missing = [name for section in sections for name in section["properties"] if f"`{name}`" not in text]
    assert BLOCKS
    assert not missing
