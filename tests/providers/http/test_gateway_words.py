"""A gateway that blames the request, with 400, for what failed behind it: its words count."""

from __future__ import annotations

import json

import pytest

from lee_llm_router.errors import FailureType, LLMRouterError
from lee_llm_router.providers.http import HTTPReply
from lee_llm_router.providers.http.dialects.errors import failure

FAILED = [
    "upstream request timeout",
    "Upstream connection reset by peer",
    "The upstream server timed out",
    "Internal server error",
    "Internal error encountered.",
    "litellm.BadRequestError: 502 Bad Gateway",
    "gateway time-out",
    "The backend of this model crashed",
    "Provider returned error: upstream model server crashed",
]
REFUSED = [
    "Upstream error: temperature must be at most 2",
    "Upstream rejected the request: field messages is required",
    "backend_timeout: invalid value",
    "The parameter upstream is unavailable for this tool",
    "Invalid internal error code in logit_bias",
    "tool_choice is not supported by the upstream; it timed out",
]


def said(message: str, status: int = 400) -> LLMRouterError:
    return failure(HTTPReply(status, json.dumps({"error": {"message": message}}).encode()))


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("message", FAILED)
def test_a_failure_behind_a_gateway_is_no_mistake_in_the_request(message: str, status: int) -> None:
    """It is tried again, and another target of the same provider may be asked."""
    assert said(message, status).failure_type is FailureType.PROVIDER_ERROR


@pytest.mark.parametrize("message", REFUSED)
def test_what_a_gateway_passes_on_as_refused_stays_so(message: str) -> None:
    assert said(message).failure_type is FailureType.INVALID_REQUEST


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Internal server error: insufficient balance", FailureType.QUOTA),
        ("Bad gateway: the prompt is too long for the context window", FailureType.CONTEXT_LENGTH),
        ("upstream timed out: rate limit exceeded", FailureType.RATE_LIMIT),
    ],
)
def test_what_says_more_counts_more(message: str, kind: FailureType) -> None:
    assert said(message).failure_type is kind
