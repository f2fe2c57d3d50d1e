"""What a run of a program that failed means: by its words, by rules, by its exit code."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.agent_calls import KEY, complete, failure
from helpers.command_support import failing, printing, provider
from lee_llm_router.errors import FailureType as F
from lee_llm_router.errors import LLMTimeoutError, ProviderError
from lee_llm_router.providers.command import CommandConfig, CommandProvider

pytestmark = pytest.mark.usefixtures("machine")


def test_secrets_are_masked_in_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_TOKEN", f"other-{KEY}")
    subject = failing(1, f"bad key {KEY}, other-{KEY}", env=["OTHER_TOKEN"], api_key_env="LEE_TEST_KEY")
    assert KEY not in str(failure(subject))


def test_a_flood_is_ended() -> None:
    subject = provider("while True: print('x' * 999)", max_output_bytes=4096)
    assert failure(subject).failure_type is F.INVALID_RESPONSE


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    code = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-IS', '-c', 'import time; time.sleep(999)'], start_new_session=True); "
        "print('half', flush=True); time.sleep(999)"
    )
    assert isinstance(failure(provider(code, term_grace=0), timeout=1.0), LLMTimeoutError)


def test_a_missing_program_is_a_lasting_failure() -> None:
    error = failure(CommandProvider("mine", CommandConfig(argv=["no-such-program-at-all"])))
    assert isinstance(error, ProviderError)
    assert error.final
    assert not error.sent


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "wait"),
    [
        (1, "", F.PROVIDER_ERROR, None),
        (3, "Traceback ...\nError: 429 rate limit exceeded, try again in 20s", F.RATE_LIMIT, 20.0),
        (1, "insufficient_quota: you exceeded your current quota", F.QUOTA, None),
        (1, "PermissionError: [Errno 13] Permission denied: '/x'", F.PROVIDER_ERROR, None),
        (1, "FileNotFoundError: model.txt not found", F.PROVIDER_ERROR, None),
        (127, "sh: not found", F.PROVIDER_ERROR, None),
        (137, "", F.PROVIDER_ERROR, None),
    ],
)
def test_a_failure_without_a_rule_is_named_by_its_words(code: int, stderr: str, kind: F, wait: float | None) -> None:
    """On stderr only words of limits are believed: others may speak of this machine."""
    error = failure(failing(code, stderr))
    assert (error.failure_type, error.retry_after, error.status_code) == (kind, wait, code)


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ([{"exit_code": 3, "type": "QUOTA"}], F.QUOTA),
        ([{"exit_code": 4, "type": "QUOTA"}, {"stderr": r"boom \d+", "type": "AUTH"}], F.AUTH),
        ([{"exit_code": 3, "stderr": "no", "type": "QUOTA"}, {"exit_code": 3, "type": "OVERLOADED"}], F.OVERLOADED),
        ([{"stdout": "^out$", "stderr": "boom", "type": "CONTENT_FILTER"}], F.CONTENT_FILTER),
        ([{"stderr": "never", "type": "QUOTA"}], F.PROVIDER_ERROR),
    ],
)
def test_the_first_rule_that_fits_names_a_failure(rules: list[Any], kind: F) -> None:
    assert failure(failing(3, "boom 77", "out", failures=rules)).failure_type is kind


def test_a_rule_may_say_how_long_to_wait_and_that_it_is_final() -> None:
    rule = {"exit_code": 3, "type": "QUOTA", "retry_after": 90, "final": True}
    error = failure(failing(3, failures=[rule]))
    assert (error.retry_after, error.final) == (90.0, True)
    by_words = failure(failing(3, "again in 30 s", failures=[{"exit_code": 3, "type": "QUOTA"}]))
    assert by_words.retry_after == 30.0


def test_an_error_printed_as_an_answer_is_known_by_a_rule() -> None:
    subject = failing(0, stdout="ERROR: out of credit", failures=[{"stdout": "^ERROR", "type": "QUOTA"}])
    assert failure(subject).failure_type is F.QUOTA
    rules = [{"stderr": "rate limit", "type": "RATE_LIMIT"}, {"exit_code": 3, "stdout": "hello", "type": "AUTH"}]
    fine = failing(0, "rate limit, retrying", "hello", failures=rules)
    assert complete(fine).text == "hello"


def test_an_error_in_the_json_is_a_failure_whatever_the_exit_code() -> None:
    document = {"t": "half", "error": {"message": "Invalid API key provided"}}
    settings: dict[str, Any] = {"output": "json", "answer_path": "t", "error_path": "error.message"}
    error = failure(printing(document, **settings))
    assert error.failure_type is F.AUTH
    assert error.message == "Invalid API key provided"
    assert complete(printing({"t": "x", "error": None}, **settings)).text == "x"
    by_rule = printing(document, failures=[{"error": "API key", "type": "MODEL_NOT_FOUND"}], **settings)
    assert failure(by_rule).failure_type is F.MODEL_NOT_FOUND


def test_other_exit_codes_may_be_good() -> None:
    assert complete(failing(7, stdout="x", success_exits=[0, 7])).text == "x"
    assert complete(failing(7, stdout="x", success_exits=7)).text == "x"
