"""What the doctor says of a model in this process, without loading it; and what a process may use of its machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_llama import FIELDS, FakeLlama, gguf_file
from lee_llm_router.doctor import diagnose
from lee_llm_router.providers.llama_cpp import machine


def said(config: dict[str, Any], **inside: Any) -> str:
    config["llm"]["providers"]["inside"].update(inside)
    found = [one for one in diagnose(config) if one.subject == "inside"]
    return "\n".join(f"{one.level}: {one.message}" for one in found)


def test_a_model_that_can_be_loaded(llama: FakeLlama, config: dict[str, Any]) -> None:
    text = said(config)
    for part in (
        "ok: xllamacpp is installed",
        "Tiny, architecture llama, 1 MiB, trained with 2048 tokens",
        "ok: computes with",
        "ok: needs about",
    ):
        assert part in text
    assert "error" not in text and "warning" not in text
    assert llama.params == [], "nothing is loaded"


def test_what_is_missing(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    text = said(config, model_path="/nowhere/model.gguf")
    assert 'error: models in this process need an extra: pip install "lee-llm-router[local]"' in text
    assert "error: /nowhere/model.gguf cannot be read: No such file or directory" in text


def test_what_is_odd(llama: FakeLlama, config: dict[str, Any], tmp_path: Path) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "tokenizer.chat_template"}
    path = gguf_file(tmp_path, "plain.gguf", fields=fields)
    text = said(config, model_path=str(path), n_ctx=4096, n_threads=1000)
    assert "warning: n_ctx is 4096, but the model was trained with 2048 tokens" in text
    assert "warning: the file holds no chat template" in text
    assert "n_threads 1000 is more than this process may use" in text


def test_more_memory_than_there_is(llama: FakeLlama, config: dict[str, Any], tmp_path: Path) -> None:
    path = gguf_file(tmp_path, "wide.gguf", fields={**FIELDS, "llama.block_count": 1000})
    text = said(config, model_path=str(path), n_ctx=16_777_216, max_concurrency=64)
    assert "error: memory is short" in text
    assert "error: ~nobody-here/x: there is no home folder" in said(config, model_path="~nobody-here/x")


def cgroup(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """A control group with these files, as the one that this process is in."""
    group = folder / "cgroups" / "a" / "b"
    group.mkdir(parents=True)
    for name, text in files.items():
        (group.parent / name.replace("_", ".")).write_text(text)
    (folder / "own").write_text("0::/a/b\n")
    monkeypatch.setattr(machine, "CGROUPS", folder / "cgroups")
    monkeypatch.setattr(machine, "OWN_CGROUP", folder / "own")


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("1 100000", 1), ("max 100000", None), ("odd", None), ("", None)]
)
def test_cores_are_those_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int | None
) -> None:
    """That of a parent counts as well."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    cgroup(tmp_path, monkeypatch, cpu_max=quota)
    assert machine.usable_cores() == (cores or 16)


def test_memory_is_that_of_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it uses is taken off, but not what only caches files."""
    stat = "anon 5\ninactive_file 300\nactive_file 200\n"
    cgroup(tmp_path, monkeypatch, memory_max="10000", memory_current="4000", memory_stat=stat)
    assert machine.free_memory() == 6500
    assert machine.whole_memory() == 10000


def test_without_control_groups_the_system_is_asked() -> None:
    assert machine.usable_cores() >= 1
    assert (machine.free_memory() or 1) > 0
