"""An outage is waited out, a row that fails is not taken for one, and what no wait can help stops the batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, lines, texts
from helpers.virtual_time import LoopClock, run_virtual
from lee_llm_router import (
    AuthenticationError,
    BudgetExceededError,
    FailureType,
    LLMRouterError,
    LLMTimeoutError,
    ModelNotFoundError,
    OverloadedError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from lee_llm_router.batch.engine import BatchStoppedError
from lee_llm_router.batch.figures import BatchReport

ROWS = [f"row {number}" for number in range(200)]
ROLE = {"retry": {"attempts": 1, "patience": 0, "max_attempts": 1}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def run(asked: Asked, out: Path, rows: Any = ROWS, **options: Any) -> tuple[BatchReport, float]:
    """Run a batch on virtual time; return its report and the seconds that it took."""

    async def main() -> tuple[BatchReport, float]:
        router_options = options.pop("router", {"role": ROLE})
        async with asked.router(clock=LoopClock(), **router_options) as router:
            report = await router.batch_async(rows, out=out, **options)
            return report, asyncio.get_running_loop().time()

    return run_virtual(main())


def down(since: float, until: float, error: Callable[[], LLMRouterError]) -> Callable[[str], Any]:
    """An answer a second, but errors between `since` and `until`."""

    async def answer(prompt: str) -> Any:
        await asyncio.sleep(1)
        now = asyncio.get_running_loop().time()
        return error() if since <= now < until else prompt.upper()

    return answer


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize(
    "error",
    [
        lambda: OverloadedError("busy"),
        lambda: ProviderError("gone", sent=False),
        lambda: LLMTimeoutError("slow"),
        lambda: RateLimitError("slow down", retry_after=20),
    ],
    ids=["overloaded", "unreachable", "timeout", "limited"],
)
def test_an_outage_of_hours_costs_no_row_and_few_requests(
    error: Callable[[], LLMRouterError], concurrency: int, out: Path
) -> None:
    asked = Asked(down(5, 7205, error))
    report, seconds = run(asked, out, concurrency=concurrency)
    assert (report.answered, report.failed, report.is_complete) == (200, 0, True)
    assert len(texts(out)) == 200
    assert 7205 < seconds < 7205 + 200 + 2 * 62
    # One at a time, once a minute at last.
    assert len(asked.prompts) < 200 + 7200 / 60 + 3 * concurrency + 10


def test_an_outage_at_the_start_is_waited_out_too(out: Path) -> None:
    report, _ = run(Asked(down(0, 600, lambda: OverloadedError("busy"))), out)
    assert (report.answered, report.failed) == (200, 0)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_row_that_fails_while_others_are_answered_is_given_up(concurrency: int, out: Path) -> None:
    """It ends neither the batch nor the row behind it."""

    def answer(prompt: str) -> Any:
        return ProviderError("crashed on this") if prompt in ("row 0", "row 1", "row 50", "row 199") else prompt.upper()

    asked = Asked(answer)
    report, seconds = run(asked, out, concurrency=concurrency)
    assert (report.answered, report.failures) == (196, {"PROVIDER_ERROR": 4})
    assert seconds < 1000
    assert len(asked.prompts) < 196 + 4 * 12


def test_an_outage_is_given_up_in_the_end_and_the_batch_resumed(out: Path) -> None:
    asked = Asked(down(5, 10_000, lambda: OverloadedError("busy")))
    with pytest.raises(BatchStoppedError, match="no target has answered for") as stopped:
        run(asked, out, give_up_after=600, concurrency=4)
    assert stopped.value.failure_type is FailureType.OVERLOADED
    assert stopped.value.report.answered == len(texts(out)) == 16
    asked.answer = str.upper
    report, _ = run(asked, out)
    assert report.is_complete and len(texts(out)) == 200 and not report.errors.exists()


@pytest.mark.parametrize(
    "error", [AuthenticationError("bad key"), QuotaExceededError("no money"), ModelNotFoundError("?")]
)
def test_what_no_wait_can_help_stops_the_batch_and_fails_no_row(error: LLMRouterError, out: Path) -> None:
    async def answer(prompt: str) -> Any:
        await asyncio.sleep(1)
        return error if len(asked.prompts) > 40 else prompt.upper()

    asked = Asked(answer)
    with pytest.raises(BatchStoppedError, match="stopped after") as stopped:
        run(asked, out, concurrency=4)
    assert isinstance(stopped.value.cause, type(error))
    assert not stopped.value.report.errors.exists()
    assert len(asked.prompts) <= 60
    asked.answer = str.upper
    assert run(asked, out)[0].is_complete and len(texts(out)) == 200


def test_a_row_that_names_a_model_of_its_own_is_the_one_that_fails(out: Path) -> None:
    asked = Asked(lambda prompt: ModelNotFoundError("no such model") if prompt == "b" else prompt)
    report, _ = run(asked, out, ["a", {"prompt": "b", "options": {"model": "typo"}}, "c"])
    assert (report.answered, report.failures) == (2, {"MODEL_NOT_FOUND": 1})


def test_a_spent_budget_stops_the_batch_in_order(out: Path) -> None:
    """Each answer costs half a dollar; those in flight when it is spent are kept."""
    asked = Asked()
    router = {"llm": {"budget": {"usd": 10, "per": "total", "on_exceed": "raise"}}, "trace_dir": out.parent / "t"}
    with pytest.raises(BatchStoppedError, match="budget of 10 US dollars") as stopped:
        run(asked, out, concurrency=4, router=router)
    assert isinstance(stopped.value.cause, BudgetExceededError)
    assert len(texts(out)) == stopped.value.report.answered == len(asked.prompts) >= 20


def test_a_limit_of_the_configuration_makes_rows_wait_and_fails_none(out: Path) -> None:
    """More rows at once than 60 a minute let through: they come back until it is their turn."""
    asked = Asked()
    router = {"llm": {"providers": {"p": {"type": "mock", "rpm": 60}}}, "role": ROLE}
    report, seconds = run(asked, out, concurrency=30, router=router)
    assert (report.answered, report.failed) == (200, 0)
    assert seconds > 120


def test_a_target_that_serves_makes_up_for_one_that_is_down(out: Path) -> None:
    def answer(prompt: str) -> Any:
        return prompt if asked.requests[-1].model == "n" else OverloadedError("busy")

    asked = Asked(answer)
    role = {**ROLE, "fallback_providers": [{"provider": "q", "model": "n"}], "retry": {"attempts": 1}}
    report, seconds = run(asked, out, router={"role": role})
    assert report.answered == 200 and seconds < 60


def test_a_stopped_batch_waits_for_no_outage(out: Path) -> None:
    """Cancelled in the middle of a wait, it ends at once."""

    async def main() -> float:
        asked = Asked(lambda _: OverloadedError("busy"))
        async with asked.router(clock=LoopClock(), role=ROLE) as router:
            batch = asyncio.ensure_future(router.batch_async(ROWS, out=out))
            await asyncio.sleep(100)
            batch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await batch
            return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(100)
    assert not lines(out)
