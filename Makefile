# Laneway. `make help` lists what can be typed; each target sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
MEMBERS := services/laneway services operator
PROMTOOL := v0.53.3

.DEFAULT_GOAL := help
.PHONY: help up demo test test-faults keys chaos e2e e2e-operator lint types bench bench-sync bench-async bench-walk bench-lanes bench-twin bench-resilience bench-operator bench-operator-cluster promtool protos dev-cluster breaking golden lock sbom setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(READY) ## run the whole shop on this machine; Ctrl-C stops it
	@exec $(BIN)/laneway up $(ARGS)

demo: $(READY) ## run the shop, ship one order, print its trace, stop
	@exec $(BIN)/laneway demo $(ARGS)

test: $(READY) lint types ## everything that needs no cluster
	@$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

e2e: $(READY) ## the shop on a real cluster: installed, used, killed, upgraded, scaled from zero and back
	@mkdir -p build && tests/e2e/run tests/e2e --ignore=tests/e2e/operator $(ARGS) \
	  $(if $(ARGS),,-- tests/e2e/operator -m core -n 3 --dist loadgroup)

e2e-operator: $(READY) ## the operator on a real cluster, with the shop and with plain Celery
	@mkdir -p build && tests/e2e/run tests/e2e/operator $(ARGS)

test-faults: $(READY) ## outages, overload and kills: nothing multiplies, nothing is lost
	@$(BIN)/pytest tests/faults $(ARGS)

keys: $(READY) ## ten duplicates of each key at once while processes are killed, in any size: KEYS=10000 KILLS=100
	@KEYS=$(or $(KEYS),10000) KILLS=$(or $(KILLS),100) $(BIN)/pytest tests/faults/test_keys.py $(ARGS)

chaos: $(READY) ## orders while all goes wrong, in any size: ORDERS=1000 KILLS=20 SEED=7
	@$(BIN)/python -m tests.chaos.run

lint: $(READY) ## style, layers and contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/laneway lint protos

breaking: $(READY) ## what a change takes from who uses the contracts, since AGAINST (the last release, or what main was)
	@.ci/breaking $(AGAINST)

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

bench: bench-sync bench-async bench-walk bench-lanes bench-twin bench-resilience bench-operator ## every benchmark

bench-sync: $(READY) ## a call with its policy, the edge and its JSON, against grpc.aio, FastAPI and json_format
	@$(BIN)/python -m tests.benchmarks.sync

bench-async: $(READY) ## the event log against pyeventsourcing, the queue against plain Celery
	@$(BIN)/python -m tests.benchmarks.event_log
	@$(BIN)/python -m tests.benchmarks.delivery

bench-walk: $(READY) ## orders per second through the whole walk
	@$(BIN)/python -m tests.benchmarks.walk

bench-lanes: $(READY) ## one operation by each lane, healthy and not, into docs/choosing.md
	@$(BIN)/python -m tests.benchmarks.lanes

bench-twin: $(READY) ## lines and cost of a service, against the same written by hand
	@$(BIN)/python -m tests.benchmarks.twin

bench-resilience: $(READY) ## what a closed breaker costs, and what overload and outages leave
	@$(BIN)/python -m tests.benchmarks.resilience
	@$(BIN)/python -m tests.benchmarks.outages

bench-operator-cluster: $(READY) ## the operator on the cluster that KUBECONFIG names
	@$(BIN)/python -m tests.benchmarks.operator_cluster $(ARGS)

bench-operator: $(READY) ## our sizing against KEDA + HPA, simulated
	@$(BIN)/python -m tests.benchmarks.operator_sim $(ARGS)

protos: $(READY) ## check all contracts and regenerate their code
	@$(BIN)/laneway lint protos
	@$(BIN)/python -m laneway.contract.compile protos --only laneway/v1 --out services/laneway/src --no-plugin
	@$(BIN)/python -m laneway.contract.compile protos --only laneway/compare --out services/laneway/src
	@$(BIN)/python -m laneway.contract.compile protos --only shop --out services/contracts/src

dev-cluster: $(READY) ## the shop on the cluster of KUBECONFIG, with changed sources in its pods (see k8s/README.md)
	@cluster=$$(k8s/cluster up) && eval "$$cluster" && exec $(BIN)/python k8s/dev_cluster.py $(ARGS)

golden: $(READY) ## render the charts anew into tests/charts/golden (needs helm)
	@$(BIN)/python -m tests.charts.golden

lock: ## pin every dependency, with hashes (needs uv)
	@for file in requirements/dev.in $(filter-out requirements/dev.in,$(wildcard requirements/*.in)); do \
	  case $$file in */dev.in|*/sbom.in) on= ;; *) on='-c requirements/dev.lock' ;; esac; \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $$on $$file -o $${file%.in}.lock || exit; done

sbom: build/sbom/.ready ## what the images hold of Python, as CycloneDX in build/sbom*.json (on Linux: as in the images)
	@$(call sbom,run,services/laneway services,services/Dockerfile,build/sbom.json)
	@$(call sbom,operator,services/laneway operator,operator/Dockerfile,build/sbom-operator.json)

# An environment as the Dockerfile makes it, and what is in it: $(call sbom,lock,members,Dockerfile,document)
define sbom
$(PYTHON) -m venv --clear --without-pip build/sbom-$(1)
pip='build/sbom/bin/python -m pip --disable-pip-version-check --python build/sbom-$(1)/bin/python' && \
$$pip install --quiet --no-deps --require-hashes -r requirements/build.lock && \
$$pip install --quiet --no-deps --no-build-isolation $(addprefix ./,$(2)) && \
$$pip uninstall --quiet --yes -r requirements/build.lock && \
$$pip install --quiet --no-deps --require-hashes -r requirements/$(1).lock && \
build/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON --output-file $(4) build/sbom-$(1)/bin/python && \
$(PYTHON) requirements/sbom.py $(4) $(3) && echo $(4)
endef

build/sbom/.ready: requirements/sbom.lock
	@$(PYTHON) -m venv build/sbom
	@build/sbom/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/sbom.lock
	@touch $@

promtool: build/bin/promtool ## Prometheus' own tool, with which tests/charts runs the alerts (needs go)

# Not `go install`, which takes no module that replaces others, as Prometheus does.
build/bin/promtool:
	@mkdir -p build/promtool && cd build/promtool && export GOFLAGS=-mod=mod && rm -f go.mod && go mod init promtool && \
	go get github.com/prometheus/prometheus/cmd/promtool@$(PROMTOOL) && \
	go build -o ../bin/promtool github.com/prometheus/prometheus/cmd/promtool

clean: ## remove what was made here
	@rm -rf $(VENV) build var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

setup: $(READY) ## what all of them need, in .venv

$(LOCKED): requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit("Laneway needs Python 3.11 or newer; name one with PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

$(READY): $(LOCKED) $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@$(BIN)/python -m compileall -q services operator
	@touch $@
