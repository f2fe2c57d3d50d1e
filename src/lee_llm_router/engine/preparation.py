"""Prepares a target of a call: opens its provider, and builds the request for it."""

from __future__ import annotations

from lee_llm_router._util.scrubbing import text_of_exception
from lee_llm_router.engine.candidates import Candidate
from lee_llm_router.engine.failures import scrubbed
from lee_llm_router.engine.operation import Operation
from lee_llm_router.engine.plan import CallPlan, RouterParts
from lee_llm_router.errors import LLMRouterError, UnavailableError


def prepare(plan: CallPlan, parts: RouterParts, candidate: Candidate) -> LLMRouterError | None:
    """Build what the target needs, once; return the reason if it cannot serve this request."""
    target, operation, refusal = candidate.target, plan.operation, None
    try:
        provider = candidate.provider = parts.pool.open(target.provider, target.provider_overrides, target.key_variable)
        candidate.has_effects = provider.effects != "none"
        request = operation.request_for(plan, target, parts.reporter)
        request, candidate.dropped = operation.fitted(provider, request)
        refusal = operation.refusal(provider, request)
        if target.provider in parts.health.token_limited:
            candidate.tokens = operation.tokens_wanted(request)
    except Exception as error:  # noqa: BLE001 - a target whose provider fails here is skipped, not fatal
        what = "cannot be built" if candidate.provider is None else "is broken"
        reason = error.message if isinstance(error, LLMRouterError) else text_of_exception(error)
        return scrubbed(UnavailableError(f"provider {target.provider!r} {what}: {reason}", sent=False), parts.secrets)
    if refusal is not None:
        return UnavailableError(refusal, sent=False)
    candidate.request = candidate.first_request = request
    return None


def ask_otherwise(operation: Operation, candidate: Candidate, error: LLMRouterError) -> None:
    """Make the next attempt at `candidate` free; tell the model how it broke the contract."""
    candidate.tries = max(0, candidate.tries - 1)
    candidate.failures -= 1
    if not error.ask_again:
        candidate.repairs += 1
        candidate.request = operation.repaired(candidate.first_request, error)
    _refit(operation, candidate)


def _refit(operation: Operation, candidate: Candidate) -> None:
    """Leave out of the candidate's request the options that its provider has since learned it cannot express."""
    provider = candidate.provider
    if provider is not None:
        candidate.first_request, _ = operation.fitted(provider, candidate.first_request)
        candidate.request, more = operation.fitted(provider, candidate.request)
        candidate.dropped += more
        if candidate.tokens:  # the description of its broken answer adds to the prompt
            candidate.tokens = operation.tokens_wanted(candidate.request)
