"""Writes the table of vendors in `providers.md` from the data; with ``--check`` compares them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from lee_llm_router.providers.vendors import Vendor, vendors

PAGE = Path(__file__).parent / "providers.md"

HEAD = """\
| `type` | what it is | speaks | address | key in | other settings |
|---|---|---|---|---|---|
"""


def table() -> str:
    """Return the rows of the table, those that need a key first."""
    rows = [row for row in vendors().values() if row.same_as is None]
    rows.sort(key=lambda row: (not row.keys, row.name))
    return HEAD + "".join(f"| {' | '.join(cells(row))} |\n" for row in rows)


def cells(row: Vendor) -> Iterator[str]:
    """Yield the cells of one vendor."""
    yield f"`{row.name}`"
    yield row.about
    yield f"`{row.type}`"
    yield f"`{row.base_url}`"
    yield ", else ".join(f"`{key}`" for key in row.keys) or "none needed"
    yield ", ".join(f"`{name}: {shown(value)}`".replace("|", "\\|") for name, value in row.settings.items())


def shown(value: object) -> str:
    """Return a setting as people write it."""
    return value if isinstance(value, str) and value.strip() else json.dumps(value)


def main() -> int:
    """Write the table, or compare it to the one in place."""
    page = PAGE.read_text()
    written = re.sub(re.escape(HEAD) + r"(?:\|.*\n)*", lambda _: table(), page)
    if "--check" in sys.argv[1:]:
        return table() not in page
    PAGE.write_text(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
