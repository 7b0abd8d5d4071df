# Every task of the project. `make run` and `make test` need Python 3.11 and nothing else.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 3000
BIN := .venv/bin
LOCKS := uv image serving jobs spark dev

.PHONY: env run demo-skew demo-drift test containers image prove lint format chart lock bench clean
.DEFAULT_GOAL := help

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | column -t -s "$$(printf '\t')"

env: .venv/.installed ## the environment in .venv, from hashed locks
.venv/.installed: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Holdfast needs Python 3.11; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "env          $$($(BIN)/python -V), $$(ls -d .venv/lib/python*/site-packages/*.dist-info | wc -l) packages from requirements/dev.txt"

run: env ## from nothing to an answered request, then serve (HOLDFAST_USECASE, PORT)
	@exec $(BIN)/holdfast run --port $(PORT)

demo-skew: env ## the story with numbers: one feature, written twice
	@$(BIN)/holdfast demo-skew

demo-drift: env ## the story with numbers: other customers, then other outcomes, and a monitor that sees both
	@$(BIN)/holdfast demo-drift

test: env ## everything quick enough for every change
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --durations 15

image: env ## images of serving and jobs, with the champion of HOLDFAST_USECASE in them (REPOSITORY, TAG, BASE)
	@$(BIN)/python -m deploy.image $(if $(REPOSITORY),--repository $(REPOSITORY)) $(if $(TAG),--tag $(TAG)) $(if $(BASE),--base $(BASE))

containers: env ## both images built and run for real, with podman or docker
	$(BIN)/python -m pytest -q -s tests/containers

prove: env ## every bar of the project, as a table
	@$(BIN)/python -m benchmarks.prove

lint: env ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: env ## ruff's formatter
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chart: env ## the chart's schema, README and copies of rules and dashboards, from what they are made of
	@$(BIN)/python -m deploy.helm

lock: env ## upgrade every lock, with hashes and without any index's address
	@rm -f $(filter-out requirements/uv.txt,$(LOCKS:%=requirements/%.txt))
	$(BIN)/uv pip compile $(LOCK) --group pyproject.toml:bootstrap -o requirements/uv.txt
	$(BIN)/uv pip compile $(LOCK) --group pyproject.toml:image -o requirements/image.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra jobs --extra s3 --extra spark --extra dev -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/serving.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -c requirements/dev.txt --extra jobs --extra s3 -o requirements/jobs.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -c requirements/dev.txt --extra jobs --extra s3 --extra spark -o requirements/spark.txt
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

bench: env ## ratios against baselines run in the same minute
	@for script in features scoring online batch retrain stack serving oip explanations roads; do $(BIN)/python -m benchmarks.$$script; done

clean: ## the environment and caches; var/ and the model store stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
