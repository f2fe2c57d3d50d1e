"""Feed the router what nobody would write, and see that it stays itself.

Run it with ``python benchmarks/fuzz.py [INPUTS]`` (10,000 of each kind; hypothesis must be installed). Kinds:
configurations, answers and streams of each dialect, argument sets, trace files. Exits 1 if a foreign exception comes
out, if an input takes more than 2 s of CPU time, or if the key that every input carries stands in an output. The
inputs are the same in every run; `--seed N` draws others, and `--only KIND` runs one kind in this process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.harness import fuzz
from fuzzing.subjects import SUBJECTS


def main() -> int:
    """Run each kind in a process of its own, one after the other, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=sorted(SUBJECTS))
    asked = parser.parse_args()
    if asked.only:
        return fuzz(asked.only, SUBJECTS[asked.only], asked.inputs, asked.seed)
    print(f"{'kind':<25}{'inputs':>8}{'good':>8}{'refused':>9}{'foreign':>9}{'key seen':>10}{'slowest':>9}{'all':>8}")
    broken = False
    for kind in SUBJECTS:
        command = [sys.executable, __file__, str(asked.inputs), "--seed", str(asked.seed), "--only", kind]
        broken = subprocess.run(command, check=False).returncode != 0 or broken
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
