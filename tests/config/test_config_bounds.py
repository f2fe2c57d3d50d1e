"""Whatever a configuration of ordinary size holds, it loads or is refused, in time that grows with its size."""

from __future__ import annotations

from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.drawn_examples import examples
from lee_llm_router.config import load_config
from lee_llm_router.config.findings import MAX_FINDINGS
from lee_llm_router.errors import ConfigError

ROLE = "llm:\n  providers:\n    p: {type: mock}\n  roles:\n    r:\n      provider: p\n"


def lines(form: str, count: int) -> str:
    return "".join(form.replace("#", str(number)) for number in range(count))


PROVIDERS = "llm:\n  providers:\n"
ONE_ROLE = "  roles: {r: {provider: p1}}\n"

KINDS: dict[str, list[str]] = {
    "references and unknown keys": [f"{ROLE}      metadata:\n", '        k#: "${UNSET_#:-}"\n', "      u#: 1\n"],
    "references": [f"{ROLE}      metadata:\n", '        k#: "${PATH}#"\n'],
    "references in a list": [f"{ROLE}      metadata:\n       a:\n", '        - "${PATH}#"\n'],
    "references in a tuple": [f"{ROLE}      stop:\n", '        - "${PATH}#"\n'],
    "base 60": ["llm: 1", ":59:5#:10:20:30:40"],
    "digits": ["llm: 1", "0123456789abcdef#"],
    "unknown types": [PROVIDERS, "    p#: {type: mocq#}\n", ONE_ROLE],
    "unknown providers": [
        "llm:\n  default_role: r1\n  providers:\n", "    p#: {type: mock}\n", "  roles:\n", "    r#: {provider: q#}\n",
    ],
    "own words of validators": [PROVIDERS, '    p#: {type: http, base_url: "ftp://${PATH}#"}\n', ONE_ROLE],
    "repeated keys": [ROLE, "      temperature: #\n"],
    "roles": ["llm:\n  default_role: r1\n  providers: {p: {type: mock}}\n  roles:\n", "    r#: {provider: p}\n"],
    "wrong items": [f"{ROLE}      stop:\n", "        - #\n"],
}  # fmt: skip


def text_of(kind: str, count: int) -> str:
    """Return a configuration in which each line with a number sign is repeated `count` times."""
    return "".join(lines(part, count) if "#" in part else part for part in KINDS[kind]) + "\n"


def work(text: str) -> float:
    """CPU seconds that loading, showing and dumping take."""
    start = process_time()
    try:
        config = load_config(text)
    except ConfigError as error:
        assert len(error.findings) <= MAX_FINDINGS + 1
    else:
        assert repr(config) and config.model_dump_json() and config.filled_values() is not None
    return process_time() - start


@pytest.mark.parametrize("kind", KINDS)
def test_eight_times_as_much_takes_no_square_of_the_time(kind: str) -> None:
    """A quadratic step makes it 64 times; a linear one, in one of three tries, far less than half of that."""
    small, large = text_of(kind, 500), text_of(kind, 4000)
    bound = 30 * max(min(work(small) for _ in range(3)), 0.002)
    assert any(work(large) < bound for _ in range(3))


_WORDS = st.sampled_from(
    ["p", "r", "mock", "http", "probe", "x", "", "1e3", "'1'", "yes", "~", "null", "-1", "1e999", ".inf", "0x", "${A}",
     "'${A:-b}'", "[]", "{}", "[[]]", "*a", "&a b", "!!int x", "'\\0'", "\"\\0\"", "1:59:59", "@a", "a: b", "2026-01",
     "'${'", "$${", "http://a/v1", "http://u:p@a", "'\u200b'", "\u00a0", "sk-aaaaaaaaaaaaaaaaaaaa", "9" * 500]
)  # fmt: skip
_KEYS = st.sampled_from(
    ["type", "model", "provider", "fallback_providers", "fallbacks", "retry", "timeout", "headers", "extra_body",
     "schema", "stop", "api_key", "api_key_env", "api_key_file", "base_url", "env", "rpm", "metadata",
     "unknown_role", "default_role", "trace", "health", "sinks", "policy", "dir", "<<", "1", "''", "maxTokens"]
)  # fmt: skip
_ENTRY = st.tuples(_KEYS, _WORDS | st.lists(st.tuples(_KEYS, _WORDS), max_size=3))


def flow(value: Any) -> str:
    return value if isinstance(value, str) else "{" + ", ".join(f"{key}: {word}" for key, word in value) + "}"


@settings(max_examples=examples(400), deadline=None, derandomize=True)
@given(st.lists(_ENTRY, max_size=5), st.lists(_ENTRY, max_size=6), st.lists(_ENTRY, max_size=3))
def test_any_configuration_loads_or_is_refused(provider: Any, role: Any, rest: Any) -> None:
    """No other exception, whatever the keys and values; what loads can be shown, dumped and asked for its chains."""
    text = (
        "llm:\n"
        + "".join(f"  {key}: {flow(value)}\n" for key, value in rest)
        + "  providers:\n    p:\n      type: probe\n"
        + "".join(f"      {key}: {flow(value)}\n" for key, value in provider)
        + "  roles:\n    r:\n      provider: p\n"
        + "".join(f"      {key}: {flow(value)}\n" for key, value in role)
    )
    try:
        config = load_config(text)
    except ConfigError as error:
        assert error.findings and all("\n" not in line for line in error.findings)
    else:
        assert repr(config) and config.model_dump_json()
        assert config.chain("r")
