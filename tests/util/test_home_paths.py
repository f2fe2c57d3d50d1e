"""A path that begins with `~` is expanded, or refused with an error of ours."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from lee_llm_router._util.home_paths import NoHomeError, expand_home


@pytest.mark.parametrize("path", ["/a/b", "a/~b", "./~", "", "a~"])
def test_other_paths_stay_as_they_are(path: str) -> None:
    assert expand_home(path) == Path(path)


@pytest.mark.parametrize(("path", "expected"), [("~", "/h"), ("~/", "/h"), ("~/x/y", "/h/x/y"), ("~//x", "/h/x")])
def test_the_home_is_that_of_the_environment(path: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    assert expand_home(path) == Path(expected)


@pytest.mark.parametrize("path", ["~", "~/.codex", "~nobody-of-this-name/x", "~a\0b/x", "~\ud800", Path("~/x")])
def test_an_unknown_home_is_an_error_of_its_own(path: str | Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that runs under a number: no entry for the user, and no HOME. It is an OSError with a reason."""

    def nobody(number: int) -> object:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(NoHomeError, match="no home folder") as caught:
        expand_home(path)
    assert isinstance(caught.value, OSError)
    assert caught.value.strerror
    assert caught.value.filename == os.fspath(path)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
