"""Anchors, merges, plain tags and odd words of YAML load; what would multiply, run or mislead is a finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.config_support import findings, role
from lee_llm_router.config import load_config


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "1:1: llm: missing: the file is empty"),
        (b"# only a comment\n", "1:1: llm: missing: the file is empty"),
        (b"llm:\n  \xff: 1\n", "2:3: not UTF-8 text (a binary file?)"),
        ("é: é\n".encode() + b"\xe9\n", "2:1: not UTF-8 text (a binary file?)"),
        (b"\x7fELF\x00\x01", "1:1: a character that YAML does not allow (a binary file?)"),
        (b"llm:\n  a: \x00\n", "2:6: a character that YAML does not allow (a binary file?)"),
        (role().encode("utf-16"), "UTF-16 text, not UTF-8: save it as UTF-8"),
        (b"a: 1\n" * 200_001, "larger than 1,000,000 bytes"),
        (b"x" * 10_000_000, "larger than 1,000,000 bytes"),
        (b"llm:\n\ta: 1\n", "2:1: a tab: indent with spaces"),
        (b"llm: {a: 1\n", "2:1: not YAML: "),
        (b"llm: 'x\n", "2:1: not YAML: "),
        (b"llm: @x\n", "1:6: not YAML: "),
        (b"%YAML 9.9\n---\na: 1\n", "1:1: not YAML: "),
        (b"a: 1\n---\nb: 2\n", "2:1: a second document: only one is allowed"),
        (b"- 1\n", "1:1: llm: missing: a mapping with the key llm is wanted"),
        (b"42\n", "1:1: llm: missing: a mapping with the key llm is wanted"),
        (b"app: 1\n", "1:1: llm: the top key llm is missing"),
        (b"app: 1\nlmm: {}\n", "2:1: lmm: the top key llm is missing (did you mean 'llm'?)"),
        (b"providers: {}\nroles: {}\n", "1:1: llm: missing: put providers and roles under the key llm"),
        (b"app: 1\nroles: {}\n", "2:1: llm: missing: put roles under the key llm"),
        (b"llm:\n", "1:5: llm: a mapping is wanted"),
        (b"llm: [1]\n", "1:6: llm: a mapping is wanted"),
        (b"llm: text\n", "1:6: llm: a mapping is wanted"),
        (b"llm: {a: *nothing}\n", "1:10: an alias (*) of an anchor (&) that does not come before it"),
        (b"llm: &a [*a]\n", "1:10: an anchor (&) that contains itself"),
        (b"llm: &a {b: {c: *a}}\n", "1:17: an anchor (&) that contains itself"),
        (b"[" * 100_000, "1:101: nested deeper than 100 levels"),
        (b"".join(b" " * i + b"a:\n" for i in range(200)), "nested deeper than 100 levels"),
        (b"llm:\n" + b"  - \n" * 100_001, "more than 100,000 values"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_a_broken_file_is_one_finding_at_its_place(
    tmp_path: Path, content: bytes, said: str, either_parser: None
) -> None:
    """An empty, binary, huge, badly indented or endlessly nested file gives one finding, and no other exception."""
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    (found,) = findings(path)
    if "not YAML" in said or "deeper" in said or "100,000" in said:
        # Where exactly, and in which words, differs between PyYAML's two parsers.
        assert said.partition(": ")[2] in found
    else:
        assert found == said


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        ),
        "a: &a {x: 1}\n"
        + "".join(
            f"{name}: &{name} {{<<: [{','.join([f'*{before}'] * 10)}]}}\n"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        ),
    ],
    ids=["lists", "merges"],
)
def test_anchors_that_multiply_are_refused(text: str, either_parser: None) -> None:
    """Repeated values are counted before anything is built (the "billion laughs" attack)."""
    (found,) = findings(text + "llm: *j\n")
    assert "more than 100,000 values, counting what anchors repeat" in found


def test_anchors_that_nest_without_end_are_refused(either_parser: None) -> None:
    """Depth counts through aliases too."""
    chain = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 5000))
    assert "nested deeper than 100 levels" in findings(chain + "llm: *a4999\n")[0]


def test_plain_anchors_and_merge_keys_work(either_parser: None) -> None:
    """Defaults outside `llm` are merged in; written keys win over merged ones, earlier merges over later."""
    config = load_config("""\
x-a: &a {temperature: 0.1, seed: 1}
x-b: &b {temperature: 0.9, seed: 9, max_tokens: 5}
x-m: &m {type: mock}
llm:
  default_role: one
  providers: {p: *m, q: *m}
  roles:
    one: {<<: *a, provider: p, seed: 2}
    two:
      <<: [*a, *b]
      provider: q
""")
    one, two = config.roles["one"], config.roles["two"]
    assert (one.temperature, one.seed, one.max_tokens) == (0.1, 2, None)
    assert (two.temperature, two.seed, two.max_tokens) == (0.1, 1, 5)


def test_a_mistake_in_an_anchor_is_found_where_it_is_written(either_parser: None) -> None:
    """A mistake in an aliased value is reported at the alias; one inside it, or merged, where it is written."""
    text = "x: &bad hot\ny: &retry {attempts: 0}\nz: &z {top_p: 7}\n" + role(
        "temperature: *bad, retry: *retry,\n    <<: *z, <<: {stop: 5}"
    )
    assert findings(text) == [
        "2:22: llm.roles.r.retry.attempts: must be at least 1",
        "3:15: llm.roles.r.top_p: must be at most 1",
        "9:18: llm.roles.r.temperature: a number is wanted",
        "10:24: llm.roles.r.stop: a list is wanted",
    ]


@pytest.mark.parametrize("bad", ["<<: 5", "<<: [{seed: 1}, 5]", "<<: text"])
def test_a_merge_of_what_is_no_mapping_is_a_finding(bad: str) -> None:
    """`<<` takes mappings."""
    (found,) = findings(role(bad))
    assert "llm.roles.r.<<" in found.replace("['<<']", ".<<")
    assert found.endswith("<< takes a mapping or a list of mappings")


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.system ['true']", "!!python/name:os.system ''", "!include x", "!!binary aGk=",
     "!!set {a}",
     "!!omap []", "!!int [1]", "!foo {a: 1}"],
)  # fmt: skip
def test_tags_are_findings_and_run_nothing(value: str, either_parser: None) -> None:
    """Only the tags of plain values are allowed, and a finding does not show the tag."""
    assert findings(role(f"metadata: {value}")) == ["6:15: llm.roles.r.metadata: a tag, which is not allowed here"]


def test_plain_tags_are_read(either_parser: None) -> None:
    """The tags of YAML's plain values give values of their types."""
    config = load_config(role('model: !!str 5, temperature: !!float "1", seed: !!int 0x10, stop: !!seq [! a]'))
    found = config.roles["r"]
    assert (found.model, found.temperature, found.seed, found.stop) == ("5", 1.0, 16, ("a",))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("!!int abc", "not a whole number that can be read"),
        ("!!bool abc", "not a boolean that can be read"),
        ("!!float abc", "not a number that can be read"),
        ("0x_", "not a whole number that can be read"),
        ("9" * 5000, "not a whole number that can be read"),
    ],
)
def test_scalars_that_are_not_what_they_say_are_findings(value: str, said: str, either_parser: None) -> None:
    """YAML takes the value for a number, but Python cannot read it."""
    assert findings(role(f"seed: {value}")) == [f"6:11: llm.roles.r.seed: {said}"]


def test_dates_and_odd_words_are_text(either_parser: None) -> None:
    """Model names that look like dates stay text; so do YAML 1.1's `=` and `<<` as values."""
    config = load_config(role("model: 2024-08-06, stop: [=, <<, 2024-01-01 10:00:00]"))
    assert config.roles["r"].model == "2024-08-06"
    assert config.roles["r"].stop == ("=", "<<", "2024-01-01 10:00:00")


@pytest.mark.parametrize("key", ["1", "no", "~", "1.5", "? [a]\n    "])
def test_keys_that_are_no_text_are_findings(key: str, either_parser: None) -> None:
    """Keys that YAML reads as something other than text, such as a bare `no`, are reported."""
    text = f"llm:\n  providers: {{p: {{type: mock}}}}\n  roles:\n    r: {{provider: p}}\n    {key}: {{provider: p}}\n"
    column = 7 if key.startswith("?") else 5
    assert findings(text) == [f"5:{column}: llm.roles: a key must be text: put it in quotes"]
