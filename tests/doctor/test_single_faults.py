"""Faults that exclude each other, or that need a machine of their own: each has its id and its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from helpers.single_faults import SOUND, bad, of_text, with_provider
from lee_llm_router.doctor import diagnose, trace_checks
from lee_llm_router.telemetry.plugins import register_store

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("text", "check", "line"),
    [
        ("llm: [\n", "LLR101", 2),
        ("llm:\n\tproviders: x\n", "LLR101", 2),
        ("llm: {a: *b}\n", "LLR101", 1),
        ("llm:\n---\nllm:\n", "LLR101", 2),
        (b"\xff\xfel\0l\0m\0", "LLR102", None),
        (b"llm: \xff\n", "LLR102", 1),
        ("llm: " + "[" * 200 + "]" * 200, "LLR102", 1),
        ("", "LLR103", 1),
        ("other: 1\n", "LLR103", 1),
        ("lm:\n" + SOUND, "LLR103", 1),
        ("providers: {}\nroles: {}\n", "LLR103", 1),
        ("llm:\n  providers: {p: {type: mock}}\n  roles: {r: {provider: p}, s: {provider: p}}\n", "LLR117", 1),
        ("llm:\n  policy: {type: simpel}\n" + SOUND, "LLR111", 2),
        ("llm:\n  policy: simpel\n" + SOUND, "LLR111", 2),
        ("llm:\n  sinks: [logging, loging]\n" + SOUND, "LLR111", 2),
        ("llm:\n  trace: {store: jsnl}\n" + SOUND, "LLR111", 2),
        ("llm:\n  providers: {}\n  roles: {}\n", "LLR107", 2),
        ("llm: 5\n", "LLR106", 1),
        ("llm:\n  providers: [1]\n  roles: {r: 5}\n", "LLR106", 2),
    ],
)
def test_a_file_that_is_wrong_as_a_whole(here: Path, text: str | bytes, check: str, line: int | None) -> None:
    """The file is told of at the line where it goes wrong."""
    results = of_text(here, text)
    assert check in results
    assert results[check].line == line
    assert results[check].file == str(here / "c.yaml")


@pytest.mark.parametrize("sink", ["prometheus", "opentelemetry"])
def test_a_sink_whose_extra_is_missing_is_a_type_without_its_package(
    here: Path, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    """The message says what to install."""
    monkeypatch.setattr(f"lee_llm_router.telemetry.sinks.{sink}.find_spec", lambda _: None)
    results = of_text(here, f"llm:\n  sinks: [{sink}]\n" + SOUND)
    assert 'pip install "lee-llm-router[' in results["LLR111"].message


def test_what_follows_from_a_fault_is_no_fault(here: Path) -> None:
    """A role whose provider has a mistake is not said to name an unknown one, nor its chain to be short."""
    results = of_text(
        here,
        "llm:\n  default_role: r\n  providers:\n    p: {type: mok}\n    q: {typ: mock}\n    s: {type: mock}\n"
        "  roles:\n    r: {provider: p, fallback_providers: [q, s]}\n    t: {provider: s}\n",
    )
    assert set(results) == {"LLR111", "LLR105", "LLR104"} or set(results) == {"LLR111", "LLR105"}


def test_a_env_file_that_cannot_be_read_or_is_not_ignored(here: Path) -> None:
    (here / ".env").write_bytes(b"\xff")
    (here / ".env").chmod(0o600)
    assert set(of_text(here, "llm:\n" + SOUND)) == {"LLR201"}
    (here / ".env").write_text("A=b\n")
    assert set(of_text(here, "llm:\n" + SOUND)) == set()
    (here / ".git").mkdir()
    assert set(of_text(here, "llm:\n" + SOUND)) == {"LLR208"}
    (here / ".gitignore").write_text("*.log\n.env\n")
    assert set(of_text(here, "llm:\n" + SOUND)) == set()


def test_folders_and_stores_that_cannot_be_used(here: Path) -> None:
    (here / "file").touch()
    assert set(bad(diagnose({"llm": {**with_provider(type="mock")["llm"], "trace": {"dir": "file"}}}))) == {"LLR801"}


class Opinionated:
    """A store that says of itself what its settings say."""

    says: Any = ()

    def write(self, record: Any) -> None:
        raise AssertionError("nothing is to be written")

    def check(self) -> Any:
        if self.says == "raise":
            raise RuntimeError("broken")
        return self.says


register_store("opinionated", Opinionated, replace=True)


@pytest.mark.parametrize(
    ("says", "check"),
    [
        ([("error", "no disk")], "LLR807"), ([("warning", "slow disk")], "LLR808"), ("raise", "LLR807"),
        ([("ok", "fine")], None), ([], None),
    ],
)  # fmt: skip
def test_a_store_says_itself_what_it_lacks(monkeypatch: pytest.MonkeyPatch, says: Any, check: str | None) -> None:
    """A store may have a method `check`, in the form of `Provider.check`."""
    monkeypatch.setattr(Opinionated, "says", says)
    source = with_provider(type="mock")
    source["llm"]["trace"] = {"store": "opinionated"}
    assert set(bad(diagnose(source))) == ({check} if check else set())


def test_all_stores_behind_a_store_are_looked_at(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several folders, and what each store says, behind one that writes to several, or later."""
    monkeypatch.setattr(Opinionated, "says", [("error", "no disk")])
    (here / "t").mkdir(mode=0o755)
    source = with_provider(type="mock")
    stores = [{"type": "buffered", "store": "jsonl"}, "sqlite", "opinionated"]
    source["llm"]["trace"] = {"dir": str(here / "t"), "store": {"type": "multi", "stores": stores}}
    results = [(one.id, one.subject) for one in diagnose(source) if one.section == "traces"]
    assert results == [("LLR803", str(here / "t")), ("LLR807", "multi")]


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("disk / ext4 rw 0 0\n", "ext4"),
        ("disk / ext4 rw 0 0\nserver:/x {here} nfs4 rw 0 0\n", "nfs4"),
        ("disk / ext4 rw 0 0\nserver:/x {here}/other nfs rw 0 0\n", "ext4"),
        ("disk / ext4 rw 0 0\nserver:/x {here}x nfs rw 0 0\n", "ext4"),
        ("s / nfs rw 0 0\ntmpfs {here} tmpfs rw 0 0\n", "tmpfs"),
        ("nonsense\n\n", None),
    ],
)
def test_the_kind_of_a_file_system_is_that_of_the_innermost_mount(
    here: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, kind: str | None
) -> None:
    real = os.path.realpath(here)
    (here / "mounts").write_text(mounts.format(here=real))
    monkeypatch.setattr(trace_checks, "_MOUNTS", str(here / "mounts"))
    assert trace_checks.file_system_of(here) == kind
    monkeypatch.setattr(trace_checks, "_MOUNTS", str(here / "none"))
    assert trace_checks.file_system_of(here) is None
