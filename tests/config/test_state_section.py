"""What is said of mistakes in the section `state`: each at its place, without asking a server."""

from __future__ import annotations

import pytest

from lee_llm_router import ConfigError, LeeLLMRouter, load_config

TEXT = """
llm:
  providers: {offline: {type: mock}}
  roles: {r: {provider: offline}}
  state: %s
"""


@pytest.mark.parametrize(
    ("state", "where", "words"),
    [
        ("{type: redis, url: 'localhost:6379'}", "llm.state.url", "must begin with redis://"),
        ("{type: redis, url: 'redis://localhost:port'}", "llm.state.url", "the port"),
        ("{type: redis, url: 'redis://localhost:6379/main'}", "llm.state.url", "number of a database"),
        ("{type: redis, url: 'redis://localhost', path: x}", "llm.state.path", "belongs in a state of type sqlite"),
        ("{type: sqlite, url: x}", "llm.state.url", "belongs in a state of type redis"),
    ],
)
def test_a_mistake_in_the_state_is_told_at_its_place(state: str, where: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(TEXT % state)
    assert ":5:" in str(caught.value) and f" {where}: " in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://localhost", "rediss://h:1/0?ssl_check_hostname=no", "unix:///run/redis.sock?db=1"]
)
def test_addresses_of_redis_are_taken(url: str) -> None:
    load_config(TEXT % f"{{type: redis, url: '{url}'}}")


def test_an_option_that_redis_py_does_not_know_is_told_at_the_start() -> None:
    with pytest.raises(ConfigError, match="the Redis address has an option"):
        LeeLLMRouter(TEXT % "{type: redis, url: 'redis://localhost?foo=1'}", trace_store=False)
