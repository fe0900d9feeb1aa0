# The two commands a newcomer needs are `make run` and `make test`; CI calls `make check`.
# Everything is installed into .venv on first use; later runs need no network.

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON3 := $(BIN)/python
NATIVE  := $(wildcard media/native/*.[ch] media/codecs/*.[ch])

DATA    ?= var
ARGS    ?=
SEEDS   ?= 20
CALLS   ?= 500
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help run test setup unit sim interop race outage soak bench sanitize fmt lint types imports schemas check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.installed-run ## Start a server with two demo accounts, data in ./var
	@$(BIN)/pbx serve --demo --data $(DATA) $(ARGS)

test: setup unit sim interop ## Run all tests: unit (with coverage gate), simulation, real programs

setup: $(VENV)/.installed-test ## Install the tools of development and of the tests
	@scripts/test-tools

$(VENV)/.installed-run: pyproject.toml setup.py scripts/install $(NATIVE)
	@scripts/install run

$(VENV)/.installed-test: pyproject.toml setup.py scripts/install $(NATIVE)
	@scripts/install test

$(VENV)/.installed-bench: $(VENV)/.installed-test
	@scripts/install bench

unit: $(VENV)/.installed-test ## Tests without real programs, coverage of sip and media >= 95 %
	$(BIN)/pytest -q -n auto -m "not interop" --ignore tests/simulation \
		--cov --cov-report term --cov-fail-under 95 $(ARGS)

sim: $(VENV)/.installed-test ## Simulated calls with faults: SEEDS=20 CALLS=500
	$(BIN)/pytest -q -n auto tests/simulation --seeds $(SEEDS) --calls $(CALLS) $(ARGS)

interop: $(VENV)/.installed-test ## Tests against SIPp, baresip, linphone, Kamailio, rtpengine, pjsua2, Kafka
	$(BIN)/pytest -q -n 2 --dist loadfile -m interop $(ARGS)

race: $(VENV)/.installed-test ## Two nodes decide on the same accounts over Kafka, 10,000 times
	RACES=10000 $(BIN)/pytest -q -s -o faulthandler_timeout=0 tests/interop/test_kafka_race.py $(ARGS)

outage: $(VENV)/.installed-test ## An hour of 50 calls/s without a broker, by the number of events
	OUTAGE_CALLS=180000 $(BIN)/pytest -q -s -o faulthandler_timeout=0 tests/interop/test_kafka_hour.py $(ARGS)

soak: $(VENV)/.installed-test ## Kill nodes and the broker under 50 calls/s: SECONDS=600
	SOAK_SECONDS=$(SECONDS) $(BIN)/pytest -q -s -o faulthandler_timeout=0 tests/interop/test_soak.py $(ARGS)

bench: $(VENV)/.installed-bench ## Measure beside the peers, writes benchmarks/RESULTS.md
	$(PYTHON3) -m benchmarks $(ARGS)

sanitize: $(VENV)/.installed-test ## The C packet core under address and undefined-behaviour sanitizers
	tests/fuzz/relay_sanitize.sh

fmt: $(VENV)/.installed-test ## Format the code and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-test ## ruff, as CI runs it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.installed-test ## Who may import whom (import-linter)
	$(BIN)/lint-imports --no-cache

schemas: $(VENV)/.installed-test ## Publish the schemas of events and API (docs/schemas) anew
	$(BIN)/pbx log schema --out docs/schemas

check: lint types imports sanitize test ## What CI runs

clean: ## Remove what was built (not the data in ./var)
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		.coverage .coverage.* htmlcov media/native/*.so media/codecs/*.so
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
