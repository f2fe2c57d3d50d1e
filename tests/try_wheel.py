"""Installs the wheel in a folder into empty environments and runs its command line there.

One environment has the newest versions of what the wheel needs, the other the oldest that it says it works with.

Usage: python tests/try_wheel.py DIST
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

_OLDEST_PYTHON = (3, 11)
"""For a newer Python, some of the oldest versions have no wheels."""
_SECTIONS = """
import json
from lee_llm_router import LeeLLMRouter, LLMConfig
role = {"provider": "m", "accept": {"min_chars": 1}, "budget": {"usd": 1}, "hedge": {"after": 1}, "cache": False}
prices = {"m/x": {"input": 1, "output": 2, "above": [{"input_tokens": 5, "input": 3}]}}
section = {
    "providers": {"m": {"type": "mock", "script": [{"text": "Hello."}], "model_limits": {"x": {"rpm": 3}}}},
    "roles": {"r": role}, "budget": {"usd": 2}, "cache": {"type": "memory"}, "pricing": {"models": prices},
    "trace": {"store": "jsonl", "sample": 0.5}, "policy": {"type": "weighted", "weights": {"m": 1}},
}
with LeeLLMRouter({"llm": section}, trace_store=False) as router:
    assert router.complete("r", "Hi").text == "Hello."
    shown = router.config.model_dump(mode="json", exclude_unset=True)
assert LLMConfig.model_validate(json.loads(json.dumps(shown))) == router.config
assert LLMConfig.model_json_schema()["$defs"]["BudgetConfig"]
"""
"""Uses the models of many sections, which pydantic builds otherwise in each of its versions."""


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    assert list(dist.glob("*.tar.gz")), "no sdist was built"
    try_in_environment(wheel, [])
    if sys.version_info[:2] == _OLDEST_PYTHON:
        try_in_environment(wheel, oldest_versions(wheel))


def oldest_versions(wheel: Path) -> list[str]:
    """Return what the wheel needs, each in the oldest version that it names."""
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    needed = re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra ==).*?>=([\w.]+)", metadata, re.MULTILINE)
    assert needed, "the wheel needs nothing"
    return [f"{package}=={version}" for package, version in needed]


def try_in_environment(wheel: Path, versions: list[str]) -> None:
    """Install the wheel into an empty environment, with these `versions` of what it needs, and use it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "env", with_pip=True)
        python = str(home / "env" / "bin" / "python")
        command = str(home / "env" / "bin" / "lee-llm-router")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        subprocess.run([*pip, str(wheel), *versions], check=True)

        def run(*args: str) -> str:
            return subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True, cwd=home).stdout

        assert "complete" in run(command, "--help")
        (home / "lee-llm-router.yaml").write_text(run(command, "template"))
        assert '"$schema"' in run(command, "schema")
        answer = run(command, "complete", "Say hello")
        assert answer.strip(), "the template's default role gave no answer"
        assert "ok" in run(command, "trace", "--last", "1")
        shown = run(command, "trace", "show", "@1")
        assert run(command, "trace", "--dir", ".lee-llm-router/traces", "show", "@1") == shown
        assert run(command, "trace", "report").strip() == "report.html"
        assert "<script" in (home / "report.html").read_text()
        run(
            python,
            "-c",
            "import lee_llm_router as l, pathlib; assert pathlib.Path(l.__file__).with_name('py.typed').exists()",
        )
        run(python, "-W", "error", "-c", _SECTIONS)
        what = "with the oldest versions of what it needs" if versions else "with the newest versions"
        print(f"{wheel.name}: installed {what}, template answered: {answer.strip()[:60]!r}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
