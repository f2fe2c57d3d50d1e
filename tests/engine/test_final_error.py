"""What the error of a failed call says: no reason twice, and no "no answer" where one came."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.support import END, Pieces, config_for, router_for
from lee_llm_router.errors import FailureType, LLMRouterError, error_for

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
