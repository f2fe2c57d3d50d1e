"""How many examples the tests draw.

A test names how many it is worth. With LEE_EXAMPLES=all, as in `.ci/run`, as many are drawn. Other runs draw a quarter:
each run draws others, so what a rare example would show is seen by one of the next runs.
"""

from __future__ import annotations

import os

DRAWS_ALL = os.environ.get("LEE_EXAMPLES") == "all"
"""Whether this run draws all of them, and splits recorded streams at each byte."""
FEWEST = 20


def examples(wanted: int) -> int:
    """Return how many of the `wanted` examples this run draws."""
    return wanted if DRAWS_ALL else min(wanted, max(wanted // 4, FEWEST))
