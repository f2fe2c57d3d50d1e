"""A policy that puts the role's own chain in order, and policies of single roles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from helpers.support import config_for, router_for
from lee_llm_router import LeeLLMRouter, LLMConfig, PolicyError, ProviderChoice, RoutingContext, TraceRecord
from lee_llm_router.policy import register_policy

CHAIN: Mapping[str, Any] = {
    "temperature": 0.1,
    "fallback_providers": [{"provider": "b", "model": "x", "temperature": 0.5}, "c", {"provider": "a", "model": "z"}],
}


class Ordered:
    """Gives the order it was built with, and remembers the chains it was shown."""

    def __init__(self, *order: Any, first: str = "a", **fields: Any) -> None:
        self.choice = ProviderChoice(first, order=order, **fields)
        self.shown: list[list[tuple[str, str | None]]] = []

    def choose(self, role: str, config: LLMConfig, *, context: RoutingContext) -> ProviderChoice:
        self.shown.append([target.key for target in context.targets])
        return self.choice


def _targets(policy: Ordered, **asked: Any) -> list[tuple[str, str | None, Any]]:
    config = config_for({"a": ["ok"], "b": ["ok"], "c": ["ok"]}, role=CHAIN)
    router, _, _ = router_for(config, policy=policy)
    return [(one.provider, one.model, one.fields["temperature"]) for one in router.resolve("r", **asked)]


def test_an_order_is_of_the_roles_own_chain_and_keeps_what_the_file_says_of_each() -> None:
    """Each place is a target, also where two have the same provider; those left out are not asked."""
    policy = Ordered(3, 1, 0)
    assert _targets(policy) == [("a", "z", 0.1), ("b", "x", 0.5), ("a", "m", 0.1)]
    assert policy.shown == [[("a", "m"), ("b", "x"), ("c", "m"), ("a", "z")]]


def test_a_model_named_by_the_caller_replaces_the_roles_wherever_the_order_puts_it() -> None:
    assert _targets(Ordered(1, 0, 2, first="b"), model="own", temperature=0.9) == [
        ("b", "x", 0.9), ("a", "own", 0.9), ("c", "own", 0.9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "fields", "says"),
    [
        ((4,), {}, "the place 4 of a chain of 4"),
        ((), {}, "not a tuple of places"),
        ((True,), {}, "not a tuple of places"),
        (("a",), {}, "not a tuple of places"),
        ((-1,), {}, "not a tuple of places"),
        ((0, 1, 0), {}, "names a place twice"),
        ((0,), {"fallbacks": ["b"]}, "combined with overrides or fallbacks"),
        ((0,), {"request_overrides": {"seed": 1}}, "combined with overrides or fallbacks"),
        ((1, 0), {}, "begins with a different provider"),
    ],
)
def test_an_order_that_cannot_be_is_a_policy_error(order: Any, fields: Any, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        _targets(Ordered(*order, **fields))


def test_an_explanation_names_the_sources_of_settings_in_a_chain_in_order() -> None:
    config = config_for({"a": ["ok"], "b": ["ok"], "c": ["ok"]}, role=CHAIN)
    router, _, _ = router_for(config, policy=Ordered(1, 0, first="b", reason="its turn"))
    told = router.explain("r", "hi")
    first = told.targets[0]
    assert (first.provider, first.model, first.chosen_because) == ("b", "x", "its turn")
    assert [(one.value, one.source) for one in first.settings if one.name == "temperature"] == [(0.5, "fallback")]


class _Watching(Ordered):
    built: ClassVar[list[_Watching]] = []

    def __init__(self) -> None:
        super().__init__(1, 0, first="b")
        self.seen: list[str] = []
        self.built.append(self)

    def observe(self, record: TraceRecord) -> None:
        self.seen.append(record.role)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[_Watching]:
    """The policies that are built of the type `watching`."""
    register_policy("watching", _Watching, replace=True)
    monkeypatch.setattr(_Watching, "built", [])
    return _Watching.built


def _file(folder: Path, policy: str = "watching", note: int = 1) -> Path:
    file = folder / "llm.yaml"
    chain = "provider: a, model: m, fallback_providers: [b]"
    file.write_text(f"""
llm:
  default_role: plain
  providers: {{a: {{type: mock, response_text: from a}}, b: {{type: mock, response_text: from b}}}}
  roles:
    plain: {{{chain}}}
    other: {{{chain}, policy: {policy}, metadata: {{note: {note}}}}}
""")
    return file


def test_a_role_may_have_a_policy_of_its_own(tmp_path: Path, built: list[_Watching]) -> None:
    """It sees the outcomes of that role alone. A policy that the application gives goes before all of the file."""
    with LeeLLMRouter(_file(tmp_path), trace_store=False) as router:
        assert [router.complete(role, "hi").text for role in ("plain", "other")] == ["from a", "from b"]
        assert router.explain("other", "hi").policy == "_Watching"
        assert [one.seen for one in built] == [["other"]]
    with LeeLLMRouter(_file(tmp_path), trace_store=False, policy="simple") as router:
        assert router.complete("other", "hi").text == "from a"


def test_a_roles_policy_outlives_a_reload_that_does_not_change_it(tmp_path: Path, built: list[_Watching]) -> None:
    with LeeLLMRouter(_file(tmp_path), trace_store=False) as router:
        _file(tmp_path, note=2)
        router.reload()
        assert router.complete("other", "hi").text == "from b" and len(built) == 1
        _file(tmp_path, policy="simple")
        router.reload()
        assert router.complete("other", "hi").text == "from a"
