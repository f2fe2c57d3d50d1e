"""What the tests of `doctor --live` share: a file for one server, and what is found when it is asked."""

from __future__ import annotations

from typing import Any

from helpers.servers import Server
from lee_llm_router.doctor import CheckResult, diagnose_live

KEY = "sk-proj-abcdefghijklmnop1234"
LIST = {"object": "list", "data": [{"id": "m1"}, {"id": "m2"}, {"id": "gpt-5-mini"}]}


def config(url: str, *models: str | None, **settings: Any) -> dict[str, Any]:
    """One provider at `url`, and a role for each model."""
    provider = {"type": "http", "base_url": url, "api_key_env": "MY_KEY", **settings}
    roles = {
        f"r{number}": {"provider": "p", **({"model": model} if model else {})}
        for number, model in enumerate(models or ("m1",))
    }
    return {"llm": {"default_role": "r0", "providers": {"p": provider}, "roles": roles}}


def ids(results: list[CheckResult]) -> list[str]:
    return [result.id for result in results]


def asked(script: Any, *models: str | None, **settings: Any) -> list[CheckResult]:
    with Server(script) as server:
        return diagnose_live(config(server.url, *models, **settings), timeout=5)
