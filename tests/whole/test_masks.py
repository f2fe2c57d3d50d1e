"""What came from the environment is masked wherever Python shows it, and is itself where it is used."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from helpers.config_support import register_probe
from helpers.servers import Server, answering, completion, json_answer
from lee_llm_router import LeeLLMRouter, LLMRequest, ProviderChoice
from lee_llm_router.config import LLMConfig, load_config
from lee_llm_router.config.models import RoleConfig

SECRET = "k-2d7c-secret-88fe"
TEXT = """\
llm:
  providers:
    p:
      type: probe
      base_url: https://${MASK_KEY}.test/v1
      headers: {X-Filled: "Bearer ${MASK_KEY}"}
      words: [plain, "${MASK_KEY}"]
  roles:
    r:
      provider: p
      model: m
      stop: ["${MASK_KEY}", END]
      reasoning_effort: ${MASK_KEY}
      extra_body: {deep: [{key: "${MASK_KEY}"}]}
      headers: {X-Filled: "${MASK_KEY}", X-Api-Key: "${MASK_KEY}"}
      metadata: {note: "${MASK_KEY}"}
      schema: {description: "${MASK_KEY}"}
      fallback_providers: [{provider: p, model: n, extra_body: {a: "${MASK_KEY}"}}]
  trace: {workspace: "${MASK_KEY}", enabled: false}
"""


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> LLMConfig:
    register_probe()
    monkeypatch.setenv("MASK_KEY", SECRET)
    return load_config(TEXT)


def shown(thing: Any) -> str:
    return repr(thing) + f"{[thing]}" + str({"a": thing})


def test_targets_and_requests_show_no_value(config: LLMConfig) -> None:
    """What `resolve` returns, and what a provider gets; headers that carry a key also if a call gave them."""
    with LeeLLMRouter(config) as router:
        for target in (*router.resolve("r"), *router.resolve("r", headers={"Authorization": f"Bearer {SECRET}"})):
            assert SECRET not in shown(target) + shown(target.fields["extra_body"]) + shown(target.request_template)
            assert "'stop'" in repr(target)
    assert SECRET not in repr(LLMRequest(messages=(), headers={"X-Api-Key": SECRET}))


POLICY_GIVES = [
    {"provider_overrides": {"headers": {"X-B": f"v-{SECRET}"}, "words": ["plain", f"w {SECRET}"]}},
    {"provider_overrides": {"base_url": f"https://{SECRET}.test/v1"}},
    {
        "request_overrides": {
            "stop": [SECRET],
            "headers": {"X-B": SECRET},
            "extra_body": {"deep": [{"a": f"b{SECRET}"}]},
        }
    },
]


@pytest.mark.parametrize("given", POLICY_GIVES)
def test_what_a_policy_makes_of_a_value_is_masked_too(config: LLMConfig, given: dict[str, Any]) -> None:
    """A text that was joined or validated has lost its mask; a target that shows it gets a new one."""

    class Joins:
        def choose(self, role: str, config: LLMConfig) -> ProviderChoice:
            return ProviderChoice("p", **given)

    with LeeLLMRouter(config, policy=Joins()) as router:
        (target, *_) = router.resolve("r", metadata={"a": 1})
    assert SECRET not in shown(target) + shown(target.request_template)
    for part, fields in given.items():
        held = target.fields if part == "request_overrides" else target.provider_overrides
        assert all(name in held for name in fields)
    with LeeLLMRouter(config) as router:
        assert SECRET not in shown(router.resolve("r", stop=SECRET, extra_body={"x": (f"<{SECRET}>",)}))


@pytest.mark.parametrize("by_alias", [True, False])
def test_a_dump_keeps_the_masks_and_the_values(config: LLMConfig, by_alias: bool) -> None:
    """It holds the values, since a program may need them; what is made from it is masked like the first."""
    dumped = config.model_dump(by_alias=by_alias)
    assert SECRET not in shown(dumped)
    assert dumped["roles"]["r"]["headers"]["X-Filled"] == SECRET
    again = LLMConfig.model_validate(dumped)
    for one in (again, LLMConfig(**dumped), *again.providers.values(), again.roles["r"], *again.chain("r"),
                RoleConfig.model_validate(dumped["roles"]["r"])):  # fmt: skip
        assert SECRET not in shown(one) + str(one) + one.model_dump_json() + repr(one.model_dump(mode="json"))
    assert again.filled_values() == config.filled_values() == (SECRET,)
    assert again == config


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda one: one.model_copy(),
                                 lambda one: pickle.loads(pickle.dumps(one))])  # fmt: skip
def test_copies_and_pickles_keep_the_masks(config: LLMConfig, how: Any) -> None:
    """A pickle holds the values, as the attributes do."""
    other = how(config)
    assert other == config
    for target in other.chain("r"):
        assert SECRET not in shown(other) + shown(target) + shown(target.settings.extra_body)
    assert SECRET.encode() in pickle.dumps(config)


def test_what_is_sent_is_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASK_KEY", SECRET)
    with Server(answering(json_answer(completion()))) as server:
        text = (
            f"llm:\n  providers: {{p: {{type: http, base_url: '{server.url}', headers: {{X-A: '${{MASK_KEY}}'}}}}}}\n"
            "  roles: {r: {provider: p, model: m, stop: '${MASK_KEY}', extra_body: {a: [{b: '${MASK_KEY}'}]}}}\n"
        )
        with LeeLLMRouter(text, trace_store=False) as router:
            router.complete("r", "x")
        sent = server.requests[0]
        assert (sent.headers["x-a"], sent.json["stop"], sent.json["a"]) == (SECRET, [SECRET], [{"b": SECRET}])
