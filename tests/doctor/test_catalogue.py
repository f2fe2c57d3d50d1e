"""The table of checks: every id has a page, every id in the code is in the table, and wrong ids are told of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import lee_llm_router
from lee_llm_router.doctor.catalogue import catalogue, check_ids, explanation
from lee_llm_router.doctor.file_checks import ID_OF_KIND
from lee_llm_router.errors import ConfigError
from lee_llm_router.settings.mistakes import FindingKind

PACKAGE = Path(lee_llm_router.__file__).parent
ROOT = PACKAGE.parents[1]


def test_the_page_of_checks_is_that_of_the_table() -> None:
    """`docs/checks.md` is written by `docs/list_checks.py`."""
    done = subprocess.run([sys.executable, ROOT / "docs/list_checks.py", "--check"], check=False)
    assert done.returncode == 0, "run python docs/list_checks.py"


def test_every_check_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    """A check without a page could not be looked up, and a page without a check would be found in vain."""
    used = {found for path in PACKAGE.rglob("*.py") for found in re.findall(r"\"(LLR\d{3})\"", path.read_text())}
    assert used == set(catalogue())


def test_each_kind_of_the_loaders_findings_has_an_id() -> None:
    assert set(ID_OF_KIND) == set(get_args(FindingKind))
    assert len(set(ID_OF_KIND.values())) == len(ID_OF_KIND)


def test_every_page_has_a_cause_and_a_cure() -> None:
    for kind in catalogue().values():
        assert kind.title and kind.cause.endswith(".") and kind.cure.endswith("."), kind.id


def test_a_page_is_printed_for_an_id_or_for_all_that_begin_so() -> None:
    assert explanation("llr301").startswith("LLR301  key not set  (keys, error)\n\n  cause  ")
    assert explanation("LLR3").count("  cause  ") == sum(one.startswith("LLR3") for one in catalogue())


@pytest.mark.parametrize("word", ["LLR999", "301", "LLX301", "", "LLR3011", "'LLR301'"])
def test_an_id_that_is_none_is_an_error_that_names_a_near_one(word: str) -> None:
    with pytest.raises(ConfigError, match="there is no check"):
        check_ids([word])


def test_near_ids_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'LLR3"):
        check_ids(["LLR30l"])
