"""What the doctor says where files are gone, providers are somebody else's, and the machine is odd."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lee_llm_router import register_state
from lee_llm_router.config import findings, load_config
from lee_llm_router.doctor import CheckResult, diagnose, diagnose_live, partial_config, price_table
from lee_llm_router.doctor.fixes import planned_repairs
from lee_llm_router.doctor.live.call_probe import planned_calls
from lee_llm_router.doctor.price_table import most_usd
from lee_llm_router.errors import ConfigError, InvalidRequestError, LLMRouterError
from lee_llm_router.health.shared.contract import DoorReport, Exchange, LimitsReport
from lee_llm_router.providers import registry
from lee_llm_router.providers.base import Provider, ProviderConfig
from lee_llm_router.response import LLMRequest, LLMResponse, LLMUsage

ROLE = "  roles: {r: {provider: p}}\n"
MOCK = "llm:\n  providers: {p: {type: mock}}\n" + ROLE


def ids(results: Sequence[CheckResult]) -> list[str]:
    return [result.id for result in results]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("Q", raising=False)
    return tmp_path


def written(here: Path, text: str, env: str | None = None) -> Path:
    (here / "c.yaml").write_text(text)
    if env is not None:
        (here / ".env").write_text(env)
        (here / ".env").chmod(0o600)
    return here / "c.yaml"


# --- repairs ---


def test_what_is_gone_since_it_was_looked_at_is_not_repaired(here: Path) -> None:
    """Or is another kind of file now."""
    text = 'llm:\n  providers: {p: {type: mock, response_text: "${Q}"}}\n  roles: {r: {provider: p, temperatur: 1}}\n'
    text += "  trace: {dir: t}\n"
    (here / "t").mkdir(mode=0o755)
    (here / ".git").mkdir()
    results = diagnose(written(here, text, "Q='\"a\"'\n"))
    assert len(planned_repairs(results)) == 4
    for name in ("c.yaml", ".env"):
        (here / name).unlink()
    (here / "t").rmdir()
    (here / ".gitignore").mkdir()
    assert planned_repairs(results) == []


def test_a_mode_is_not_changed_of_another_file_than_was_looked_at(here: Path) -> None:
    (here / "t").mkdir(mode=0o755)
    (repair,) = planned_repairs(diagnose(written(here, MOCK + "  trace: {dir: t}\n")))
    (here / "t").rename(here / "old")
    (here / "t").mkdir(mode=0o755)
    with pytest.raises(OSError, match="no longer the same file"):
        repair.apply()
    assert (here / "t").stat().st_mode & 0o777 == 0o755


def test_a_mode_that_is_narrow_enough_by_now_needs_no_repair(here: Path) -> None:
    (here / "t").mkdir(mode=0o755)
    results = diagnose(written(here, MOCK + "  trace: {dir: t}\n"))
    (here / "t").chmod(0o700)
    assert planned_repairs(results) == []


@pytest.mark.parametrize("value", ["'a\\b '", '"it\\"s "', "' a ' # note"])
def test_a_value_that_may_be_meant_so_stays(value: str, here: Path) -> None:
    """Of the `.env`: with escapes or quotes within, or something behind it."""
    results = diagnose(
        written(here, 'llm:\n  providers: {p: {type: mock, response_text: "${Q}"}}\n' + ROLE, f"Q={value}\n")
    )
    assert [repair for repair in planned_repairs(results) if repair.path.name == ".env"] == []


@pytest.mark.parametrize("moved", [{"line": 99}, {"column": 1}, {"column": None}, {"line": 1}])
def test_a_key_that_is_not_where_it_was_is_not_renamed(moved: dict[str, Any], here: Path) -> None:
    results = diagnose(written(here, "llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provder: p}}\n"))
    assert planned_repairs(results)
    assert planned_repairs([replace(one, **moved) for one in results]) == []


# --- files and variables ---


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_of_very_many_mistakes_each_is_told_or_counted(
    rounds: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none twice: what was left out of one reading is found by the next, which leaves out what is told by then."""
    monkeypatch.setattr(findings, "MAX_FINDINGS", 10)
    monkeypatch.setattr(partial_config, "_MAX_ROUNDS", rounds)
    providers = "".join(f"    p{number}: {{type: mock, odd: 1}}\n" for number in range(25))
    results = diagnose(written(here, f"llm:\n  providers:\n{providers}  roles: {{r: {{provider: p1}}}}\n"))
    told = [one.message for one in results if one.id == "LLR104"]
    counted = [one.message for one in results if one.id == "LLR123"]
    assert len(told) == len(set(told)) == min(25, 10 * rounds)
    assert counted == ([f"and {25 - 10 * rounds} more"] if rounds < 3 else [])


def test_a_variable_that_is_not_on_a_line_of_its_own_is_placed_in_its_file(here: Path) -> None:
    text = 'llm:\n  providers: {p: {type: mock, response_text: "${Q}"}}\n' + ROLE
    (result,) = [one for one in diagnose(written(here, text, "export   Q=''\n")) if one.id == "LLR205"]
    assert result.file is not None and result.file.endswith(".env")


@pytest.mark.parametrize("of", ["provider", "key"])
def test_a_budget_stands_where_its_provider_has_it(of: str, here: Path) -> None:
    """That of a key is written at one of the providers that share it."""
    text = (
        "llm:\n  providers:\n    o: {type: openai, model: gpt-5}\n"
        f"    p: {{type: openai, model: gpt-5, api_key_env: MY_KEY, budget: {{usd: 2, of: {of}}}}}\n" + ROLE
    )
    (result,) = [one for one in diagnose(written(here, text)) if one.id == "LLR710"]
    assert result.line == 4


def test_a_disk_with_room_for_few_files_is_told_of(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_bavail=10**9, f_frsize=4096, f_files=1000, f_favail=3)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    (here / "t").mkdir(mode=0o700)
    results = diagnose(written(here, MOCK + "  trace: {dir: t}\n"))
    assert [one.message for one in results if one.id == "LLR804"] == ["3 more files fit on its disk"]


@pytest.mark.parametrize("entry", ["::1", "fe80::/10", "[::1]:80", "*.example.com", "http://host"])
def test_entries_of_no_proxy_that_can_match_are_none_to_tell_of(
    entry: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", entry)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    text = "llm:\n  providers: {p: {type: http, base_url: 'https://models.example/v1', model: m}}\n" + ROLE
    assert "LLR407" not in ids(diagnose(written(here, text)))
    monkeypatch.setenv("NO_PROXY", f"{entry} 1::2::3")
    assert "LLR407" in ids(diagnose(written(here, text)))


def test_a_hedge_of_a_call_that_makes_one_attempt_is_of_no_use(here: Path) -> None:
    text = (
        "llm:\n  providers: {p: {type: mock}, q: {type: mock}}\n"
        "  roles: {r: {provider: p, fallback_providers: [q], retry: {max_attempts: 1}, hedge: {}}}\n"
    )
    results = [one.message for one in diagnose(written(here, text)) if one.id == "LLR613"]
    assert results == ["a call makes only one attempt, so hedge cannot begin another"]


def test_a_role_that_lost_its_provider_is_not_said_to_be_missing(here: Path) -> None:
    """Its mistake is told, where it stands."""
    path = written(
        here, "llm:\n  providers: {p: {type: mock}, q: {typ: mock}}\n  roles: {r: {provider: p}, s: {provider: q}}\n"
    )
    results = diagnose(path, role="s")
    assert "LLR601" not in ids(results) and any(one.level == "error" for one in results)
    assert "LLR601" in ids(diagnose(path, role="t"))


# --- a shared state ---


class Slow:
    """A state that answers; `wrong` settings cannot make one."""

    def exchange(self, limits: Sequence[LimitsReport], doors: Sequence[DoorReport]) -> Exchange:
        return Exchange((), ())

    def wait_for_changes(self, seconds: float) -> Collection[str]:
        return ()

    def close(self) -> None:
        pass


def unmade() -> Slow:
    raise ConfigError("no such host", sent=False)


register_state("of_tests_slow", Slow, replace=True)


def test_a_state_that_is_slower_than_calls_wait_is_told_of(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lee_llm_router.doctor import state_checks

    now = iter([0.0, 0.9])
    monkeypatch.setattr(state_checks, "SYSTEM_CLOCK", SimpleNamespace(monotonic=lambda: next(now)))
    path = written(here, MOCK + "  state: {type: of_tests_slow}\n")
    results = [one for one in diagnose(path) if one.id.startswith("LLR41")]
    assert ids(results) == ["LLR415"] and "answers within 900 ms, but calls wait" in results[0].message


def test_a_state_that_cannot_be_made_is_told_of(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lee_llm_router.health.shared.plugins import STATES

    path = written(here, MOCK + "  state: {type: of_tests_slow}\n")
    config = load_config(path)
    real, builds = type(STATES).build, []

    def build(self: Any, settings: Any, **more: Any) -> Any:
        builds.append(self)
        return unmade() if builds.count(STATES) > 1 else real(self, settings, **more)  # the first is the router's

    monkeypatch.setattr(type(STATES), "build", build)
    assert "LLR414" in ids(diagnose(config))


# --- providers of others ---


class TheirConfig(ProviderConfig):
    does: str = "answer"


class Theirs(Provider[TheirConfig]):
    """A provider of somebody else's that fails where `does` says."""

    config_model = TheirConfig

    def __init__(self, name: str, config: TheirConfig, *more: Any) -> None:
        if config.does == "refuse":
            raise InvalidRequestError("not here")
        super().__init__(name, config, *more)

    @property
    def effects(self) -> Any:
        return "external" if self.config.does == "act" else "none"

    @classmethod
    def unsupported(cls, request: LLMRequest, config: TheirConfig) -> dict[str, str]:
        if config.does == "raise":
            raise ZeroDivisionError
        if config.does == "lack":
            raise LLMRouterError("unknown")
        return {}

    def complete(self, request: LLMRequest, timeout: float) -> LLMResponse:
        return LLMResponse(text="OK", usage=LLMUsage(total_tokens=9), cost_usd=0.0012, finish_reason="length")


registry.register("of_tests_theirs", Theirs, replace=True)


def config_of(does: str) -> dict[str, Any]:
    provider = {"type": "of_tests_theirs", "does": does}
    return {"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "model": "m"}}}}


def test_an_answer_says_what_it_cost_and_whether_it_was_cut() -> None:
    results = diagnose_live(config_of("answer"), call=True)
    assert ids(results) == ["LLR900", "LLR931"]
    assert results[1].message.endswith(", 9 tokens, $0.001200, cut at its limit, as is usual here")


def test_what_acts_is_never_asked() -> None:
    """Whoever agrees: it may change files or more."""
    results = diagnose_live(config_of("act"), call=True)
    assert ids(results) == ["LLR900", "LLR932"] and "may change files" in results[1].message


@pytest.mark.parametrize("does", ["raise", "lack", "refuse"])
def test_a_provider_that_cannot_say_what_it_can_do_is_asked_without_a_bound(does: str) -> None:
    """And what that costs is not known."""
    plan = planned_calls(load_config(config_of(does)), ["r"], 10)
    assert [call.name for call in plan.calls] == ["p/m"] and plan.refused == []
    limits = [call.config.roles["asked"].max_tokens for call in plan.calls]
    assert limits == [256 if does == "refuse" else None]


def test_a_provider_that_cannot_be_made_is_told_of() -> None:
    (result,) = diagnose_live(config_of("refuse"))
    assert (result.id, result.message) == ("LLR919", "not here")


# --- the table of prices ---


def test_a_target_without_a_model_has_no_price() -> None:
    config = load_config({"llm": {"providers": {"p": {"type": "mock"}}, "roles": {"r": {"provider": "p"}}}})
    assert most_usd(config, config.chain("r")[0], 10, 10) is None


def test_a_name_that_is_nobody_s_is_near_to_none() -> None:
    assert price_table._near("ft:gpt-4o:mine", ["gpt-4o"]) is None
    assert price_table._near("x" * 10_000, ["gpt-4o"]) is None
    assert price_table._near("gpt-4oo", ["gpt-4o", "gpt-5o"]) == "gpt-4o"


def test_a_pattern_that_cannot_be_read_hides_no_other_vendor() -> None:
    good = SimpleNamespace(api_pattern="https://good")
    snapshot = SimpleNamespace(providers=[SimpleNamespace(api_pattern="("), good])
    assert price_table._vendor(snapshot, "https://good/v1") is good


def test_without_the_table_nothing_is_said_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "genai_prices.data_snapshot", None)
    assert price_table._snapshot.__wrapped__() is None


# --- files that go while the doctor looks ---

TRUE_KEY = "sk-proj-abcdefghijklmnop1234"


@pytest.mark.parametrize("name", [".env", "c.yaml", "key"])
def test_a_file_that_is_gone_or_shut_by_now_hides_no_other_finding(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of it is what was read of it."""
    (here / "key").write_text("abcdefghijklmnop\n")
    text = (
        'llm:\n  providers: {p: {type: mock, response_text: "${Q}"}, g: {type: groq, model: m, api_key_file: key}}\n'
        f"{ROLE}# {TRUE_KEY}\n"
    )
    path = written(here, text, "Q=''\n")
    before = ids(diagnose(path))
    read, looked = Path.read_text, Path.stat

    def refuse(found: Path) -> None:
        if found.name == name:
            raise PermissionError(13, "Permission denied")

    def read_text(found: Path, *args: Any, **more: Any) -> str:
        refuse(found)
        return read(found, *args, **more)

    def stat(found: Path, **more: Any) -> os.stat_result:
        refuse(found)
        return looked(found, **more)

    config = partial_config.read_partly(path)
    monkeypatch.setattr(partial_config, "read_partly", lambda _: config)
    monkeypatch.setattr("lee_llm_router.doctor.checks.read_partly", lambda _: config)
    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "stat", stat)
    after = ids(diagnose(path))
    assert "LLR205" in after and set(after) <= {*before, "LLR301", "LLR302", "LLR303", "LLR304"}


def test_a_key_in_a_configuration_that_is_no_file_is_told_of_without_a_place() -> None:
    text = f"llm:\n  providers: {{p: {{type: mock, response_text: {TRUE_KEY}}}}}\n{ROLE}"
    results = [one for one in diagnose(text) if one.id in ("LLR113", "LLR114", "LLR119")]
    assert results and all(one.file is None for one in results) and TRUE_KEY not in repr(results)


def test_settings_made_by_hand_of_a_type_that_is_none_are_told_of() -> None:
    """Nothing is known of what their provider can do."""
    config = load_config(MOCK + "  budget: {usd: 1}\n")
    made = ProviderConfig(type="unheard-of")
    odd = config.model_copy(update={"providers": {"p": made}})
    assert any(one.level == "error" for one in diagnose(odd))
