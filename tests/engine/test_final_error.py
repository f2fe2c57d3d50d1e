"""What the error of a failed call says: no reason twice, and no "no answer" where one came."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.support import END, Pieces, ScriptedProvider, config_for, router_for
from lee_llm_router.errors import FailureType, LLMRouterError, UnavailableError, error_for
from lee_llm_router.providers import registry

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
ONCE = {"retry": {"attempts": 1}, "contract": {"repair": 0}}


def failure_of(plays: dict[str, list[Any]], role: dict[str, Any], *, stream: bool = False, **options: Any) -> str:
    router, _, _ = router_for(config_for(plays, role))
    with pytest.raises(LLMRouterError) as caught:
        if stream:
            list(router.stream("r", "hi", **options))
        else:
            router.complete("r", "hi", **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "message"), [(401, "no key"), (None, "connection refused"), (500, "a: b: c"), (429, "")]
)
def test_with_one_attempt_the_reason_stands_once(status: int | None, message: str) -> None:
    """The one line has all that a list of attempts would say."""
    said = failure_of({"a": [error_for(FailureType.PROVIDER_ERROR, message, status_code=status)]}, ONCE)
    assert len(said.splitlines()) == 1
    assert f"PROVIDER_ERROR{f' {status}' if status else ''} at a/m" in said
    assert said.count(message or "PROVIDER_ERROR") == 1


def test_with_more_than_one_target_every_attempt_has_its_line() -> None:
    said = failure_of({"a": [error_for(FailureType.AUTH, "no key")], "b": [error_for(FailureType.QUOTA, "poor")]}, ONCE)
    assert [line.split()[:2] for line in said.splitlines()[1:]] == [["1.", "a/m"], ["2.", "b/m"]]


@pytest.mark.parametrize(
    ("plays", "options", "came"),
    [
        ({"a": ["no JSON"]}, {"json_mode": True}, True),
        ({"a": ["no JSON"], "b": [error_for(FailureType.AUTH, "no key")]}, {"json_mode": True}, True),
        ({"a": [Pieces("half ", error_for(FailureType.PROVIDER_ERROR, "gone"))]}, {"stream": True}, True),
        ({"a": [Pieces("no JSON", END)]}, {"stream": True, "json_mode": True}, True),
        ({"a": [error_for(FailureType.AUTH, "no key")]}, {}, False),
        ({"a": [error_for(FailureType.OVERLOADED, "busy")], "b": [error_for(FailureType.QUOTA, "no")]}, {}, False),
        ({"a": [Pieces(error_for(FailureType.PROVIDER_ERROR, "gone"))]}, {"stream": True}, False),
    ],
)
def test_an_answer_that_came_is_not_denied(plays: dict[str, list[Any]], options: dict[str, Any], came: bool) -> None:
    """A whole answer that broke its contract, or a part of one: it came, and cannot be used."""
    said = failure_of(plays, ONCE, **options).splitlines()[0]
    assert ("got no answer that can be used (" in said, "got no answer (" in said) == (came, not came)


class Unbuildable(ScriptedProvider):
    """A provider whose machine lacks something."""

    def __init__(self, *given: Any) -> None:
        raise RuntimeError("no GPU found")


@pytest.mark.parametrize(
    ("chain", "reason", "lines"),
    [
        (["broken"], "broken/m: provider 'broken' cannot be built: RuntimeError: no GPU found)", 1),
        (["plain"], "plain/m: the provider does not support tools)", 1),
        (["broken", "plain"], "no GPU found; 1 more cannot either)", 3),
        (["plain", "broken", "broken2"], "plain/m: the provider does not support tools; 2 more cannot either)", 4),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_can_ask_nobody_says_why(chain: list[str], reason: str, lines: int, stream: bool) -> None:
    """The message names a reason by itself, once: not everybody shows the list of targets."""
    registry.register("unbuildable", Unbuildable, replace=True)
    kinds = {name: {"type": "unbuildable"} if "broken" in name else {"tools": False} for name in chain}
    router, _, _ = router_for(config_for({name: [] for name in chain}, providers=kinds))
    with pytest.raises(UnavailableError) as caught:
        if stream:
            list(router.stream("r", "hi", tools=[TOOL]))
        else:
            router.complete("r", "hi", tools=[TOOL])
    assert reason in caught.value.message
    assert len(str(caught.value).splitlines()) == lines
