"""How a model is loaded, and what keeps it from being loaded: each cause its own type and sentence."""

from __future__ import annotations

import errno
import resource
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.fake_llama import FakeLlama
from lee_llm_router import FailureType, LeeLLMRouter, LLMRouterError


def failing(config: dict[str, Any], **inside: Any) -> LLMRouterError:
    config["llm"]["providers"]["inside"].update(inside)
    config["llm"]["roles"]["r"]["retry"] = {"attempts": 1, "max_attempts": 1, "patience": 0}
    with LeeLLMRouter(config) as router, pytest.raises(LLMRouterError) as caught:
        router.complete("r", "hi")
    return caught.value


@pytest.mark.parametrize(
    ("error", "said", "short"),
    [
        (MemoryError(), "memory is short", True),
        (OSError(errno.ENOMEM, "no memory"), "run out of memory", True),
        (OSError(errno.EMFILE, "too many"), "run out of file descriptors", True),
        (OSError(errno.EIO, "broken disk"), "broken disk", False),
        (ValueError("odd"), "architecture llama", False),
    ],
)
def test_what_fails_while_it_loads(
    llama: FakeLlama, config: dict[str, Any], error: Exception, said: str, short: bool
) -> None:
    llama.load_error = error
    found = failing(config)
    assert said in found.message and found.local_shortage is short
    llama.load_error = None


def test_a_template_of_ones_own_is_named_among_the_causes(llama: FakeLlama, config: dict[str, Any]) -> None:
    llama.load_error = RuntimeError("no")
    assert "chat_template wrong" in failing(config, chat_template="{{").message


@pytest.mark.parametrize("error", [ImportError("GLIBC_2.99 not found", name="xllamacpp.xllamacpp"), OSError("odd")])
def test_a_library_that_does_not_fit_the_machine(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "xllamacpp":
                raise error

    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    found = failing(config)
    assert "xllamacpp cannot be loaded" in found.message and found.failure_type is FailureType.PROVIDER_ERROR


def test_a_limit_of_the_address_space_is_kept(
    llama: FakeLlama, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    found = failing(config)
    assert "ulimit -v" in found.message and found.local_shortage
    assert llama.params == []


@pytest.mark.parametrize(
    ("kind", "layers", "fits", "given"),
    [("CPU", None, False, None), ("GPU", None, True, None), ("IGPU", None, True, None), ("GPU", 7, False, 7)],
)
def test_layers_for_the_gpu(
    llama: FakeLlama,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    layers: int | None,
    fits: bool,
    given: int | None,
) -> None:
    """Unset, llama.cpp finds out how many fit, where there is a GPU at all."""
    devices = [{"type": f"GGML_BACKEND_DEVICE_TYPE_{kind}"}]
    monkeypatch.setattr(sys.modules["xllamacpp"], "get_device_info", lambda: devices)
    config["llm"]["providers"]["inside"]["n_gpu_layers"] = layers
    with LeeLLMRouter(config) as router:
        router.complete("r", "hi")
    assert llama.params[0].fit_params is fits
    assert getattr(llama.params[0], "n_gpu_layers", None) == given


def test_a_long_name_of_the_temporary_folder_is_no_obstacle(
    llama: FakeLlama, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a socket holds about 100 bytes."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with LeeLLMRouter(config) as router:
        router.complete("r", "hi")
    assert len(llama.params[0].hostnames[0]) < 100
    assert list(folder.iterdir()) == []


def test_a_file_that_cannot_be_read(llama: FakeLlama, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of descriptors is this machine's shortage; for want of rights, a model that is not there."""

    def raising(number: int) -> Any:
        def stat(*_: object, **__: object) -> SimpleNamespace:
            raise OSError(number, "no")

        return stat

    model = config["llm"]["providers"]["inside"]["model_path"]
    for number, kind, short in (
        (errno.EACCES, FailureType.MODEL_NOT_FOUND, False),
        (errno.ENFILE, FailureType.PROVIDER_ERROR, True),
    ):
        with monkeypatch.context() as patch:
            from lee_llm_router.providers.llama_cpp import loading

            patch.setattr(loading, "read_header", raising(number))
            found = failing(config, model_path=model)
        assert (found.failure_type, found.local_shortage) == (kind, short)
