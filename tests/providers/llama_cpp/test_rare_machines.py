"""A model in this process on machines that say little, in files that are odd, and after a fork."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.fake_llama import FIELDS, FakeLlama, gguf_bytes, gguf_file
from lee_llm_router import LeeLLMRouter
from lee_llm_router.doctor import diagnose
from lee_llm_router.providers.llama_cpp import machine, native, shared_model
from lee_llm_router.providers.llama_cpp.gguf import GGUFError, read_header
from lee_llm_router.providers.llama_cpp.settings import LlamaCppConfig


def _said(config: dict[str, Any]) -> str:
    return "\n".join(f"{one.level}: {one.message}" for one in diagnose(config) if one.subject == "inside")


@pytest.mark.parametrize(("free", "said"), [
    (None, "ok: needs about"), (1, "warning: needs about"), (1 << 50, "are free"),
])  # fmt: skip
def test_the_memory_that_a_model_needs_is_held_against_what_is_free(
    free: int | None, said: str, llama: FakeLlama, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lee_llm_router.providers.llama_cpp.checks.free_memory", lambda: free)
    monkeypatch.setattr("lee_llm_router.providers.llama_cpp.checks.memory_problem", lambda _: None)
    text = _said(config)
    assert said in text and ("are free" in text) is (free is not None)


def test_cores_are_those_of_an_older_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("250000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "own").write_text("1:cpu:/a\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert machine.usable_cores() == 3


def test_a_system_that_does_not_say_what_is_free_says_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(machine, "_lines", lambda _: ())
    assert machine.free_memory() == machine.whole_memory()
    monkeypatch.setattr(os, "sysconf_names", {})
    assert machine.free_memory() is machine.whole_memory() is None


def test_a_file_that_is_damaged_in_its_tensors_is_no_model(tmp_path: Path) -> None:
    data = bytearray(gguf_bytes())
    path = tmp_path / "model.gguf"
    for place in range(len(data) - 4):
        if bytes(data[place : place + 4]) in (b"\x01\0\0\0", b"\x02\0\0\0"):
            changed = bytes(data[:place]) + b"\x63\0\0\0" + bytes(data[place + 4 :])
            path.write_bytes(changed)
            try:
                read_header(path)
            except GGUFError as error:
                if "dimensions" in str(error):
                    return
    raise AssertionError


def test_a_name_that_is_very_long_is_read_past(tmp_path: Path) -> None:
    fields = {**FIELDS, "tokenizer.chat_template": "x" * 3_000_000}
    header = read_header(gguf_file(tmp_path, "long.gguf", fields=fields))
    assert (header.architecture, header.name) == ("llama", "Tiny")


def test_fields_of_its_own_may_be_set_and_the_routers_may_not() -> None:
    section = {"type": "llama_cpp", "model_path": "model.gguf"}
    assert LlamaCppConfig.model_validate({**section, "extra_body": {"mirostat": 2}}).extra_body == {"mirostat": 2}
    for name in ("stream", "messages"):
        with pytest.raises(ValidationError, match=f"{name} cannot be set here"):
            LlamaCppConfig.model_validate({**section, "extra_body": {name: 1}})


# After a fork


def _router(config: dict[str, Any]) -> LeeLLMRouter:
    return LeeLLMRouter(config)


def test_a_forked_child_never_destroys_the_model_of_its_parent(
    llama: FakeLlama, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads its own, and leaves that to the end of the process too."""
    state = shared_model._State()
    kept: list[Any] = []
    monkeypatch.setattr(shared_model, "_state", state)
    monkeypatch.setattr(native, "keep", kept.append)
    monkeypatch.setattr(sys, "platform", "other")  # what ends this process early must not be registered
    with _router(config) as router:
        router.complete("r", "hi")
        state.abandon_all()
        assert state.is_tainted and len(kept) == 1
        assert router.complete("r", "hi").text == "Hello, world"
        assert len(llama.params) == 2 and len(kept) == 2
    state.abandon_all()
    assert llama.alive == 2, "nothing is destroyed here"
    kept.clear()
    state.models.clear()
    gc.collect()


def test_a_child_of_a_process_without_a_model_is_a_process_like_any_other() -> None:
    state = shared_model._State()
    state.abandon_all()
    state.close_all()
    assert not state.is_tainted


def test_the_end_of_a_forked_child_skips_the_clean_up_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []

    class System:
        _exit = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda code: None)

        def on_exit(self, function: Any, argument: Any) -> None:
            registered.append(function)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: System())
    monkeypatch.setattr(sys, "platform", "linux")
    server: Any = object()
    before = sys.getrefcount(server)
    native.abandon_after_fork([server])
    assert len(registered) == 1 and sys.getrefcount(server) == before + 1
