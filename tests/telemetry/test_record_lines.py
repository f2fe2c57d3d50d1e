"""A record is one line of JSON, and is read back as the record that was written."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.records import make
from lee_llm_router.response import LLMUsage
from lee_llm_router.telemetry import TraceRecord
from lee_llm_router.telemetry.stores.jsonl import LocalFileTraceStore

CAPTURED = {"messages", "tools", "settings", "text", "reasoning", "tool_calls"}


def test_every_field_is_present_and_prompts_only_where_captured() -> None:
    """Null stands for what is not known; `messages` and `text` are absent unless one is there, as a share is."""
    data = json.loads(make().to_json())
    assert set(data) == set(TraceRecord.__dataclass_fields__) - CAPTURED - {"kept_share"}
    assert data["usage"] is None
    assert data["schema"] == 1
    full = json.loads(make(text="hi", metadata={"text": 1}, kept_share=0.5).to_json())
    assert set(full) == set(TraceRecord.__dataclass_fields__)
    assert full["metadata"] == {"text": 1}


LETTERS = 'aZ0 é你😀\n\r\t"\\/\x00\x7f\u2028\ufeff'
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(LETTERS, max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
words = st.none() | st.text(LETTERS, max_size=20)
numbers = st.none() | st.integers(0, 10**12)


@given(
    metadata=st.dictionaries(st.text(LETTERS, max_size=5), json_values, max_size=3),
    usage=st.none() | st.builds(LLMUsage, prompt_tokens=numbers, cached_tokens=numbers),
    error=words,
    text=words,
    messages=st.none() | st.just(({"role": "user", "content": "x"},)),
    attempt=st.none() | st.integers(0, 100),
    cost_usd=st.none() | st.floats(0, 1e6),
)
def test_a_record_read_back_is_the_record_written(**fields: Any) -> None:
    """`from_json(to_json())` is the identity for everything JSON can hold."""
    record = make(**fields)
    assert TraceRecord.from_json(record.to_json()) == record
    assert b"\n" not in record.to_json()


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


cycle: dict[str, Any] = {"a": 1}
cycle["self"] = [cycle, cycle]
deep: Any = "bottom"
for _ in range(230):
    deep = [deep]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("lone \ud83d surrogate", "lone \\ud83d surrogate"),
        (float("nan"), None),
        (b"\xff\x00", "_wA="),
        (MappingProxyType({"k": (1, {2})}), {"k": [1, [2]]}),
        ({("a", 1): "x"}, {"a,1": "x"}),
        (LLMUsage(total_tokens=1), {**dict.fromkeys(LLMUsage.__dataclass_fields__), "total_tokens": 1}),
        (Hostile(), "<Hostile>"),
        (cycle, {"a": 1, "self": ["...", "..."]}),
        ({"\ud800": object()}, {"\\ud800": "<object>"}),
        ({Hostile(): 1}, "<dict>"),
        (10**400, 10**400),
    ],
)
def test_what_json_cannot_hold_costs_no_record(value: Any, kept: Any) -> None:
    """The record is written and read, with a stand-in for the value; the rest of it is untouched."""
    record = TraceRecord.from_json(make(metadata={"bad": value, "good": "é"}, error="x").to_json())
    assert record.metadata == {"bad": kept, "good": "é"}
    assert record.error == "x"


def test_metadata_nested_deeply_is_read_back(store: LocalFileTraceStore) -> None:
    """The writer takes more levels than the quick reader; no record falls between the two."""
    store.write(make("deep", metadata={"deep": deep}))
    assert store.last()[0].metadata["deep"] == deep


def test_a_newer_record_keeps_what_is_known_of_it() -> None:
    """Fields and outcomes of a later schema, and a field that changed its type, make no record unreadable."""
    data = json.loads(make("new", usage=LLMUsage(total_tokens=3)).to_json())
    data |= {
        "schema": 2,
        "outcome": "partial",
        "shiny": {"x": 1},
        "status_code": "429",
        "stream": 1,
        "elapsed_ms": True,
    }
    data["usage"] |= {"audio_tokens": 5, "prompt_tokens": "3"}
    record = TraceRecord.from_json(json.dumps(data))
    assert record == replace(make("new"), schema=2, outcome="partial", usage=LLMUsage(total_tokens=3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"null", b"{", b"{}", b'{"request_id": 3}', b"\xff", b"[" * 100_000,
     make().to_json().replace(b'"attempt":0', b'"attempt":"0"'), make().to_json()[:-1], make().to_json() * 2],
)  # fmt: skip
def test_what_is_no_record_is_a_value_error(line: bytes) -> None:
    """Whatever stands on a line, reading it gives a record or ValueError."""
    with pytest.raises(ValueError):
        TraceRecord.from_json(line)
