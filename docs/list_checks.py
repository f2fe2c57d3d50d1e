"""Writes `checks.md`, the page of the doctor's checks, from their table; with ``--check`` compares them."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from lee_llm_router.doctor.catalogue import CheckKind, catalogue

PAGE = Path(__file__).parent / "checks.md"

HEAD = """\
# Checks of the doctor

`lee-llm-router doctor` gives each of its checks a permanent id. `--explain LLR301` prints the entry of one check;
`--only LLR3,LLR401` and `--skip LLR610` take ids, or prefixes of ids.

An error makes the exit code 1, a warning does so with `--strict`, and `info` never does. Each entry gives the usual
level; a finding may be milder if less depends on it.
"""
TITLES = {
    "file": "The file",
    "environment": "Variables and the .env",
    "keys": "Keys",
    "network": "Settings of the network",
    "policy": "The policy",
    "provider": "Providers",
    "role": "Roles",
    "model": "Models and prices",
    "traces": "Traces",
    "live": "Live: with --live and --live=call",
}


def page() -> str:
    """Return the page: a section for each of the doctor's, an anchor for each check."""
    parts = [HEAD]
    for section, kinds in groupby(catalogue().values(), key=lambda kind: kind.section):
        parts.append(f"## {TITLES[section]}\n")
        parts += [entry(kind) for kind in kinds]
    return "\n".join(parts)


def entry(kind: CheckKind) -> str:
    """Return cause and cure of one check."""
    return (
        f'### <a id="{kind.id.lower()}"></a>{kind.id}: {kind.title}\n\n'
        f"Level: {kind.level}.\n\n**Cause.** {kind.cause}\n\n**Cure.** {kind.cure}\n"
    )


def main() -> int:
    """Write the page, or compare it to the one in place."""
    if "--check" in sys.argv[1:]:
        return PAGE.read_text() != page()
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
