"""Scenarios of what else decides a call: the JSON contract, its deadline, effects, and what a target cannot do."""

from __future__ import annotations

import json

from helpers.scenario_parts import PICTURE, RESTART, SCHEMA, TOOL, Scenario, fail, reply
from helpers.support import Took

CALL_SCENARIOS = [
    # The JSON contract
    Scenario(
        "an answer that is not the JSON asked for is repaired at once",
        {"a": ["not json", '{"n": 1}'], "b": ["no"]}, ["a CONTRACT_VIOLATION retry", "a ok return"], '{"n": 1}',
        role=RESTART, call={"json_mode": True},
    ),
    Scenario(
        "an answer that breaks the schema and is not repaired goes to the next target",
        {"a": ['{"n": "one"}'], "b": ['{"n": 1}']},
        ["a CONTRACT_VIOLATION retry", "a CONTRACT_VIOLATION next", "b ok return"], '{"n": 1}',
        role=RESTART, call={"schema": SCHEMA},
    ),
    Scenario(
        "each target is asked to repair its own answer",
        {"a": ["no"], "b": ["no"]},
        ["a CONTRACT_VIOLATION retry", "a CONTRACT_VIOLATION next",
         "b CONTRACT_VIOLATION retry", "b CONTRACT_VIOLATION raise"], "CONTRACT_VIOLATION",
        role=RESTART, call={"json_mode": True},
    ),
    Scenario(
        "on_failure: raise ends the call, after the repair",
        {"a": ["no"], "b": ["{}"]}, ["a CONTRACT_VIOLATION retry", "a CONTRACT_VIOLATION raise"],
        "CONTRACT_VIOLATION", role={**RESTART, "contract": {"on_failure": "raise"}}, call={"json_mode": True},
    ),
    Scenario(
        "repair: 0 goes to the next target at once",
        {"a": ["no"], "b": ["{}"]}, ["a CONTRACT_VIOLATION next", "b ok return"], "{}",
        role={**RESTART, "contract": {"repair": 0}}, call={"json_mode": True},
    ),
    Scenario(
        "a call says what it wants of its contract, the rest is the role's",
        {"a": ["no"], "b": ["{}"]}, ["a CONTRACT_VIOLATION raise"], "CONTRACT_VIOLATION",
        role={**RESTART, "contract": {"on_failure": "raise"}}, call={"json_mode": True, "contract": {"repair": 0}},
    ),
    Scenario(
        "a repair costs none of the target's attempts and makes no later backoff longer",
        {"a": ["no", fail("PROVIDER_ERROR"), fail("PROVIDER_ERROR"), "{}"]},
        ["a CONTRACT_VIOLATION retry", "a PROVIDER_ERROR retry", "a PROVIDER_ERROR retry", "a ok return"], "{}",
        waits=[0.25, 0.5], role=RESTART, call={"json_mode": True},
    ),
    Scenario(
        "repairs are bounded by the attempts of the whole call",
        {"a": ["no"], "b": ["{}"]}, ["a CONTRACT_VIOLATION retry"] * 2 + ["a CONTRACT_VIOLATION raise"],
        "CONTRACT_VIOLATION", role={**RESTART, "contract": {"repair": 5}, "retry": {"max_attempts": 3}},
        call={"json_mode": True},
    ),
    Scenario(
        "repairs are bounded by the deadline",
        {"a": [Took(4, "no")], "b": ["{}"]}, ["a CONTRACT_VIOLATION retry"] * 2 + ["a TIMEOUT raise"],
        "TIMEOUT", role={**RESTART, "contract": {"repair": 5}, "deadline": 10}, call={"json_mode": True},
    ),
    Scenario(
        "an answer with effects is not repaired",
        {"a": ["no", "{}"], "b": ["{}"]}, ["a CONTRACT_VIOLATION raise"], "CONTRACT_VIOLATION",
        role=RESTART, providers={"a": {"does": "workspace"}}, call={"json_mode": True},
    ),
    Scenario(
        "an answer that keeps the schema is an answer",
        {"a": ['{"n": 1}']}, ["a ok return"], '{"n": 1}', call={"schema": SCHEMA},
    ),
    Scenario(
        "JSON in one code fence is JSON",
        {"a": ['```json\n{"n": 1}\n```']}, ["a ok return"], '```json\n{"n": 1}\n```', call={"schema": SCHEMA},
    ),
    Scenario(
        "JSON cut by length breaks the contract, even if it parses",
        {"a": [reply("{}", finish_reason="length"), "{}"]}, ["a CONTRACT_VIOLATION retry", "a ok return"], "{}",
        role=RESTART, call={"json_mode": True},
    ),
    Scenario(
        "without a contract an answer cut by length is an answer",
        {"a": [reply("half", finish_reason="length")]}, ["a ok return"], "half",
    ),
    # A provider that asks otherwise from now on
    Scenario(
        "a provider that will ask otherwise is asked again at once, whatever the type, at the cost of no attempt",
        {"a": [fail("INVALID_REQUEST", ask_again=True), fail("AUTH", ask_again=True), "yes"], "b": ["no"]},
        ["a INVALID_REQUEST retry", "a AUTH retry", "a ok return"], "yes", role={"retry": {"attempts": 1}},
    ),
    Scenario(
        "a provider that asks otherwise for ever is bounded by the attempts of the call",
        {"a": [fail("INVALID_REQUEST", ask_again=True)], "b": ["no"]},
        ["a INVALID_REQUEST retry"] * 2 + ["a INVALID_REQUEST raise"], "INVALID_REQUEST",
        role={"retry": {"max_attempts": 3}},
    ),
    # Deadline
    Scenario(
        "an attempt gets no more time than the call has left",
        {"a": [Took(8, fail("PROVIDER_ERROR")), Took(100, "late")]},
        ["a PROVIDER_ERROR retry", "a TIMEOUT raise"], "TIMEOUT", waits=[0.25], role={"deadline": 10, "timeout": 60},
    ),
    Scenario(
        "a backoff that would pass the deadline is not waited for",
        {"a": [Took(9.9, fail("PROVIDER_ERROR"))]}, ["a PROVIDER_ERROR raise"], "PROVIDER_ERROR",
        role={"deadline": 10},
    ),
    Scenario(
        "where a backoff does not fit the deadline, the next target is asked at once",
        {"a": [Took(9.9, fail("PROVIDER_ERROR"))], "b": ["yes"]}, ["a PROVIDER_ERROR next", "b ok return"], "yes",
        role={"deadline": 10},
    ),
    Scenario(
        "three hanging targets end with the deadline",
        {"a": [Took(99, "x")], "b": [Took(99, "x")], "c": [Took(99, "x")]},
        ["a TIMEOUT next", "b TIMEOUT next", "c TIMEOUT raise"], "TIMEOUT", role={"deadline": 2, "timeout": 0.9},
    ),
    Scenario(
        "the call's own deadline and timeout win",
        {"a": [Took(99, "x")]}, ["a TIMEOUT raise"], "TIMEOUT", call={"deadline": 1, "timeout": 5},
    ),
    Scenario(
        "a deadline too short for any attempt is a TIMEOUT",
        {"a": ["no"]}, ["- TIMEOUT raise"], "TIMEOUT", call={"deadline": 0.0001},
    ),
    # Effects
    Scenario(
        "an attempt with effects is neither repeated nor replaced",
        {"a": [fail("PROVIDER_ERROR")], "b": ["no"]}, ["a PROVIDER_ERROR raise"], "PROVIDER_ERROR",
        providers={"a": {"does": "workspace"}},
    ),
    Scenario(
        "an attempt with effects that never started is replaced",
        {"a": [fail("AUTH", sent=False)], "b": ["yes"]}, ["a AUTH next", "b ok return"], "yes",
        providers={"a": {"does": "external"}},
    ),
    Scenario(
        "effects are repeated where the role says so",
        {"a": [fail("PROVIDER_ERROR"), "yes"]}, ["a PROVIDER_ERROR retry", "a ok return"], "yes", waits=[0.25],
        providers={"a": {"does": "workspace"}}, role={"retry_effects": True},
    ),
    # What a target cannot do
    Scenario(
        "a target that takes no tools is skipped",
        {"a": ["no"], "b": ["yes"]}, ["a UNAVAILABLE next", "b ok return"], "yes",
        providers={"a": {"tools": False}}, call={"tools": [TOOL]},
    ),
    Scenario(
        "a target that takes text only is skipped for a picture",
        {"a": ["no"], "b": ["yes"]}, ["a UNAVAILABLE next", "b ok return"], "yes",
        providers={"a": {"parts": False}}, messages=PICTURE,
    ),
    Scenario(
        "with every target skipped the call ends UNAVAILABLE with a record of its own",
        {"a": ["no"]}, ["a UNAVAILABLE next", "- UNAVAILABLE raise"], "UNAVAILABLE",
        providers={"a": {"tools": False}}, call={"tools": [TOOL]},
    ),
    # The call's arguments
    Scenario("no messages", {"a": ["no"]}, ["- INVALID_REQUEST raise"], "INVALID_REQUEST", messages=[]),
    Scenario(
        "messages that are no list", {"a": ["no"]}, ["- INVALID_REQUEST raise"], "INVALID_REQUEST", messages=42
    ),
    Scenario(
        "a message with an unknown role", {"a": ["no"]}, ["- INVALID_REQUEST raise"], "INVALID_REQUEST",
        messages=[{"role": "boss", "content": "now"}],
    ),
    Scenario(
        "a lone surrogate", {"a": ["no"]}, ["- INVALID_REQUEST raise"], "INVALID_REQUEST", messages="a\ud800b"
    ),
    Scenario(
        "an unknown option", {"a": ["no"]}, ["- INVALID_REQUEST raise"], "INVALID_REQUEST", call={"temprature": 1}
    ),
    Scenario(
        "a schema that is none", {"a": ["no"]}, ["- INVALID_REQUEST raise"], "INVALID_REQUEST",
        call={"schema": {"type": "strange"}},
    ),
    Scenario("five megabytes of text", {"a": [json.dumps("yes")]}, ["a ok return"], '"yes"', messages="é" * 2_500_000),
]  # fmt: skip
