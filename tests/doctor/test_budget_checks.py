"""What the doctor says of budgets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router.doctor import CheckResult, diagnose


def found(tmp_path: Path, text: str) -> list[CheckResult]:
    file = tmp_path / "llm.yaml"
    file.write_text(text)
    return [one for one in diagnose(file) if one.id.startswith("LLR71")]


LOCAL = """
llm:
  providers:
    local: {type: http, base_url: "https://models.example/v1", model: m, budget: {usd: 2, per: month}}
    mock: {type: mock}
  roles:
    r: {provider: local, fallback_providers: [mock], budget: {usd: 5}}
"""


def test_a_budget_over_a_target_without_a_price_is_a_warning_at_its_place(tmp_path: Path) -> None:
    results = found(tmp_path, LOCAL)
    assert [(one.id, one.subject, one.line) for one in results] == [
        ("LLR710", "role r", 7), ("LLR710", "provider local", 4), ("LLR712", "local/m", 7),
    ]  # fmt: skip
    assert results[1].message == "0 of 2 US dollars a month are spent"


@pytest.mark.parametrize("price", ["local: {input: 0, output: 0}", "local/m: {input: 1, output: 1}"])
def test_a_price_in_the_file_is_one(tmp_path: Path, price: str) -> None:
    results = found(tmp_path, LOCAL + f"  pricing: {{models: {{{price}}}}}\n")
    assert [one.id for one in results] == ["LLR710", "LLR710"]


def test_the_table_has_prices_of_vendors(tmp_path: Path) -> None:
    text = "llm: {providers: {o: {type: openai, model: %s}}, roles: {r: {provider: o}}, budget: {usd: 1}}"
    assert [one.id for one in found(tmp_path, text % "gpt-5")] == ["LLR710"]
    assert [one.id for one in found(tmp_path, text % "no-such-model")] == ["LLR710", "LLR712"]


def test_a_spent_budget_is_a_warning(tmp_path: Path) -> None:
    traces = tmp_path / ".lee-llm-router" / "traces"
    traces.mkdir(parents=True)
    sums: dict[str, Any] = {"schema": 1, "spent_usd": {"role r|total|total": 5.5}}
    (traces / "budgets.json").write_text(json.dumps(sums))
    results = found(tmp_path, LOCAL)
    assert (results[0].id, results[0].level, results[0].subject) == ("LLR711", "warning", "role r")
    assert "5.5 of 5 US dollars" in results[0].message
    assert json.loads((traces / "budgets.json").read_text()) == sums


def test_without_budgets_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert found(tmp_path, "llm: {providers: {m: {type: mock}}, roles: {r: {provider: m}}}") == []
