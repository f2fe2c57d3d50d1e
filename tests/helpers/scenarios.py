"""The scenario table: what providers do, and what the router must make of it, in sync and in async.

The rows here are of the failure table, in its order.
"""

from __future__ import annotations

from helpers.call_scenarios import CALL_SCENARIOS
from helpers.scenario_parts import Scenario, fail
from helpers.support import Took

SCENARIOS = [
    Scenario("a good first target is asked once", {"a": ["yes"], "b": ["no"]}, ["a ok return"], "yes"),
    # TIMEOUT: on to the next; the same again only once nobody else is left.
    Scenario(
        "a timeout goes to the next target at once",
        {"a": [fail("TIMEOUT")], "b": ["yes"]},
        ["a TIMEOUT next", "b ok return"], "yes",
    ),
    Scenario(
        "a timeout of the only target is tried again after a backoff",
        {"a": [fail("TIMEOUT"), "yes"]}, ["a TIMEOUT retry", "a ok return"], "yes", waits=[0.25],
    ),
    Scenario(
        "after a timeout and a refused key the first target gets its second try",
        {"a": [fail("TIMEOUT"), "yes"], "b": [fail("AUTH")]},
        ["a TIMEOUT next", "b AUTH next", "a ok return"], "yes", waits=[0.25],
    ),
    Scenario(
        "an attempt that outlasts its timeout is a TIMEOUT",
        {"a": [Took(30, "late")], "b": ["yes"]}, ["a TIMEOUT next", "b ok return"], "yes", role={"timeout": 5},
    ),
    # RATE_LIMIT
    Scenario(
        "a 429 with Retry-After goes to a healthy fallback at once",
        {"a": [fail("RATE_LIMIT", retry_after=60)], "b": ["yes"]},
        ["a RATE_LIMIT next", "b ok return"], "yes",
    ),
    Scenario(
        "a 429 of the only target waits exactly Retry-After",
        {"a": [fail("RATE_LIMIT", retry_after=7.5), "yes"]},
        ["a RATE_LIMIT retry", "a ok return"], "yes", waits=[7.5],
    ),
    Scenario(
        "a 429 without Retry-After of the only target backs off",
        {"a": [fail("RATE_LIMIT"), fail("RATE_LIMIT"), "yes"]},
        ["a RATE_LIMIT retry", "a RATE_LIMIT retry", "a ok return"], "yes", waits=[0.25, 0.5],
    ),
    Scenario(
        "a Retry-After beyond the deadline ends the call without a wait",
        {"a": [fail("RATE_LIMIT", retry_after=60)]}, ["a RATE_LIMIT raise"], "RATE_LIMIT", role={"deadline": 30},
    ),
    Scenario(
        "two limited targets: the one that opens first is waited for",
        {"a": [fail("RATE_LIMIT", retry_after=9), "no"], "b": [fail("RATE_LIMIT", retry_after=4), "yes"]},
        ["a RATE_LIMIT next", "b RATE_LIMIT retry", "b ok return"], "yes", waits=[4],
    ),
    Scenario(
        "two limited targets: back to the first where it opens first",
        {"a": [fail("RATE_LIMIT", retry_after=4), "yes"], "b": [fail("RATE_LIMIT", retry_after=9), "no"]},
        ["a RATE_LIMIT next", "b RATE_LIMIT next", "a ok return"], "yes", waits=[4],
    ),
    Scenario(
        "a 429 for ever ends when the attempts are used up",
        {"a": [fail("RATE_LIMIT", retry_after=1)]},
        ["a RATE_LIMIT retry", "a RATE_LIMIT retry", "a RATE_LIMIT raise"], "RATE_LIMIT", waits=[1, 1],
    ),
    Scenario(
        "Retry-After of zero is taken at its word",
        {"a": [fail("RATE_LIMIT", retry_after=0.0), "yes"]}, ["a RATE_LIMIT retry", "a ok return"], "yes",
    ),
    Scenario(
        "from the second Retry-After on that is next to nothing, the backoff holds",
        {"a": [fail("RATE_LIMIT", retry_after=0.001)]},
        ["a RATE_LIMIT retry", "a RATE_LIMIT retry", "a RATE_LIMIT retry", "a RATE_LIMIT raise"], "RATE_LIMIT",
        waits=[0.001, 0.25, 0.5], role={"retry": {"attempts": 4}},
    ),
    Scenario(
        "an overloaded target that asks to wait for nothing goes to the next target each time",
        {"a": [fail("OVERLOADED", retry_after=0.0)], "b": [fail("OVERLOADED", retry_after=0.0), "yes"]},
        ["a OVERLOADED next", "b OVERLOADED next", "a OVERLOADED next", "b ok return"], "yes",
    ),
    # OVERLOADED
    Scenario(
        "an overloaded target is tried again, then the next",
        {"a": [fail("OVERLOADED")], "b": ["yes"]},
        ["a OVERLOADED retry", "a OVERLOADED retry", "a OVERLOADED next", "b ok return"], "yes", waits=[0.25, 0.5],
    ),
    Scenario(
        "an overloaded target that says when goes to the next at once",
        {"a": [fail("OVERLOADED", retry_after=20)], "b": ["yes"]},
        ["a OVERLOADED next", "b ok return"], "yes",
    ),
    Scenario(
        "an overloaded only target that says when is waited for",
        {"a": [fail("OVERLOADED", retry_after=20), "yes"]},
        ["a OVERLOADED retry", "a ok return"], "yes", waits=[20],
    ),
    # PROVIDER_ERROR, INVALID_RESPONSE
    Scenario(
        "a server error is tried again at the same target",
        {"a": [fail("PROVIDER_ERROR"), "yes"], "b": ["no"]},
        ["a PROVIDER_ERROR retry", "a ok return"], "yes", waits=[0.25],
    ),
    Scenario(
        "server errors use up one target and then the other, without a wait in between or at the end",
        {"a": [fail("PROVIDER_ERROR")], "b": [fail("PROVIDER_ERROR")]},
        ["a PROVIDER_ERROR retry", "a PROVIDER_ERROR retry", "a PROVIDER_ERROR next",
         "b PROVIDER_ERROR retry", "b PROVIDER_ERROR retry", "b PROVIDER_ERROR raise"],
        "PROVIDER_ERROR", waits=[0.25, 0.5, 0.25, 0.5],
    ),
    Scenario(
        "the whole call has a bound on attempts, whatever the chain",
        {"a": [fail("PROVIDER_ERROR")], "b": [fail("PROVIDER_ERROR")], "c": ["never asked"]},
        ["a PROVIDER_ERROR retry", "a PROVIDER_ERROR next", "b PROVIDER_ERROR raise"],
        "PROVIDER_ERROR", waits=[0.25], role={"retry": {"attempts": 2, "max_attempts": 3}},
    ),
    Scenario(
        "attempts: 1 means no second try",
        {"a": [fail("PROVIDER_ERROR")], "b": ["yes"]}, ["a PROVIDER_ERROR next", "b ok return"], "yes",
        role={"retry": {"attempts": 1}},
    ),
    Scenario(
        "waits double up to their bound",
        {"a": [fail("PROVIDER_ERROR")]}, ["a PROVIDER_ERROR retry"] * 5 + ["a PROVIDER_ERROR raise"],
        "PROVIDER_ERROR", waits=[0.25, 0.5, 1, 1.5, 1.5],
        role={"retry": {"attempts": 6, "max_attempts": 6, "max_backoff": 3, "patience": 0}},
    ),
    Scenario(
        "a broken answer is asked for again",
        {"a": [fail("INVALID_RESPONSE"), "yes"]}, ["a INVALID_RESPONSE retry", "a ok return"], "yes", waits=[0.25],
    ),
    Scenario(
        "a final broken answer is not asked for again",
        {"a": [fail("INVALID_RESPONSE", final=True)], "b": ["yes"]},
        ["a INVALID_RESPONSE next", "b ok return"], "yes",
    ),
    Scenario(
        "something that is no answer at all is a final INVALID_RESPONSE",
        {"a": [42], "b": ["yes"]}, ["a INVALID_RESPONSE next", "b ok return"], "yes",
    ),
    # One try, then the next.
    *(
        Scenario(
            f"{kind} goes to the next target and never back",
            {"a": [fail(kind), "no"], "b": [fail(kind)]}, [f"a {kind} next", f"b {kind} raise"], kind,
        )
        for kind in ("AUTH", "QUOTA", "MODEL_NOT_FOUND", "CONTEXT_LENGTH", "UNAVAILABLE", "UNKNOWN")
    ),
    Scenario(
        "an exception nobody knows is UNKNOWN and goes to the next",
        {"a": [ZeroDivisionError("oops")], "b": ["yes"]}, ["a UNKNOWN next", "b ok return"], "yes",
    ),
    Scenario(
        "an operating system's error is a PROVIDER_ERROR",
        {"a": [ConnectionResetError("gone"), "yes"]}, ["a PROVIDER_ERROR retry", "a ok return"], "yes", waits=[0.25],
    ),
    # A refused request: what one vendor refuses another may take.
    Scenario(
        "a request that a vendor refuses goes to another vendor",
        {"a": [fail("INVALID_REQUEST")], "b": ["yes"]}, ["a INVALID_REQUEST next", "b ok return"], "yes",
    ),
    Scenario(
        "a request that a vendor refuses goes to none of its other models",
        {"a": [fail("INVALID_REQUEST")], "b": ["yes"]}, ["a INVALID_REQUEST next", "b ok return"], "yes",
        role={"fallback_providers": [{"provider": "a", "model": "other"}, {"provider": "b"}]},
    ),
    Scenario(
        "a request that a model cannot take goes to another model of its vendor",
        {"a": [fail("INVALID_REQUEST", of_model=True), "yes"]},
        ["a INVALID_REQUEST next", "a ok return"], "yes",
        role={"fallback_providers": [{"provider": "a", "model": "other"}]},
    ),
    Scenario(
        "a request that every vendor refuses ends the call",
        {"a": [fail("INVALID_REQUEST")], "b": [fail("INVALID_REQUEST")]},
        ["a INVALID_REQUEST next", "b INVALID_REQUEST raise"], "INVALID_REQUEST",
    ),
    Scenario(
        "a request found wrong before it was sent ends the call",
        {"a": [fail("INVALID_REQUEST", sent=False)], "b": ["no"]}, ["a INVALID_REQUEST raise"], "INVALID_REQUEST",
    ),
    Scenario(
        "a request found wrong before it was sent goes on where the role says so",
        {"a": [fail("INVALID_REQUEST", sent=False)], "b": ["yes"]}, ["a INVALID_REQUEST next", "b ok return"], "yes",
        role={"fallback_on": ["INVALID_REQUEST"]},
    ),
    # Nothing sent: refused connections, failed look-ups.
    Scenario(
        "a target that cannot be reached is left for the next at once",
        {"a": [fail("PROVIDER_ERROR", sent=False)], "b": ["yes"]}, ["a PROVIDER_ERROR next", "b ok return"], "yes",
    ),
    Scenario(
        "an only target that cannot be reached costs no attempts while there is patience",
        {"a": [*[fail("PROVIDER_ERROR", sent=False)] * 4, "yes"]},
        [*["a PROVIDER_ERROR retry"] * 4, "a ok return"], "yes", waits=[0.25, 0.5, 1, 2],
        role={"retry": {"attempts": 1, "max_attempts": 1}},
    ),
    Scenario(
        "without patience an unreachable target costs attempts like any other failure",
        {"a": [fail("PROVIDER_ERROR", sent=False)]}, ["a PROVIDER_ERROR retry", "a PROVIDER_ERROR raise"],
        "PROVIDER_ERROR", waits=[0.25], role={"retry": {"attempts": 2, "patience": 0}},
    ),
    Scenario(
        "a target that cannot be reached until patience ends is a PROVIDER_ERROR",
        {"a": [Took(1, fail("PROVIDER_ERROR", sent=False))]},
        [*["a PROVIDER_ERROR retry"] * 2, "a PROVIDER_ERROR raise"], "PROVIDER_ERROR", waits=[0.25, 0.5],
        role={"retry": {"patience": 3}},
    ),
    # This machine has run out of something.
    Scenario(
        "a shortage of this machine opens no breaker, and costs no attempt while there is patience",
        {"a": [*[fail("PROVIDER_ERROR", sent=False, local_shortage=True)] * 4, "yes"]},
        [*["a PROVIDER_ERROR retry"] * 4, "a ok return"], "yes", waits=[0.25, 0.5, 1, 2],
        role={"retry": {"attempts": 1, "max_attempts": 1, "patience": 20}},
    ),
    Scenario(
        "a shortage of this machine that lasts ends the call at the end of patience",
        {"a": [Took(1, fail("PROVIDER_ERROR", sent=False, local_shortage=True))]},
        [*["a PROVIDER_ERROR retry"] * 2, "a PROVIDER_ERROR raise"], "PROVIDER_ERROR", waits=[0.25, 0.5],
        role={"retry": {"patience": 3}},
    ),
    # An outage
    Scenario(
        "a breaker that opens in a call turns its attempts into waits, whatever attempts says",
        {"a": [*[fail("OVERLOADED")] * 6, "yes"]}, [*["a OVERLOADED retry"] * 6, "a ok return"], "yes",
        waits=[0.25, 0.5, 1, 2, 0.5, 0.5], role={"retry": {"attempts": 5, "max_attempts": 5}},
    ),
    Scenario(
        "a filtered answer ends the call", {"a": [fail("CONTENT_FILTER")], "b": ["no"]},
        ["a CONTENT_FILTER raise"], "CONTENT_FILTER",
    ),
    Scenario(
        "a filtered answer goes on where the role says so", {"a": [fail("CONTENT_FILTER")], "b": ["yes"]},
        ["a CONTENT_FILTER next", "b ok return"], "yes", role={"fallback_on": ["CONTENT_FILTER"]},
    ),
    *CALL_SCENARIOS,
]  # fmt: skip
