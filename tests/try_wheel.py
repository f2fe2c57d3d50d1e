"""Installs the wheel in a folder into an empty environment and runs its command line there.

Usage: python tests/try_wheel.py DIST
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    assert list(dist.glob("*.tar.gz")), "no sdist was built"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "env", with_pip=True)
        python = str(home / "env" / "bin" / "python")
        command = str(home / "env" / "bin" / "lee-llm-router")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        subprocess.run([*pip, str(wheel)], check=True)

        def run(*args: str) -> str:
            return subprocess.run(args, check=True, capture_output=True, text=True, cwd=home).stdout

        assert "complete" in run(command, "--help")
        (home / "lee-llm-router.yaml").write_text(run(command, "template"))
        assert '"$schema"' in run(command, "schema")
        answer = run(command, "complete", "Say hello")
        assert answer.strip(), "the template's default role gave no answer"
        assert "ok" in run(command, "trace", "--last", "1")
        assert run(command, "trace", "report").strip() == "report.html"
        assert "<script" in (home / "report.html").read_text()
        run(
            python,
            "-c",
            "import lee_llm_router as l, pathlib; assert pathlib.Path(l.__file__).with_name('py.typed').exists()",
        )
        print(f"{wheel.name}: installed into an empty environment, template answered: {answer.strip()[:60]!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
