"""What the doctor says of policies that spread calls."""

from __future__ import annotations

from pathlib import Path

from lee_llm_router.doctor import diagnose

FILE = """
llm:
  default_role: r
  providers:
    a: {{type: mock, model: m}}
    b: {{type: mock, model: n}}
  roles:
    r: {{provider: a, fallback_providers: [b]}}
    s: {{provider: b{role}}}
{rest}
"""


def found(
    tmp_path: Path, role: str = "", rest: str = "", asked: str | None = None
) -> list[tuple[str, int | None, str]]:
    file = tmp_path / "llm.yaml"
    file.write_text(FILE.format(role=role, rest=rest))
    return [(one.id, one.line, one.message) for one in diagnose(file, asked) if one.section == "policy"]


def test_a_weight_that_names_no_target_is_a_warning_with_a_suggestion(tmp_path: Path) -> None:
    """A target is named by its provider, or with its model. The policy of the file has those of all its roles."""
    rest = "  policy: {type: weighted, weights: {a: 1, b/n: 2, b/m: 1}}"
    assert found(tmp_path, rest=rest) == [
        ("LLR452", 10, "'b/m' is no target of any role with this policy (did you mean 'b/n'?)")
    ]
    assert found(tmp_path, rest=rest, asked="s") == []
    own = ", policy: {type: sticky, among: [a]}"
    assert found(tmp_path, own) == [("LLR452", 9, "'a' is no target of the role s")]
    assert found(tmp_path, own, asked="s") == [("LLR452", 9, "'a' is no target of the role s")]


def test_lowest_cost_without_prices_is_a_warning(tmp_path: Path) -> None:
    rest = "  policy: lowest_cost\n  pricing: {models: {a: {input: 0, output: 0}}}"
    assert found(tmp_path, ", policy: simple", rest) == [("LLR453", 10, "no price is known for b/n: asked last")]
    assert found(tmp_path, ", policy: simple", "  policy: lowest_latency") == []
