"""A set of traces such as a week of use leaves, drawn from a seed: the same on every run and machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from lee_llm_router.engine.recorder import utc_timestamp
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord

WEEK_START = 1_799_971_200.0
"""2027-01-15, 00:00 UTC."""
_DAY = 86_400.0
_TARGETS = (
    ("openai", "http", "gpt-5", 2.0e-6),
    ("anthropic", "anthropic", "claude-sonnet-5", 5.0e-6),
    ("groq", "http", "llama-4-scout", 0.2e-6),
    ("local", "http", "smollm2", None),
)
_ROLES = ("planner", "extractor", "summarizer")
_FAILURES = (
    ("RATE_LIMIT", 429, "rate limit reached: 30,000 tokens a minute"),
    ("OVERLOADED", 529, "the model is overloaded"),
    ("TIMEOUT", None, "no answer within 20 s"),
    ("PROVIDER_ERROR", 502, "Bad gateway"),
)
_QUESTIONS = ("Plan a picnic for six.", "Which dates does this letter name?", "Sum up the meeting in two sentences.")
_ANSWERS = ("Bring blankets, bread and water.", '{"dates": ["2027-01-15"]}', "They agreed. The rest waits till Monday.")


def trace_set(calls: int = 40, seed: int = 1, *, full: bool = False, days: float = 7.0) -> Iterator[TraceRecord]:
    """Yield the records of calls spread over some days, in the order they were written.

    Args:
        calls: How many calls.
        seed: Draws them.
        full: Whether messages and answers were captured.
        days: Days over which they are spread.
    """
    chance = random.Random(seed)
    for number in range(calls):
        at = WEEK_START + _DAY * days * (number + chance.random()) / calls
        yield from _call(chance, number, at, full)


def _call(chance: random.Random, number: int, at: float, full: bool) -> Iterator[TraceRecord]:
    role, start = chance.choice(_ROLES), at
    moment, order = int(at * 1000), 0x7000 + number % 4096
    request_id = str(UUID(f"{moment:012x}{order:04x}{0x8000 + number // 4096:04x}{chance.getrandbits(48):012x}"))
    base: dict[str, Any] = {
        "request_id": request_id, "role": role, "policy": "simple", "stream": chance.random() < 0.4,
        "metadata": {"tenant": chance.choice(("acme", "globex", "initech")), "job": number % 7},
    }  # fmt: skip
    failing = 0 if chance.random() < 0.8 else chance.randint(1, 3)
    first = chance.randrange(len(_TARGETS))
    for attempt in range(failing + 1):
        target = _TARGETS[(first + attempt // 2) % len(_TARGETS)]
        is_good = attempt == failing and failing < 3
        took = chance.lognormvariate(6.8, 0.9) * (1 if is_good else 0.3)
        fields = _answer(chance, target, took, full) if is_good else _failure(chance, attempt == failing, attempt % 2)
        provider, kind, model, _ = target
        record = TraceRecord(
            **base, attempt=attempt, target_attempt=attempt % 2, sent=True, provider=provider, provider_type=kind,
            model=model, started_at=utc_timestamp(at), elapsed_ms=round(took, 3),
            offset_ms=round((at - start) * 1000, 3), **fields,
        )  # fmt: skip
        yield record
        at += (took + record.wait_ms) / 1000
        base["waited_for"] = f"{provider}: a backoff" if record.wait_ms else None


def _answer(chance: random.Random, target: tuple[Any, ...], took: float, full: bool) -> dict[str, Any]:
    went_in, came_out, cached = chance.randint(20, 6000), chance.randint(5, 900), chance.choice((None, 0, 512))
    total = went_in + came_out
    usage = LLMUsage(prompt_tokens=went_in, completion_tokens=came_out, total_tokens=total, cached_tokens=cached)
    price = target[3]
    which = chance.randrange(3)
    return {
        "outcome": "ok", "verdict": "return", "finish_reason": "length" if chance.random() < 0.05 else "stop",
        "first_token_ms": round(took * 0.3, 3), "usage": usage, "served_model": target[2],
        "response_chars": 4 * came_out,
        "cost_usd": None if price is None else round(price * (went_in + 4 * came_out), 9),
        "cost_source": None if price is None else "pricing", "request_bytes": 4 * went_in,
        **({"messages": ({"role": "user", "content": _QUESTIONS[which]},), "text": _ANSWERS[which]} if full else {}),
    }  # fmt: skip


def _failure(chance: random.Random, is_last: bool, is_second: int) -> dict[str, Any]:
    failure, status, text = chance.choice(_FAILURES)
    return {
        "outcome": "error", "failure_type": failure, "status_code": status, "error": text,
        "verdict": "raise" if is_last else "next" if is_second else "retry",
        "wait_ms": 0.0 if is_last or is_second else round(chance.uniform(250, 500), 3),
    }  # fmt: skip
