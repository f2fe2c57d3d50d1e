"""An explanation as text: what is said of waits, prices, health and roles that are none."""

from __future__ import annotations

from typing import Any

import pytest

from lee_llm_router import ExplainedTarget, Explanation
from lee_llm_router.cli.explanation_view import print_explanation
from lee_llm_router.health.states import TargetHealth
from lee_llm_router.routing.explanation import TokenPrice


def target(**more: Any) -> ExplainedTarget:
    found: dict[str, Any] = {
        "provider": "p", "provider_type": "mock", "model": "m", "model_source": "role", "state": "next", "dropped": {},
    }  # fmt: skip
    return ExplainedTarget(**found | more)


def shown(capsys: pytest.CaptureFixture[str], *targets: ExplainedTarget, **more: Any) -> list[str]:
    found: dict[str, Any] = {
        "role": "r", "policy": "simple", "outcome": "asks", "targets": targets, "settings": (), "most_attempts": 2,
        "backoffs": (),
    }  # fmt: skip
    print_explanation(Explanation(**found | more))
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("wait", "length"), [(12.0, " 12.0 s"), (None, "")])
def test_a_wait_says_for_whom_how_long_and_why(
    wait: float | None, length: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waited_for = target(state="waited_for", key_variable="KEY_B", reason="the vendor asked to wait", opens_in=12.0)
    lines = shown(capsys, target(state="skipped"), waited_for, outcome="waits", wait=wait, reason="nobody is free")
    assert lines[0] == f"role r waits{length} for p/m with KEY_B: nobody is free"
    assert "2. p/m with KEY_B waited for: the vendor asked to wait (another 12.0 s)" in lines


def test_a_role_that_is_none_and_a_hook_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, target(state="asked"), asked_role="rr", is_compressed=True, policy_reason="cheapest")
    assert "asked for rr, which is not a role: the default role answers" in lines
    assert "messages first go through a hook, which was not called here" in lines
    assert "policy simple: cheapest" in lines


@pytest.mark.parametrize(
    ("price", "told"),
    [
        (TokenPrice(input_usd=0.15, output_usd=0.6, source="the file"), "$0.15 input, $0.6 output"),
        (TokenPrice(input_usd=2.0, source="the file"), "$2 input"),
    ],
)
def test_a_price_says_what_is_known_and_who_says_so(
    price: TokenPrice, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, target(price=price, chosen_because="it is cheap"))
    assert f"price {told} per million tokens (the file)" in lines
    assert "chosen because it is cheap" in lines


@pytest.mark.parametrize(
    ("health", "told"),
    [
        (TargetHealth(successes=3), "breaker closed, 3 answers, 0 failures"),
        (
            TargetHealth(state="open", failures=4, last_failure="TIMEOUT", in_flight=1, waiting=2),
            "breaker open, 0 answers, 4 failures, the last TIMEOUT, 1 in progress, 2 waiting",
        ),
    ],
)
def test_what_is_known_of_a_target_is_told(health: TargetHealth, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"health {told}" in shown(capsys, target(health=health))
