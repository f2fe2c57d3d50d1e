"""Files and folders that an untrusted program has left: reading never blocks, and removing always ends."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lee_llm_router._util.folder_removal import remove_folder
from lee_llm_router._util.regular_files import read_regular_file


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        # A path of a socket is short, so it is bound from its folder.
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize("limit", [3, 4, 1000])
def test_a_regular_file_is_read(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular_file(path, limit) == b"abc" == read_regular_file(link, limit)


@pytest.mark.parametrize(
    "put",
    [
        os.mkfifo,
        _socket,
        os.mkdir,
        lambda path: os.symlink("/dev/zero", path),
        lambda path: os.symlink("/dev/tty", path),
        lambda path: os.symlink(path, path),
        lambda path: path.write_bytes(b"x" * 101),
        lambda path: None,
    ],
    ids=["fifo", "socket", "folder", "endless device", "terminal", "loop", "too large", "missing"],
)
def test_anything_else_is_an_error_at_once(tmp_path: Path, put: Callable[[Path], None]) -> None:
    """Not one of them is waited for."""
    path = tmp_path / "file"
    put(path)
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(OSError) as caught:
        read_regular_file(path, 100)
    assert caught.value.strerror
    assert len(os.listdir("/dev/fd")) == before


def test_a_link_is_followed_only_if_wanted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("secret")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError):
        read_regular_file(tmp_path / "link", 100, follow=False)


def _nest(top: Path, names: list[str], mode: int = 0o755) -> None:
    """Create folders inside each other, deeper than a path may be long."""
    here = os.open(top, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
        os.fchmod(here, mode)
        os.close(here)
        here = inner
    os.close(here)


@pytest.mark.parametrize("depth", [1, 40, sys.getrecursionlimit() + 100])
@pytest.mark.parametrize("mode", [0o500])
def test_a_folder_of_any_depth_is_removed(tmp_path: Path, depth: int, mode: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    _nest(root, ["d"] * depth, mode)
    before = len(os.listdir("/dev/fd"))
    assert remove_folder(root)
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/dev/fd")) == before


def test_a_wide_and_deep_tree_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for a in range(5):
        for b in range(5):
            (root / f"a{a}" / f"b{b}" / "c").mkdir(parents=True)
            (root / f"a{a}" / f"b{b}" / "c" / "file").touch()
        _nest(root / f"a{a}", ["n" * 200] * 50)
    assert remove_folder(root)


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "link").symlink_to(kept)
    (root / "in" / "link").symlink_to(kept)
    (root / "in" / "loop").symlink_to("..")
    os.mkfifo(root / "in" / "fifo")
    assert remove_folder(root)
    assert (kept / "file").exists()


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "root").symlink_to(kept)
    assert not remove_folder(tmp_path / "root")
    assert (kept / "file").exists()


def test_a_missing_folder_is_gone(tmp_path: Path) -> None:
    assert remove_folder(tmp_path / "none")
