"""JSON contracts with a real small model: asked in words, its answers set free of words, repaired, or handed on."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from helpers.support import Memory
from lee_llm_router import LeeLLMRouter

pytestmark = pytest.mark.real


class City(BaseModel):
    name: str
    country: str


QUESTION = 'Describe Paris as JSON with the keys "name" and "country".'


def _config(address: str, schema_form: str) -> dict[str, object]:
    return {
        "llm": {
            "providers": {
                "small": {"type": "http", "base_url": address, "structured_output": schema_form},
                "large": {"type": "mock", "response_text": '{"name": "Paris", "country": "France"}'},
            },
            "roles": {
                "extractor": {
                    "provider": "small",
                    "model": "smollm2",
                    "temperature": 0,
                    "timeout": 120,
                    "deadline": 240,
                    "contract": {"repair": 2},
                    "fallback_providers": [{"provider": "large", "model": "l"}],
                }
            },
            "trace": {"enabled": False},
        }
    }


@pytest.mark.parametrize("form", ["json_schema", "json_object", "prompt"])
def test_a_small_model_gives_what_the_contract_says_or_the_next_target_does(model_server: str, form: str) -> None:
    """Whatever it writes: `parsed` is a City. Each broken answer is a record, told to the model in the next attempt."""
    memory = Memory()
    with LeeLLMRouter(_config(model_server, form), trace_store=memory) as router:
        answer = router.complete("extractor", QUESTION, schema=City)
    for record in memory.records:
        print(record.target, record.outcome, record.verdict, record.usage and record.usage.total_tokens, record.error)
    print(answer.text)
    assert isinstance(answer.parsed, City) and answer.parsed.name
    *broken, good = memory.records
    assert good.outcome == "ok" and good.provider == answer.provider
    assert all(record.failure_type == "CONTRACT_VIOLATION" and record.provider == "small" for record in broken)
    assert all(record.usage is not None for record in broken), "all tokens count"
    assert len(broken) <= 3
    if form == "json_schema":
        assert answer.provider == "small", "the server holds the model to the schema"


def test_a_small_model_that_is_shown_an_example_keeps_the_contract_in_words(model_server: str) -> None:
    """`structured_output: prompt`: nothing but words and an example makes it write JSON."""
    messages = [
        {"role": "user", "content": QUESTION.replace("Paris", "Rome")},
        {"role": "assistant", "content": '{"name": "Rome", "country": "Italy"}'},
        {"role": "user", "content": QUESTION},
    ]
    with LeeLLMRouter(_config(model_server, "prompt"), trace_store=False) as router:
        answer = router.complete("extractor", messages, schema=City)
    print(answer.text)
    assert (answer.provider, answer.parsed.name) == ("small", "Paris")


def test_a_value_grows_while_a_real_model_writes_it(model_server: str) -> None:
    """Held to the schema by llama.cpp, streamed: what `partial` shows at the end is what is parsed."""
    with LeeLLMRouter(_config(model_server, "json_schema"), trace_store=False) as router:
        stream = router.stream("extractor", QUESTION, schema=City)
        seen = [stream.partial for _ in stream]
    assert len(seen) > 3
    assert stream.partial == stream.response.parsed.model_dump()
