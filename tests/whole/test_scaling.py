"""The simulation of docs/scale.md: many routers, one vendor's limit, a clock that costs no time."""

from __future__ import annotations

import re
import subprocess
import sys

from helpers.documents import ROOT
from scaling.play import SETUPS, play
from scaling.vendor import Vendor


def test_the_vendor_answers_its_limit_in_any_minute_and_says_when_to_come_back() -> None:
    vendor = Vendor(2)
    assert [vendor.refusal(now) for now in (0.0, 10.0, 20.5, 59.9, 60.0, 60.5, 70.0)] == [
        None, None, 40.0, 1.0, None, 10.0, None,
    ]  # fmt: skip


def test_routers_that_share_a_limit_use_all_of_it_and_are_hardly_refused() -> None:
    """Divided by hand, some of the limit stays unused; without a limit stated, more requests are refused."""
    alone, divided, leases = (play(setup, 10, rpm=120, minutes=2) for setup in ("alone", "divided", "leases"))
    assert leases.refused <= 0.02 and leases.unused <= 0.02
    assert alone.refused > 0.05 and divided.unused > 0.1


def test_waiting_calls_do_not_have_the_shared_state_asked_without_a_pause() -> None:
    """At the limit, routers ask when something has become free; with few of them, hardly more often than they send."""
    assert play("leases", 3, rpm=240, minutes=2).exchanges < 10


def test_the_same_seed_gives_the_same_figures() -> None:
    assert play("alone", 5, rpm=60, minutes=2) == play("alone", 5, rpm=60, minutes=2)


def test_the_quick_form_of_the_script_prints_a_row_for_each_setup() -> None:
    command = [sys.executable, str(ROOT / "docs/draw_scale.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = done.stdout.splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(SETUPS.values())
    assert all(len(re.findall(r"\d%", row)) == 5 for row in rows)
