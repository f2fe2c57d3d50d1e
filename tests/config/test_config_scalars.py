"""Numbers and booleans are read as YAML 1.2 reads them: plain, in quotes and from the environment alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.config_support import findings, role
from lee_llm_router.config import load_config
from lee_llm_router.errors import ConfigError

NUMBERS = {
    "2.5e1": 25.0, "25e0": 25.0, "25E+0": 25.0, "+2.5E1": 25.0, ".25e2": 25.0, "25.": 25.0, "25.e0": 25.0,
    "250e-1": 25.0, "25": 25, "25.0": 25.0, "2_5": 25, "0x19": 25,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("either_parser")


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("how", ["plain", "single", "double", "variable", "default", "spaces", "return", "newline"])
def test_a_number_loads_however_it_is_written(text: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exponents need no dot and no sign; quotes do not matter; nor does white space around a variable's value."""
    value = {"variable": text, "spaces": f" {text}\t", "return": f"{text}\r", "newline": f"{text}\r\n"}.get(how, "")
    monkeypatch.setenv("SCALAR", value)
    forms = {"plain": text, "single": f"'{text}'", "double": f'"{text}"', "default": f'"${{SCALAR:-{text}}}"'}
    written = forms.get(how, '"${SCALAR}"')
    found = load_config(role(f"timeout: {written}, max_tokens: {written}")).roles["r"]
    assert (found.timeout, found.max_tokens) == (NUMBERS[text], 25)


@pytest.mark.parametrize("written", ["true", "'true'", '"True"', "'yes'", "on", '" TRUE "', '"${SCALAR}"', "'on'"])
def test_a_boolean_loads_however_it_is_written(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALAR", "true\r")
    assert load_config(role(f"retry_effects: {written}")).roles["r"].retry_effects is True


@pytest.mark.parametrize("written", ["1e", "e3", "1e-", "--1", "1.2.3", "1e3s", "one", "'0x'", "1e3 4", "'1 000'"])
def test_what_is_no_number_is_a_finding(written: str) -> None:
    assert findings(role(f"timeout: {written}")) == ["6:14: llm.roles.r.timeout: a number is wanted"]


def test_where_text_is_wanted_quotes_keep_it_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a number or a boolean that is wanted is read from text; keys are text anyway."""
    monkeypatch.setenv("SCALAR", "12")
    config = load_config(role("model: '1e3', reasoning_effort: '${SCALAR}', metadata: {1e3: '1e3', b: 1e3, c: 'yes'}"))
    found = config.roles["r"]
    assert (found.model, found.reasoning_effort) == ("1e3", "12")
    assert found.metadata == {"1e3": "1e3", "b": 1000.0, "c": "yes"}


@pytest.mark.parametrize(
    "written", ["1:59" + ":59" * 200, "9" * 500, "0x" + "f" * 500, "1." + "0" * 500, "1" + "_1" * 300]
)
def test_a_number_too_long_to_be_one_is_not_computed(written: str) -> None:
    """The time to read it grows with the square of its length."""
    assert len(findings(role(f"timeout: {written}"))) == 1
    assert len(findings(role(f"timeout: '{written}'"))) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("w: {deadline: ${LIMIT}}", 'needs quotes: "${NAME}"'),
        ("w: {deadline: ${LIMIT:-20}, model: 'b'}", 'needs quotes: "${NAME}"'),
        ("w: {\n   deadline: ${LIMIT}}", 'needs quotes: "${NAME}"'),
        ("w: [${A}, b]", 'needs quotes: "${NAME}"'),
        ("w: @hf/model", "text that begins with @ needs quotes"),
        ("w: `date`", "text that begins with ` needs quotes"),
        ("w: %d", "text that begins with % needs quotes"),
        ("w: note: see below", "colon and a space"),
        ("\u00a0\u00a0w: 1", "U+00A0"),
        ("w:\u2003{a: 1}\n  b: 1", "U+2003"),
        ("\u200bw: 1", "U+200B"),
        ("\ufeffw: 1", "YAML does not allow"),
    ],
)  # fmt: skip
def test_a_syntax_error_says_what_is_likely_wrong(line: str, said: str) -> None:
    """The parser's own words tell what it did not find, and not why."""
    with pytest.raises(ConfigError) as caught:
        load_config(f"llm:\n  {line}\n")
    assert said in str(caught.value)


def test_quotes_around_a_reference_inside_braces_are_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALAR", "7")
    text = 'llm:\n  providers: {m: {type: mock}}\n  roles: {r: {provider: m, timeout: "${SCALAR}"'
    assert load_config(text + "}}\n").roles["r"].timeout == 7
    assert "needs quotes" not in findings(text + ", }, ]}\n")[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(role().encode(encoding))
    assert findings(path) == ["UTF-16 text, not UTF-8: save it as UTF-8"]
