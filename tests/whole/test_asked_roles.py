"""A role that the configuration does not have: the default role answers, and says so; or an error."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import suppress
from enum import StrEnum
from typing import Any

import pytest

from helpers.support import Memory, config_for, router_for
from lee_llm_router import LeeLLMRouter
from lee_llm_router.errors import FailureType, InvalidRequestError
from lee_llm_router.telemetry.records import TraceRecord

MISSPELT = ["planer", "PLANNER ", "", "rolle", "x" * 5000, "a\nb\x1b[31m", "日本"]


def ask(router: Any, role: Any, how: str) -> Any:
    if how == "sync":
        return router.complete(role, "hi")
    if how == "async":

        async def completed() -> Any:
            return await router.complete_async(role, "hi")

        return asyncio.run(completed())
    if how == "stream":
        with router.stream(role, "hi") as stream:
            return list(stream)

    async def streamed() -> Any:
        async with router.stream_async(role, "hi") as stream:
            return [chunk async for chunk in stream]

    return asyncio.run(streamed())


@pytest.mark.parametrize("role", MISSPELT)
@pytest.mark.parametrize("how", ["sync", "async", "stream", "stream async"])
def test_the_default_role_answers_with_one_warning_for_a_name(role: str, how: str) -> None:
    """The warning points at the caller; the trace says what was asked, on one line and bounded."""
    router, memory, _ = router_for(config_for({"a": ["hello"] * 3}))
    with pytest.warns(UserWarning, match="the default role 'r' answers") as warned:
        ask(router, role, how)
    assert [one.filename for one in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(router, role, how)
    for record in memory.records:
        assert record.role == "r"
        assert record.asked_role is not None and record.asked_role.isprintable() and len(record.asked_role) <= 128
        assert TraceRecord.from_json(record.to_json()) == record
    with pytest.warns(UserWarning, match="no such role 'other'"):
        ask(router, "other", how)


@pytest.mark.parametrize("role", MISSPELT)
@pytest.mark.parametrize("how", ["sync", "async", "stream", "stream async"])
def test_it_is_an_error_where_the_file_says_so(role: str, how: str) -> None:
    """Typed, traced and with nothing asked; `resolve` says the same."""
    config = config_for({"a": ["hello"]})
    router, memory, _ = router_for(config.model_copy(update={"unknown_role": "error"}))
    with pytest.raises(InvalidRequestError, match="no such role") as caught:
        ask(router, role, how)
    assert "\n" not in caught.value.message and "\x1b" not in caught.value.message
    assert caught.value.request_id == memory.records[0].request_id
    assert [(one.attempt, one.failure_type) for one in memory.records] == [(None, "INVALID_REQUEST")]
    assert memory.records[0].asked_role is not None and memory.records[0].asked_role.isprintable()
    with pytest.raises(InvalidRequestError, match="no such role"):
        router.resolve(role)
    ask(router, "r", how)
    ask(router, None, how)


@pytest.mark.parametrize("how", ["sync", "async", "stream", "stream async", "resolve"])
def test_where_warnings_are_errors_each_call_is_refused(how: str) -> None:
    """By the error that the file could ask for, and not by the first call alone."""
    router, memory, _ = router_for(config_for({"a": ["hello"]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(InvalidRequestError, match="no such role 'reviewer'"):
                router.resolve("reviewer") if how == "resolve" else ask(router, "reviewer", how)
    assert {(one.failure_type, one.asked_role) for one in memory.records} <= {("INVALID_REQUEST", "reviewer")}
    with pytest.warns(UserWarning, match="no such role 'reviewer'"):
        ask(router, "reviewer", "sync")


@pytest.mark.parametrize("unknown_role", ["default", "error"])
def test_a_key_taken_for_a_role_is_not_shown(unknown_role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the warning nor by the trace."""
    monkeypatch.setenv("ROLE_TEST_KEY", "role-key-5519-value")
    provider = {"type": "mock", "response_text": "${ROLE_TEST_KEY}"}
    config = {"providers": {"p": provider}, "roles": {"r": {"provider": "p"}}, "unknown_role": unknown_role}
    router = LeeLLMRouter({"llm": config}, trace_store=(memory := Memory()))
    with router, warnings.catch_warnings(record=True) as warned, suppress(InvalidRequestError):
        warnings.simplefilter("always")
        router.complete("x role-key-5519-value", "hi")
    assert memory.records[0].asked_role == "x ***"
    assert "5519" not in "".join(str(one.message) for one in warned) + memory.records[0].to_json().decode()


def test_a_misspelt_role_is_told_what_it_may_have_meant() -> None:
    router, _, _ = router_for(config_for({"a": ["hello"]}).model_copy(update={"unknown_role": "error"}))
    with pytest.raises(InvalidRequestError, match=r"did you mean 'r'\?"):
        router.complete("R", "hi")


@pytest.mark.parametrize("role", [[], ["r"], {}, 5, 10**400, 1.5, b"r", object(), True, ("r",)])
@pytest.mark.parametrize("how", ["sync", "async", "stream"])
def test_what_is_no_text_is_no_role(role: Any, how: str) -> None:
    """A typed and traced error, also for what cannot be hashed or printed."""
    router, memory, _ = router_for(config_for({"a": ["hello"]}))
    with pytest.raises(InvalidRequestError, match="the name of a role must be text") as caught:
        ask(router, role, how)
    assert caught.value.failure_type is FailureType.INVALID_REQUEST
    assert [one.outcome for one in memory.records] == ["error"]


def test_a_member_of_an_enumeration_is_a_role() -> None:
    class Roles(StrEnum):
        MINE = "r"

    router, memory, _ = router_for(config_for({"a": ["hello"]}))
    assert router.complete(Roles.MINE, "hi").text == "hello"
    assert type(memory.records[0].role) is str
    assert memory.records[0].asked_role is None
