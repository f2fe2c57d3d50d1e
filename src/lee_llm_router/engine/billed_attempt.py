"""The billing steps of a call. A router without prices loads only this module of the billing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lee_llm_router.engine.plan import Attempt, CallPlan, RouterParts, Target
from lee_llm_router.engine.steps import CallStep, WorkStep
from lee_llm_router.errors import BudgetExceededError
from lee_llm_router.response.types import LLMResponse

if TYPE_CHECKING:
    from lee_llm_router.engine.billing import Billing


def priced(plan: CallPlan, billing: Billing, attempt: Attempt, answer: Any) -> Generator[CallStep, Any, Any]:
    """Same as `Billing.priced`, including the wait for the price table: the answer is worth more than its cost."""
    found = billing.priced(plan, attempt, answer)
    if type(found) is not WorkStep:
        return found
    with suppress(Exception):  # no thread can be started for the wait
        yield found
    return billing.priced(plan, attempt, answer, waited=True)


def billed(plan: CallPlan, parts: RouterParts, attempt: Attempt, part: LLMResponse | None) -> LLMResponse | None:
    """Call `Billing.ended` if the router has a billing."""
    return part if parts.billing is None else parts.billing.ended(plan, attempt, part)


def refusing(plan: CallPlan, parts: RouterParts) -> Callable[[Target], BudgetExceededError | None] | None:
    """Return the function that says which budget forbids a target; None if there are no budgets."""
    billing = parts.billing
    if billing is None or not billing.has_budgets or plan.is_paid:
        return None
    return lambda target: billing.refusal(plan.role_settings.role, target, parts.clock.time())
