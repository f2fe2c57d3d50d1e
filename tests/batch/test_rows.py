"""What a row may look like, and what becomes of one that is none: it is told with its line, and the batch goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.batch_support import Asked, lines, texts
from helpers.servers import open_descriptors
from lee_llm_router import ConfigError
from lee_llm_router.batch.rows import BatchRow, BrokenRow, RowForm
from lee_llm_router.batch.template import PromptTemplate


def ask(rows: Any, out: Path, **options: Any) -> Asked:
    asked = Asked()
    with asked.router() as router:
        router.batch(rows, out=out, **options)
    return asked


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_row_is_a_prompt_messages_or_an_object(out: Path) -> None:
    messages = [{"role": "system", "content": "brief"}, {"role": "user", "content": "two"}]
    rows = [
        "one",
        messages,
        {"id": 3, "prompt": "three"},
        {"id": "4", "messages": [{"role": "user", "content": "four"}]},
    ]
    asked = ask(rows, out)
    assert sorted(asked.prompts) == ["four", "one", "three", "two"]
    assert {"3": "THREE", "4": "FOUR"}.items() <= texts(out).items()


def test_a_row_may_have_options_metadata_and_instructions_of_its_own(out: Path) -> None:
    row = {"prompt": "p", "system": "own", "options": {"temperature": 0.5}, "metadata": {"customer": 7}, "other": 1}
    asked = ask([row, "q"], out, system="shared", temperature=0.1, metadata={"job": "j"})
    by_prompt = {request.messages[-1]["content"]: request for request in asked.requests}
    assert [message["content"] for message in by_prompt["p"].messages] == ["own", "p"]
    assert (by_prompt["p"].temperature, by_prompt["q"].temperature) == (0.5, 0.1)
    assert by_prompt["q"].messages[0] == {"role": "system", "content": "shared"}
    ids = {line["text"]: line["id"] for line in lines(out)}
    for prompt, more in (("p", {"customer": 7}), ("q", {"job": "j"})):
        metadata = by_prompt[prompt].metadata
        assert metadata["row"] == ids[prompt.upper()] and metadata["batch"] and metadata.items() >= more.items()


def test_rows_without_an_id_get_their_hash_and_equal_ones_a_number(out: Path) -> None:
    ask(["same", "other", "same", "same"], out)
    ids = [line["id"] for line in lines(out) if line["text"] == "SAME"]
    first = min(ids, key=len)
    assert sorted(ids) == sorted([first, f"{first}-2", f"{first}-3"])


def test_a_template_takes_fields_and_nothing_else(out: Path) -> None:
    """Neither attributes nor what a field says are read as a template."""
    rows = [{"text": "{language} {text.__class__}", "language": "de", "n": {"a": 1}}, {"text": "x"}, {"text": None}]
    asked = ask(rows, out, template="{{to}} {language}: {text} {n}")
    assert asked.prompts == ['{to} de: {language} {text.__class__} {"a":1}']
    assert ["language" in line["message"] for line in lines(out.with_name("out.errors.jsonl"))] == [True, True]


@pytest.mark.parametrize(
    "template", ["no field", "{}", "{0.a}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a", "}", "{a[}"]
)
def test_a_template_that_is_none_is_refused_before_anything_is_asked(template: str, out: Path) -> None:
    asked = Asked()
    with asked.router() as router, pytest.raises(ConfigError, match="template"):
        router.batch([{"a": "x"}], out=out, template=template)
    assert not asked.prompts and not out.exists()


ODD_LINES: list[tuple[bytes, str | None]] = [
    (b'\xef\xbb\xbf{"id":"bom","prompt":"a"}\r\n', None),
    (b"\n", "blank"),
    (b"   \t\r\n", "blank"),
    (b'"a text"\n', None),
    (b'{"prompt": \n', "not JSON"),
    (b'{"prompt":"a\x00b"}\n', "not JSON"),
    (b'{"prompt":"a\\u0000b"}\n', None),
    (b'{"prompt":"\xff"}\n', "UTF-8"),
    (b'{"promt":"a"}\n', "neither prompt nor messages"),
    (b'{"prompt":""}\n', "empty"),
    (b'{"prompt":5}\n', "a number"),
    (b'{"prompt":"a","messages":[]}\n', "both"),
    (b'{"messages":"a"}\n', "not a list"),
    (b'{"messages":[]}\n', "empty"),
    (b"null\n", "null"),
    (b"17\n", "a number"),
    (b'{"id":true,"prompt":"a"}\n', "id is neither"),
    (b'{"id":1.5,"prompt":"a"}\n', "id is neither"),
    (b'{"id":"\\ud800","prompt":"a"}\n', "half a character"),
    (b'{"id":"' + b"i" * 513 + b'","prompt":"a"}\n', "longer"),
    (b'{"prompt":"a","temperature":0}\n', "options"),
    (b'{"prompt":"a","options":{"role":"x"}}\n', "not an option"),
    (b'{"prompt":"a","options":[]}\n', "not an object"),
    (b'{"id":"bom","prompt":"c"}\n', "earlier row"),
    (b"[" * 100_000 + b"\n", "not JSON"),
    (b'{"id":"big","prompt":"' + b"x" * 10_000_000 + b'"}\n', None),
    (b'{"id":"half","prompt":"\\ud800"}\n', "surrogate"),
    (b'{"id":"wrong","prompt":"a","options":{"temprature":1}}\n', "temprature"),
    (b'{"id":"last","prompt":"z"}', None),
]


def test_every_odd_line_is_an_answer_or_a_failure_with_its_line(tmp_path: Path, out: Path) -> None:
    """Broken JSON, bytes that are no text, CRLF, a byte order mark, 10 MB on a line: none of it ends the batch."""
    asked = ask(write(tmp_path / "in.jsonl", b"".join(line for line, _ in ODD_LINES)), out)
    failures = {line["line"]: line["message"] for line in lines(out.with_name("out.errors.jsonl"))}
    for number, (line, reason) in enumerate(ODD_LINES, 1):
        if reason in (None, "blank"):
            assert number not in failures, (line[:60], failures.get(number))
        else:
            assert reason in failures[number], line[:60]
    assert len(lines(out)) == len(asked.prompts) == sum(reason is None for _, reason in ODD_LINES)


def test_a_table_has_a_column_for_each_field(tmp_path: Path, out: Path) -> None:
    """Cells may hold newlines, quotes and long documents; a row of another width is told with its line."""
    table = write(
        tmp_path / "in.csv",
        "\ufeffid,text,language\r\n"
        'a,"two\nlines, ""quoted""",de\r\n'
        "b,short\r\n"
        "\r\n"
        f"c,{'x' * 200_000},fr\r\n"
        "d,caf\u00e9,it\r\n",
    )
    ask(table, out, template="{language}: {text}")
    assert texts(out) == {
        "a": 'DE: TWO\nLINES, "QUOTED"', "c": f"FR: {'X' * 200_000}", "d": "IT: CAF\u00c9",
    }  # fmt: skip
    assert [(line["line"], line["message"]) for line in lines(out.with_name("out.errors.jsonl"))] == [
        (4, "it has 2 cells, but the header 3")
    ]


def test_a_table_may_hold_options_and_messages_as_json(tmp_path: Path, out: Path) -> None:
    messages = '"[{""role"":""user"",""content"":""hi""}]"'
    table = write(tmp_path / "in.tsv", f'messages\toptions\n{messages}\t"{{""seed"": 3}}"\n{messages}\tbroken\n')
    asked = ask(table, out)
    assert [request.seed for request in asked.requests] == [3]
    assert [line["line"] for line in lines(out.with_name("out.errors.jsonl"))] == [3]


def test_a_text_file_has_a_prompt_a_line(tmp_path: Path, out: Path) -> None:
    asked = ask(write(tmp_path / "in.txt", "one\r\n\n two\n"), out, template="Say {it}")
    assert sorted(asked.prompts) == ["Say  two", "Say one"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "", "no column 'prompt'"),
        ("in.csv", "a,b\n1,2\n", "no column 'prompt'; its columns: a, b"),
        ("in.csv", "a,a\n1,2\n", "the same name"),
        ("in.csv", '"a\n', "header cannot be read"),
        ("in.jsonl", '{"prompt":"a"}'.encode("utf-16"), "UTF-16"),
        ("in.json", '[\n  {"prompt": "a"}\n]\n', "one JSON document over several lines"),
        ("in.json", '[{"prompt": "a"},\n{"prompt": "b"}]\n', "its own line"),
        ("in.jsonl", '{\n  "prompt": "a"\n}\n', "one JSON document"),
    ],
)
def test_a_file_that_is_no_table_of_rows_is_refused(
    name: str, content: bytes | str, message: str, tmp_path: Path, out: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(write(tmp_path / name, content), out)
    assert not out.exists()


@pytest.mark.parametrize("rows", [{"a": 1}, b"bytes", 5, None])
def test_what_has_no_rows_is_refused(rows: Any, out: Path) -> None:
    with pytest.raises(ConfigError, match="rows must be"):
        ask(rows, out)


def test_a_file_that_is_not_there_is_said(tmp_path: Path, out: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        ask(tmp_path / "missing.jsonl", out)
    with pytest.raises(ConfigError, match="Is a directory"):
        ask(tmp_path, out)


def test_a_row_crosses_to_another_process_as_plain_values() -> None:
    row = RowForm(PromptTemplate("say {a}"), "brief").row({"id": "x", "a": "b", "options": {"seed": 1}}, 4)
    assert isinstance(row, BatchRow)
    again = BatchRow.from_fields(row.as_fields())
    assert (again.id, again.messages, again.options, again.line) == (row.id, row.messages, row.options, 4)
    assert again.digest == row.digest


def test_a_mapping_that_raises_is_a_broken_row() -> None:
    class Angry(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise RuntimeError("no")

    assert RowForm().row(Angry(prompt="a"), 3) == BrokenRow(line=3, reason="it cannot be read (RuntimeError)")


def test_a_folder_in_place_of_a_file_is_said_and_left_closed(tmp_path: Path, out: Path) -> None:
    before = open_descriptors()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        ask(tmp_path, out, row_format="jsonl")
    assert open_descriptors() == before
