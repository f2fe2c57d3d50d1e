"""One file with one of every fault: each is found once, at its place; a good file has none."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lee_llm_router.doctor import CheckResult, diagnose, trace_checks
from lee_llm_router.doctor.partial_config import read_partly
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider
from lee_llm_router.response import LLMRequest, LLMResponse

FAULTY = Path(__file__).parent / "every_fault.yaml"
KEY = "abcdefghijklmnop0123456789ABCDEF"
OF_ENVIRONMENT = {
    "LLR202": "variable QUOTED", "LLR203": "variable BLANKS", "LLR204": "variable BEARER", "LLR205": "variable EMPTY",
    "LLR206": ".env", "LLR207": ".env", "LLR305": "key_open", "LLR120": "llm.yaml", "LLR121": "llm.yaml",
    "LLR404": None, "LLR405": "variable ALL_PROXY", "LLR407": "variable no_proxy", "LLR410": "variable http_proxy",
}  # fmt: skip
"""What stands in no line of the file: the check, and its subject."""


class _Checked(Provider[Any]):
    says: Any = ()

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        raise AssertionError("the doctor made a call")

    def check(self) -> Any:
        return self.says


class Lacking(_Checked):
    says = (("error", "something is missing"),)


class Warning_(_Checked):
    says = (("warning", "something is odd"),)


class Raising(_Checked):
    def check(self) -> Any:
        raise RuntimeError("broken")


for name, kind in {"lacking_check": Lacking, "warning_check": Warning_, "raising_check": Raising}.items():
    registry.register(name, kind, replace=True)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in a folder where all around it is faulty too."""
    pytest.importorskip("genai_prices")
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT", "REQUESTS_CA", "CURL_CA")) or "KEY" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    values = {
        "GOOD": KEY, "ODD_KEY": "schlüssel-abcdefg", "GROQ_STYLE": f"gsk_{KEY}", "PLACEHOLDER": "your-api-key-here",
        "REQUESTS_CA_BUNDLE": "/somewhere.pem", "http_proxy": "http://a.test:1", "HTTP_PROXY": "http://b.test:1",
        "ALL_PROXY": "c.test:3128", "no_proxy": "models.example/path,localhost", "EMPTY": "",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    env = tmp_path / ".env"
    env.write_text("QUOTED='\"quoted\"'\nBLANKS='blanks '\nBEARER='Bearer abc'\n")
    env.chmod(0o644)
    for name in ("QUOTED", "BLANKS", "BEARER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "open.key").write_text(f"{KEY}\n")
    (tmp_path / "open.key").chmod(0o644)
    (tmp_path / "traces").mkdir(mode=0o755)
    (tmp_path / "traces" / "20260101.jsonl").touch()
    program = tmp_path / "bin" / "true-program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 9.9.9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    file = tmp_path / "llm.yaml"
    file.write_text(FAULTY.read_text())
    file.chmod(0o644)
    for command in (["git", "init", "-q"], ["git", "add", "llm.yaml", ".env", "open.key", "traces"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    monkeypatch.setattr(trace_checks, "MIN_FREE_BYTES", 10**18)
    (tmp_path / "mounts").write_text(f"disk / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(trace_checks, "_MOUNTS", str(tmp_path / "mounts"))
    return file


def expected_lines() -> dict[str, int]:
    """The checks that the file names in its lines."""
    lines = enumerate(FAULTY.read_text().splitlines(), 1)
    return {check: number for number, line in lines for check in re.findall(r"LLR\d{3}", line)}


def bad(results: list[CheckResult]) -> list[CheckResult]:
    return [result for result in results if result.level != "ok"]


def test_each_fault_of_the_file_is_found_once_and_at_its_place(faulty: Path) -> None:
    """One run shows them all: what can be read is checked, whatever is wrong beside it."""
    results = bad(diagnose(faulty))
    expected = expected_lines()
    counts = Counter(result.id for result in results)
    assert counts == Counter([*expected, *OF_ENVIRONMENT])
    places = {result.id: result.line for result in results if result.id in expected}
    assert places == expected
    for result in results:
        subject = OF_ENVIRONMENT.get(result.id)
        if subject is not None:
            assert result.subject.endswith(subject), result
    assert all(result.cure for result in results)
    assert KEY not in repr(results)
    assert "abcdefghijklmnopqrstuvwxyz0123456789" not in repr(results)


GOOD = """
llm:
  default_role: planner
  providers:
    openai: {type: openai}
    claude: {type: anthropic}
    local: {type: ollama, model: llama3}
  roles:
    planner:
      provider: openai
      model: gpt-4.1
      timeout: 60
      fallback_providers: [{provider: claude, model: claude-sonnet-4-5}, local]
    writer: {provider: local, max_tokens: 500, temperature: 0.5}
  trace: {dir: traces}
"""


def test_a_good_file_has_no_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT", "REQUESTS_CA", "CURL_CA")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-proj-{KEY}")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("# local\n.env*\n/traces/\n")
    (tmp_path / ".env").write_text(f"ANTHROPIC_API_KEY=sk-ant-{KEY}\n")
    (tmp_path / ".env").chmod(0o600)
    (tmp_path / "llm.yaml").write_text(GOOD)
    assert bad(diagnose(tmp_path / "llm.yaml")) == []
    assert bad(diagnose(tmp_path / "llm.yaml", "writer")) == []


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_whatever_is_left_out_of_it_something_can_be_said(tmp_path: Path, step: int) -> None:
    """A file with lines missing, or cut off anywhere, is read as far as it goes, and nothing is raised."""
    lines = FAULTY.read_text().splitlines(keepends=True)
    for start in range(0, len(lines), step):
        partial = read_partly("".join(lines[:start] + lines[start + step :]))
        assert partial.mistakes
        assert len(set(partial.mistakes)) < 100
    text = FAULTY.read_text()
    for end in range(0, len(text), 97 * step):
        assert read_partly("llm: {}\n" + text[:end]).mistakes
