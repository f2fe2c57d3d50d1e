"""Sections of which one word says enough: the cache by its type, hedging by its delay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lee_llm_router import ConfigError, LeeLLMRouter, load_config


def config(role: dict[str, Any] | None = None, **llm: Any) -> dict[str, Any]:
    providers = {"p": {"type": "mock", "response_text": "ok"}}
    return {"llm": {"providers": providers, "roles": {"r": {"provider": "p", "model": "m", **(role or {})}}, **llm}}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_cache_is_named_by_its_type_alone(kind: str) -> None:
    short, long = (load_config(config({"cache": cache}, cache=cache)) for cache in (kind, {"type": kind}))
    assert (short.cache, short.roles["r"].cache) == (long.cache, long.roles["r"].cache)


@pytest.mark.parametrize("after", ["p95", "1.5s", "500ms", 1.5, 2])
def test_hedging_is_named_by_its_delay_alone(after: Any) -> None:
    short, long = (load_config(config({"hedge": written})).roles["r"].hedge for written in (after, {"after": after}))
    assert short == long


@pytest.mark.parametrize(("written", "said"), [
    ("hedge: soon", "llm.roles.r.hedge: seconds are wanted"),
    ("hedge: true", "llm.roles.r.hedge: a mapping is wanted"),
    ("cache: disk", "llm.roles.r.cache: one of 'memory', 'sqlite' or 'redis' is wanted"),
    ("cache: 3", "llm.roles.r.cache: a mapping is wanted"),
])  # fmt: skip
def test_a_word_that_means_nothing_is_told_at_its_place(tmp_path: Path, written: str, said: str) -> None:
    path = tmp_path / "llm.yaml"
    path.write_text(
        f"llm:\n  providers:\n    p: {{type: mock}}\n  roles:\n    r:\n      provider: p\n      {written}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert f"llm.yaml:7:14: {said}" in str(caught.value)


def test_a_call_takes_a_delay_alone_too() -> None:
    with LeeLLMRouter(config(), trace_store=False) as router:
        assert router.complete("r", "hi", hedge="p99").text == router.complete("r", "hi", hedge=0.5).text == "ok"
