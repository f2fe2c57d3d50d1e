"""Mistakes in the settings of a `command` provider are findings when a configuration is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lee_llm_router import ConfigError, LeeLLMRouter, load_config
from lee_llm_router.providers.command.json_path import MISSING, documents_in, parse_path, value_at
from lee_llm_router.providers.command.template import PLACEHOLDERS, TemplateError, check_template, fill, fill_words


def config(**settings: Any) -> dict[str, Any]:
    provider = {"type": "command", "argv": ["python3"], **settings}
    return {"llm": {"providers": {"p": provider}, "roles": {"r": {"provider": "p", "model": "m"}}}}


def finding(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(config(**settings))
    return str(caught.value)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("{modle}", "unknown placeholder 'modle' (did you mean 'model'?)"), ("{Model}", "did you mean 'model'"),
        ("{output}", "'output_file'"), ("{prompt}", "'prompt_file'"), ("{", "brace twice"), ("}", "brace twice"),
        ("{}", "brace twice"), ('{"a": 1}', "brace twice"), ("a{b", "brace twice"), ("{{x}", "brace twice"),
    ],
)  # fmt: skip
def test_a_wrong_placeholder_is_a_finding_with_a_suggestion(word: str, said: str) -> None:
    found = finding(argv=["python3", "ok", word])
    assert "argv[2]" in found
    assert said in found
    assert said in finding(argv=["python3"], set_env={"A": word})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"argv": []}, "argv"), ({"argv": ["{model}"]}, "begins with the program"), ({"argv": [["python3"]]}, "begins"),
        ({"argv": "python3 x"}, "argv"), ({"output": "json"}, "needs answer_path"),
        ({"output": "file"}, "{output_file} need each other"),
        ({"argv": ["python3", "{output_file}"]}, "need each other"),
        ({"answer_path": "a..b"}, "answer_path"), ({"answer_path": "a["}, "answer_path"),
        ({"error_path": ".a"}, "error_path"), ({"usage_paths": {"prompt": "a"}}, "unknown key"),
        ({"failures": [{"type": "QUOTA"}]}, "exit_code"), ({"failures": [{"exit_code": 1, "type": "QUOTAS"}]}, "QUOTA"),
        ({"failures": [{"stderr": "(", "type": "AUTH"}]}, "stderr"),
        ({"failures": [{"exit_code": 1, "type": "CANCELLED"}]}, "cannot fail like that"),
        ({"failures": [{"exit_code": 0, "type": "AUTH"}]}, "among success_exits"),
        ({"failures": [{"error": "x", "type": "AUTH"}]}, "error_path"),
        ({"failures": [{"exit_code": 999, "type": "AUTH"}]}, "255"),
        ({"api_key_file": "k"}, "key_variable"), ({"key_variable": "K"}, "api_key_env"),
        ({"effects": "all"}, "effects"),
        ({"set_env": {"1A": "x"}}, "set_env"), ({"success_exits": []}, "success_exits"), ({"comand": "x"}, "comand"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_findings(settings: dict[str, Any], said: str) -> None:
    assert said in finding(**settings)


def test_all_that_does_not_fit_together_is_said_at_once() -> None:
    found = finding(output="json", failures=[{"exit_code": 0, "type": "AUTH"}], key_variable="K")
    assert "needs answer_path" in found
    assert "success_exits" in found
    assert "key_variable" in found


def test_the_program_and_its_files_may_stand_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(f"#!{sys.executable} -IS\nimport sys; print(open(sys.argv[1]).read())")
    (tmp_path / "answer").chmod(0o755)
    (tmp_path / "data.txt").write_text("beside")
    (tmp_path / "llm.yaml").write_text(
        "llm:\n"
        "  providers: {p: {type: command, argv: [./answer, '{config_folder}/data.txt']}}\n"
        "  roles: {r: {provider: p, model: m}}\n"
        "  trace: {enabled: false}\n"
    )
    with LeeLLMRouter(tmp_path / "llm.yaml") as router:
        assert router.complete("r", "hi").text == "beside"


def test_a_role_setting_that_no_word_passes_on_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    written = config()
    written["llm"]["roles"]["r"]["temperature"] = 0.1
    load_config(written)
    assert "temperature: p does not support this" in caplog.text


@given(st.text(st.sampled_from("{}ab "), max_size=12), st.text(max_size=5))
def test_a_checked_template_can_be_filled(word: str, value: str) -> None:
    """What has no placeholder comes out with single braces; nothing else is a template."""
    try:
        check_template(word)
    except TemplateError:
        return
    assert fill(word, {}) == word.replace("{{", "{").replace("}}", "}")
    assert fill(f"{word}{{model}}", {"model": value}) == word.replace("{{", "{").replace("}}", "}") + value


@given(st.dictionaries(st.sampled_from(PLACEHOLDERS), st.text(max_size=9), max_size=4))
def test_a_value_is_never_filled_in_again_nor_split(values: dict[str, str]) -> None:
    words = [f"-{{{name}}}" for name in values]
    assert fill_words(words, values) == [f"-{value}" for value in values.values()]


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_a_finding(text: str) -> None:
    try:
        steps = parse_path(text)
    except ValueError:
        return
    assert value_at({"a": [1]}, steps) is MISSING or isinstance(value_at({"a": [1]}, steps), (int, list, dict))


@given(st.text(max_size=60))
def test_any_output_can_be_read(text: str) -> None:
    assert isinstance(documents_in(text), list)
