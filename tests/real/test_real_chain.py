"""The whole product with a real model: a chat server through `http`, and a chain that falls back to the real codex."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lee_llm_router import LeeLLMRouter

pytestmark = pytest.mark.real

QUESTION = "What is the capital of France? Answer in one short sentence."


def _dead_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path, model_server: str, codex_path: str) -> Path:
    path = tmp_path / "lee-llm-router.yaml"
    path.write_text(
        f"""\
llm:
  default_role: local
  providers:
    llama: {{type: http, base_url: "{model_server}"}}
    dead: {{type: http, base_url: "http://127.0.0.1:{_dead_port()}/v1"}}
    codex: {{type: codex_cli, command: "{codex_path}", base_url: "{model_server}"}}
  roles:
    local: {{provider: llama, model: smollm2, max_tokens: 40, temperature: 0}}
    fallen:
      provider: dead
      model: smollm2
      deadline: 120
      retry: {{attempts: 1}}
      fallback_providers: [{{provider: codex, model: smollm2}}]
  trace: {{dir: "{tmp_path}/traces"}}
"""
    )
    return path


def test_a_real_model_answers_through_http(config: Path) -> None:
    """Sync and async: text, a finish reason, usage, the model that served, request and record agreeing."""
    with LeeLLMRouter.from_file(config) as router:
        response = router.complete("local", QUESTION)
        again = asyncio.run(router.complete_async("local", QUESTION))
    for answer in (response, again):
        assert "Paris" in answer.text
        assert answer.finish_reason in ("stop", "length")
        assert answer.usage is not None and (answer.usage.completion_tokens or 0) > 0


def _command(*args: str) -> str:
    """What the command line prints; it must succeed."""
    command = [sys.executable, "-m", "lee_llm_router", *args]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_real_codex_answers_after_a_dead_port(config: Path) -> None:
    """One call, two attempts, both in `trace`; sync, async and from the command line."""
    with LeeLLMRouter.from_file(config) as router:
        response = router.complete("fallen", QUESTION)
        assert response.text and response.provider == "codex"
        assert asyncio.run(router.complete_async("fallen", QUESTION)).text
    assert _command("complete", "--config", str(config), "--role", "fallen", QUESTION).strip()
    shown = _command("trace", "--attempts", "--last", "5", "--dir", str(config.parent / "traces"))
    print(shown)
    # The one that answered stands in the call's row, too.
    assert (shown.count("dead/smollm2"), shown.count("codex/smollm2")) == (3, 6)
    assert "PROVIDER_ERROR" in shown


def test_the_doctor_finds_the_real_binary(config: Path) -> None:
    """Its version, and a dry run of each role, without a network."""
    assert "codex" in _command("doctor", "--config", str(config))
