# `make` lists what there is to do. Needs git, make and Python 3.11 or later; the rest is fetched.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
UV := $(shell command -v uv || echo .uv/bin/uv)
RUN := .venv/bin
JOBS ?= 8
# Where it is set, as in many containers, every start compiles the whole program and its tests anew.
unexport PYTHONDONTWRITEBYTECODE
CLUSTER := tests/cluster/cluster
WORKFLOWS := $(wildcard .github/workflows/*.yml docs/examples/*/*.yml)

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: pyproject.toml uv.lock | $(filter .uv/%,$(UV))
	$(UV) sync --locked --quiet --compile-bytecode
	touch $@

.PHONY: setup
setup: .venv/.ready ## make the virtual environment from the lock

.PHONY: demo
demo: $(filter .uv/%,$(UV)) ## the whole product on this machine, in under a minute
	$(UV) run --locked --no-dev --quiet tests/demo.py

.PHONY: unit
unit: setup ## unit tests: seconds, needs nothing
	$(RUN)/python -m pytest tests/unit -q -n 2

.PHONY: lint
lint: setup ## ruff, mypy, import layers, shellcheck, hadolint, workflow linters
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/shellcheck --norc -S style dtp_action/runner/*.sh images/globus-*/dtp-globus-* images/dtp/dtp
	PATH=$(RUN):$$PATH $(RUN)/actionlint -ignore 'no explicit cache access limit' $(WORKFLOWS)
	$(RUN)/zizmor --quiet --config .github/zizmor.yml --offline --strict-collection action.yml $(WORKFLOWS)
	$(RUN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(RUN)/check-jsonschema --quiet --builtin-schema vendor.github-actions action.yml
	$(RUN)/shellcheck --norc -x .ci/run tests/cluster/cluster tests/cluster/requirements.sh tests/cluster/lib/*.sh images/*.sh
	$(RUN)/hadolint --config .hadolint.yaml images/*/Dockerfile

# What the promise rests on, again on the oldest Kubernetes that is supported.
OLDEST := tests/contract tests/e2e/test_policy.py tests/e2e/test_once.py tests/e2e/test_outcomes.py

.PHONY: test
test: lint ## everything, with real Pods on a real Kubernetes (skipped loudly where there is none)
	[ -n "$${DTP_TEST_KUBECONFIG:-}" ] || { $(CLUSTER) up && DTP_KUBERNETES=oldest $(CLUSTER) build; } >/dev/null & trap "kill $$! 2>/dev/null || true" EXIT; \
	DTP_PROPERTIES=full $(RUN)/python -m pytest tests -n $(JOBS) --dist=loadgroup --durations=15; \
	[ -n "$${DTP_TEST_KUBECONFIG:-}" ] || $(MAKE) --no-print-directory test-oldest

.PHONY: test-oldest
test-oldest: setup
	trap "DTP_KUBERNETES=oldest $(CLUSTER) down || true" EXIT; \
	DTP_KUBERNETES=oldest $(RUN)/python -m pytest $(OLDEST) -m node -n $(JOBS) --dist=loadgroup

.PHONY: load
load: setup ## make test beside busy processes, three a core (DTP_LOAD=… sets how many)
	$(RUN)/python -m tests.load $(MAKE) test

.PHONY: images-built
images-built: ## build the images that need no download by hand, and try them (needs root, buildah, debootstrap)
	images/try.sh

.PHONY: faults
faults: setup ## every fault at every request, and kills: hours (FAULTS=150 of each scene: minutes); prints the table
	DTP_FAULTS=$(or $(FAULTS),all) $(RUN)/python -m pytest tests/e2e/test_faults.py -q -n $(JOBS) --dist=loadgroup

.PHONY: bench
bench: setup ## all benchmarks, one after the other (half an hour; figures: docs/explanation/performance.md)
	for one in start feel dispatch growth bytes; do $(RUN)/python -m benchmarks.$$one; done

.PHONY: cluster
cluster: ## start the test cluster and print its kubeconfig
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: ## stop it and leave nothing behind
	@$(CLUSTER) down

.PHONY: golden
golden: setup ## rewrite golden files; review the diff
	DTP_REFRESH_GOLDEN=1 $(RUN)/python -m pytest tests/unit -q

.PHONY: pictures
pictures: setup ## what people read on GitHub, drawn into build/pictures (needs chromium and npm)
	$(RUN)/python -m tests.pictures

.PHONY: attacks
attacks: setup ## try all attacks and write down what stopped them; review the diff
	DTP_REFRESH_ATTACKS=1 $(RUN)/python -m pytest tests/e2e/test_attacks.py tests/e2e/test_network.py tests/act/test_way_in.py -q -n 3 --dist=loadgroup

.PHONY: github-schema
github-schema: setup ## cut what we use out of GitHub's description anew (needs npm)
	$(RUN)/python tests/github/schema/cut.py build/github

.PHONY: live
live: setup ## the story on github.com, for a maintainer: a token and a throwaway repository
	$(RUN)/python -m tests.live

.PHONY: format
format: setup ## format the code and mend what ruff can
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

.PHONY: lock
lock: $(filter .uv/%,$(UV)) ## resolve the dependencies anew
	$(UV) lock --upgrade
