"""Measures the router against raw HTTP clients and other libraries. ``python benchmarks/run.py --help`` tells how."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for `python -m benchmarks.run`

from speed.main import main

if __name__ == "__main__":
    sys.exit(main())
