"""What a GGUF file says of itself is read without llama.cpp, and what is no such file is told from one."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.fake_llama import FIELDS, TEMPLATE, field_of, gguf_bytes, gguf_file
from lee_llm_router.providers.llama_cpp.gguf import GGUFError, GGUFHeader, read_header


def read(data: bytes, folder: Path) -> GGUFHeader:
    path = folder / "model.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return read_header(path)


@pytest.mark.parametrize("version", [2, 3])
def test_a_header_says_what_the_model_is(tmp_path: Path, version: int) -> None:
    path = gguf_file(tmp_path, version=version)
    header = read_header(path)
    assert (header.architecture, header.name, header.context_length) == ("llama", "Tiny", 2048)
    assert (header.vocabulary, header.chat_template, header.size) == (3, TEMPLATE, path.stat().st_size)
    assert header.number("block_count") == 2
    assert header.number("attention.head_count_kv") == 2, "of a list, one for each layer, the largest"
    assert header.number("no_such_thing") == 0


def test_fields_of_other_types_are_read_past(tmp_path: Path) -> None:
    """Numbers of every kind, empty and long lists: what follows them is still found."""
    more = [
        field_of("a", 1.5, "f32"), field_of("b", True, "bool"), field_of("c", [-1, 2], "i8"), field_of("d", []),
        field_of("e", list(range(10_000))), field_of("f", ["x"] * 100), field_of("g", 2**40, "u64"),
    ]  # fmt: skip
    header = read(gguf_bytes(more=[*more, field_of("last", "here")]), tmp_path)
    assert header.fields["last"] == "here"
    assert header.lengths["e"] == 10_000 and header.lengths["f"] == 100
    assert header.fields["c"] == [-1, 2] and header.fields["g"] == 2**40


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"GG", "has 2 bytes"),
        (b"hello world", "begins with b'hell'"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"lmgg" + bytes(50), "older format"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(50), "GGUF version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(50), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60), "cannot be right"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "cannot be right"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**63), "cannot be right"),
        (gguf_bytes(tensors=0), "holds no tensors"),
        (gguf_bytes({}), "architecture"),
        (gguf_bytes(more=[struct.pack("<Q", 1) + b"x" + struct.pack("<I", 77)]), "type 77"),
        (gguf_bytes(more=[struct.pack("<Q", 1) + b"x" + struct.pack("<IIQ", 9, 9, 1)]), "elements of the type 9"),
        (gguf_bytes(more=[struct.pack("<Q", 1) + b"x" + struct.pack("<IIQ", 9, 8, 2**61)]), "is cut"),
        (gguf_bytes()[:-1], "is cut"),
    ],
)
def test_what_is_no_model_is_told(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(GGUFError, match=said.replace("(", r"\(")):
        read(data, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("llama.block_count", 0, "u32"),
        ("llama.context_length", 0, "u32"),
        ("llama.context_length", 1, "u32"),
        ("llama.context_length", 2**32 - 1, "u32"),
        ("llama.embedding_length", 2**40, "u64"),
        ("llama.attention.layer_norm_rms_epsilon", -1.0, "f32"),
        ("llama.attention.layer_norm_rms_epsilon", float("nan"), "f32"),
        ("llama.rope.freq_base", float("inf"), "f32"),
    ],
)
def test_numbers_over_which_llama_cpp_ends_the_process_are_refused(
    tmp_path: Path, name: str, value: float, kind: str
) -> None:
    fields = {key: one for key, one in FIELDS.items() if key != name}
    with pytest.raises(GGUFError, match=f"cannot be right: {name} is"):
        read(gguf_bytes(fields, more=[field_of(name, value, kind)]), tmp_path)


def test_a_file_that_was_cut_anywhere_is_none(tmp_path: Path) -> None:
    data = gguf_bytes()
    for length in range(4, len(data)):
        with pytest.raises(GGUFError):
            read(data[:length], tmp_path)


@given(st.lists(st.tuples(st.integers(0, len(gguf_bytes()) - 1), st.integers(0, 255)), max_size=8))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(gguf_bytes())
    for place, value in changes:
        data[place] = value
    try:
        header = read(bytes(data), tmp_path_factory.mktemp("damaged"))
    except GGUFError as error:
        assert str(error)
    else:
        assert header.architecture
        assert all(header.number(name.partition(".")[2]) >= 0 for name in FIELDS)


def test_folders_devices_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="folder"):
        read_header(tmp_path)
    with pytest.raises(GGUFError, match="not a regular file"):
        read_header(Path(os.devnull))
    for path in (tmp_path / "none.gguf", Path("a\0b")):
        with pytest.raises(OSError):
            read_header(path)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = gguf_file(tmp_path)
    assert read_header(path).name == "Tiny"
    other = gguf_file(tmp_path, "other.gguf", fields={**FIELDS, "general.name": "Second"})
    os.replace(other, path)
    assert read_header(path).name == "Second"
