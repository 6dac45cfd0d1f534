# GNU make. Everything that is installed or made lies in bin/, build/ and dist/, and a second run reuses it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The lock files are for this Python.
PYTHON ?= $(shell command -v python3.11 || echo python3)
PYTHON_VERSION := 3.11
UV_VERSION := 0.13.9

GO_FILES := go.mod go.sum $(shell find cmd internal localcloud -name '*.go' -not -name '*_test.go')
PYTHON_FILES := $(shell find python/airlock_airflow -name '*.py' -o -name py.typed) \
	python/pyproject.toml python/build_binary.py python/README.md $(wildcard LICENSE)
WHEEL_TARGETS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

# What could not be tested is written down here, one line each, and told at the end of `make test`.
SKIPPED := build/skipped
export AIRFLOW_HOME ?= $(CURDIR)/build/airflow

# What the programs of examples/sdk run with. The Java one is left out where there is nothing to build it with.
SDK_PROGRAMS := AIRLOCK_SDK_PYTHON=$(CURDIR)/build/venv/bin/python AIRLOCK_SDK_NODE=$(CURDIR)/build/node/bin/node
SDK_JAVA := $(if $(and $(shell command -v java),$(shell command -v javac),$(shell command -v mvn)),build/java/.done)

# GitHub's own program, for one test. Where it is neither installed nor to be had from Debian, the test is skipped.
GH := $(if $(shell command -v gh),,$(if $(shell command -v apt-get),build/gh/.done))

.PHONY: help
help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: build
build: ## bin/airlock
	CGO_ENABLED=0 go build -trimpath -o bin/airlock ./cmd/airlock

.PHONY: wheel
wheel: build/tools/.done ## dist/: wheels for Linux and macOS that carry the program
	rm -rf dist
	for target in $(WHEEL_TARGETS); do $(call build_wheel,$$target,dist); done

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, govulncheck
	@mkdir -p build
	@badly=$$(gofmt -l cmd internal localcloud examples/sdk bench packaging python); \
		[[ -z $$badly ]] || { echo "gofmt would change: $$badly" >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@packaging/govulncheck $(SKIPPED)

.PHONY: test
test: ## everything that CI runs
	@mkdir -p build && : > $(SKIPPED)
	@$(MAKE) --no-print-directory lint test-go test-python test-parity test-sdk demo
	@$(MAKE) --no-print-directory soak SOAK=20s
	@echo "go coverage: $$(go tool cover -func=build/coverage.out | awk 'END { print $$NF }')"
	@if [[ -s $(SKIPPED) ]]; then echo "skipped: $$(paste -sd ';' $(SKIPPED) | sed 's/;/; /g')"; \
		else echo "nothing skipped"; fi

.PHONY: test-go
test-go: build/venv/.done build/testtools/.done $(GH) ## the Go tests, with the race detector
	@PATH=$(CURDIR)/build/gh/usr/bin:$$PATH packaging/gotest $(SKIPPED) build/coverage.out

.PHONY: test-python
test-python: build build/venv/.wheel build/tools/.done ## the Python tests, against the installed wheel and a real Airflow
	@AIRLOCK_TEST_BINARY=$(CURDIR)/bin/airlock AIRLOCK_TEST_TOOLS=$(CURDIR)/build/tools/bin/python \
		build/venv/bin/pytest -q -c python/pyproject.toml --rootdir . -o cache_dir=build/pytest \
		python/tests examples/astro-project/tests | tee build/pytest.log
	@sed -n 's/^SKIPPED \[[0-9]*\] /pytest: /p' build/pytest.log >> $(SKIPPED)

.PHONY: test-parity
test-parity: build build/venv/.wheel ## a fixed small set of `make parity`
	@go run ./python/tests/parity -connections 6000 -lookups 800

.PHONY: parity
parity: build build/venv/.wheel ## compare with Airflow and the official backend: 100,000 connections, 10,000 lookups (SEED=0: others)
	@go run ./python/tests/parity -connections 100000 -lookups 10000 -seed $(or $(SEED),1)

.PHONY: test-sdk
test-sdk: build build/venv/.done build/node.done $(SDK_JAVA) ## Azure's SDKs walk through the whole local cloud
	@$(if $(SDK_JAVA),,echo "sdk/java (java, javac or mvn is missing)" >> $(SKIPPED))
	@$(SDK_PROGRAMS) bin/airlock dev run --ephemeral -- examples/sdk/run-all go python js $(if $(SDK_JAVA),java) app
	@$(SDK_PROGRAMS) go run ./examples/sdk/cloud examples/sdk/run-all go python js $(if $(SDK_JAVA),java)

.PHONY: demo
demo: build build/venv/.wheel ## a real Airflow reads a variable and a connection through Airlock
	@examples/demo

.PHONY: test-import
test-import: ## 10,000 secrets into a vault with Key Vault's limits, killed half way and resumed; some minutes
	AIRLOCK_TEST_SECRETS=10000 go test ./internal/cli -run TestImportKilled -count=1 -v -timeout 20m

# How long the agent is watched; build/soak says what it does.
SOAK ?= 5m

.PHONY: soak
soak: build build/venv/.wheel ## SOAK=5m: the agent in good and bad times; ends with flat memory and no lookup lost
	@go build -o build/soak ./bench/soak
	@build/soak -airlock bin/airlock -python build/venv/bin/python -for $(SOAK)

.PHONY: bench
bench: build build/venv/.wheel build/bench/.done ## measure against the official backend
	@bench/run

.PHONY: walkthrough
walkthrough: build ## record docs/walkthrough anew: real commands in a terminal
	@$(PYTHON) docs/walkthrough/record.py

.PHONY: lock
lock: ## write requirements/*.txt anew from *.in (UPGRADE=--upgrade: newest versions)
	rm -rf build/lock && $(PYTHON) -m venv build/lock && build/lock/bin/pip install -q uv==$(UV_VERSION)
	for name in airflow bench build node; do \
		env -u PIP_FIND_LINKS -u UV_FIND_LINKS build/lock/bin/uv pip compile --quiet $(UPGRADE) --no-config \
			--python-version $(PYTHON_VERSION) --python-platform x86_64-unknown-linux-gnu --only-binary :all: \
			--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
			-o requirements/$$name.txt requirements/$$name.in; \
	done

.PHONY: clean
clean: ## remove what was made and installed
	rm -rf bin build dist examples/sdk/js/node_modules

# --- what the targets above need ---------------------------------------------------------------------------------

PIP_QUIETLY := install --quiet --disable-pip-version-check

# A virtual environment holds exactly its lock. It is made from nothing and marked at the end, so that an interrupted
# install is not taken for a whole one.
define make_venv
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit("%d.%d" % sys.version_info[:2] != "$(PYTHON_VERSION)")' \
		|| { echo "needs Python $(PYTHON_VERSION) with venv (Debian: apt-get install python3-venv); set PYTHON=..." >&2; exit 1; }
	@rm -rf $(@D)
	@$(PYTHON) -m venv $(@D)
	@n=$$(grep -c '==' $<); echo "installing the $$n packages of $< into $(@D)$$([[ $$n -lt 50 ]] || echo '; this takes a minute or two')"
	@$(@D)/bin/python -m pip $(PIP_QUIETLY) --require-hashes --no-deps --only-binary :all: -r $<
	@touch $@
endef

build/gh/.done:
	@rm -rf $(@D) && mkdir -p $(@D)
	@cd $(@D) && { apt-get -qq download gh && dpkg -x gh_*.deb . && rm gh_*.deb && touch .done; } 2>apt.log \
		|| echo "gh could not be fetched from Debian's packages; see $(@D)/apt.log"

build/venv/.done: requirements/airflow.txt
	$(make_venv)

build/tools/.done: requirements/build.txt
	$(make_venv)

build/node/.done: requirements/node.txt
	$(make_venv)

build/bench/.done: requirements/bench.txt
	$(make_venv)

build/testtools/.done: packaging/testtools/go.mod $(wildcard packaging/testtools/*/*.go)
	@echo "building Helm and the readers of .env for the tests; this takes a minute or two"
	@mkdir -p $(@D)
	@cd packaging/testtools && { CGO_ENABLED=0 go build -o $(CURDIR)/$(@D)/ ./dotenvread helm.sh/helm/v4/cmd/helm \
		&& touch $(CURDIR)/$@; } 2>$(CURDIR)/$(@D)/build.log \
		|| { cat $(CURDIR)/$(@D)/build.log >&2; echo "their tests are skipped, and say so"; }

build/node.done: build/node/.done examples/sdk/js/package-lock.json
	cd examples/sdk/js && PATH=$(CURDIR)/build/node/bin:$$PATH npm ci --silent --ignore-scripts
	@touch $@

build/java/.done: examples/sdk/java/pom.xml $(wildcard examples/sdk/java/src/*.java)
	@rm -rf $(@D)
	@echo "mvn -f $< process-classes"
	@mvn --batch-mode -f $< process-classes &>build/java.log || { cat build/java.log >&2; exit 1; }
	@touch $@

# $(call build_wheel,GOOS/GOARCH or nothing for this machine,folder)
build_wheel = (cd python && AIRLOCK_TARGET=$(1) ../build/tools/bin/python -m hatchling build -t wheel -d ../$(2))

build/wheel/.done: build/tools/.done $(GO_FILES) $(PYTHON_FILES)
	@rm -rf $(@D)
	$(call build_wheel,,$(@D))
	@touch $@

build/venv/.wheel: build/venv/.done build/wheel/.done
	build/venv/bin/python -m pip $(PIP_QUIETLY) --no-deps --no-index --force-reinstall build/wheel/*.whl
	@touch $@
