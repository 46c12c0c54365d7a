# The two commands for everybody: `make demo` and `make test`. The rest is for those who change Keystead. See docs/testing.md.
SHELL := /bin/bash
PYTHON ?= python3
STEP := .ci/step
PY := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help setup packages lint test test-unit test-token test-clients test-cluster test-helm test-long mutants bench bench-server bench-server-long bench-scale crds model reference demo demo-down lock wheel

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort | expand -t 16

packages:
	@.ci/packages

# The environment is made again when the lock changed, and only then.
.venv/lock.done: requirements/dev.txt pyproject.toml | packages
	@$(STEP) "Python environment from the lock (usually 60 s)" bash -c '\
	  { [ -x .venv/bin/python ] || $(PYTHON) -m venv .venv; } && \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt && \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . && \
	  touch .venv/lock.done'

setup: .venv/lock.done  ## .venv/bin/keystead, and nothing else

.PHONY: binaries kryoptic clients
binaries: setup
	@$(STEP) "Kubernetes, etcd and Helm (cold: 9 minutes; then nothing)" $(PY) -m tests.cluster.build
kryoptic: setup
	@$(STEP) "kryoptic, the second PKCS#11 token (cold: 4 minutes; then nothing)" $(PY) -m tests.hsm.kryoptic.build
clients: setup
	@$(STEP) "the clients of others: SOPS, AWS SDKs (cold: 3 minutes; then nothing)" $(PY) -m tests.clients.build

lint: setup  ## ruff, mypy, import-linter
	@$(STEP) "ruff" .venv/bin/ruff check --quiet .
	@$(STEP) "mypy" .venv/bin/mypy --no-error-summary
	@$(STEP) "layers" .venv/bin/lint-imports --no-cache

test: lint binaries kryoptic clients  ## everything
	@$(PY) -m tests.suites
test-unit: setup  ## no token, no cluster
	@$(PY) -m tests.suites unit
test-token: setup kryoptic  ## SoftHSM2 and kryoptic
	@$(PY) -m tests.suites token
test-clients: setup clients  ## unmodified clients of others against `keystead dev`
	@$(PY) -m tests.suites clients
test-cluster: setup binaries  ## a real API server
	@$(PY) -m tests.suites cluster
test-helm: setup binaries  ## the chart, with real Helm on a real API server
	@$(PY) -m tests.suites helm
test-long: setup binaries  ## what takes too long for .ci/run: silent watches
	@$(PY) -m tests.suites long
mutants: setup  ## seeded faults: each must turn a named test red
	@$(PY) -m tests.mutants
bench: setup binaries  ## speed, as ratios in one run; never called by .ci/run
	@$(PY) -m tests.bench
bench-server: setup clients  ## the endpoint: gates as ratios, and others side by side; never called by .ci/run
	@$(PY) -m tests.bench.server
bench-server-long: setup  ## 10,000 keys and an hour of calls: memory of a worker
	@$(PY) -m tests.bench.server --long --minutes 60
bench-scale: setup binaries  ## 10,000 keys and as many other objects: memory, start-up, idle requests (an hour)
	@$(PY) -m tests.bench --scale

crds: setup  ## regenerate crds/ and the chart's copies from the typed models
	@$(PY) -m keystead.resources crds crds charts/keystead/crd-bases
model: setup  ## regenerate server/kms_model.json from the botocore in the lock
	@$(PY) -m tests.server.make_model
reference: setup  ## regenerate docs/reference from the same models and tables
	@$(PY) -m keystead.resources reference docs/reference
	@$(PY) -m keystead.operations reference docs/reference

demo: setup binaries  ## the main job, end to end, on a real API server
	@$(PY) -m examples.demo
demo-down: setup  ## end what the demo left running
	@$(PY) -m examples.demo --down

lock: | packages  ## new lock files with hashes and no index addresses
	@[ -x .venv/bin/uv ] || { $(PYTHON) -m venv .venv && .venv/bin/python -m pip install --quiet uv; }
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 pyproject.toml -o requirements/runtime.txt
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --overrides requirements/dev.overrides pyproject.toml --group dev -o requirements/dev.txt
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --group go -o requirements/go.txt
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --group clients -o requirements/clients.txt
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --group peers -o requirements/peers.txt

wheel: setup  ## dist/: the wheel, and the wheelhouse that the image is built from, offline
	@$(STEP) "wheelhouse" bash -c '$(PY) -m pip wheel --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt -w wheelhouse && $(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation . -w wheelhouse'
