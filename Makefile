# The one interface of this checkout; every step is a program that can be read and run by itself.

PYTHON3 ?= python3
BIN := .venv/bin
export SAM_CLI_TELEMETRY := 0

.DEFAULT_GOAL := help
.PHONY: help setup client demo test faults isolation mutations soak bench check docs states lock build package sbom audit deploy verify rehearse up down clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## install what is missing: MariaDB, the Python environments, the project; MYSQL=1 also MySQL
	@$(PYTHON3) scripts/setup.py $(if $(MYSQL),--mysql)

client: ## install only what verify and doctor need; WHEELS= takes it from a folder, without a network
	@$(PYTHON3) scripts/setup.py --client $(if $(WHEELS),--wheels "$(WHEELS)")

demo: setup ## run the whole batch once on a local cloud, for 1,000 users
	@$(BIN)/batchctl demo

test: ## run the whole test suite
	@$(PYTHON3) scripts/setup.py --tests
	@$(BIN)/python -m pytest

faults: setup ## try every fault and print what became of the users
	@$(BIN)/python -m pytest -p tests.support.fault_table tests/faults

isolation: setup ## deploy two tenants under enforced IAM and print what each role may do to whom
	@$(BIN)/python -m pytest -p tests.support.isolation_table tests/e2e/test_isolation.py

mutations: setup ## break the implementation in many ways and print which test notices
	@$(BIN)/python -m pytest -p tests.support.mutation_table tests/mutations

bench: setup ## measure the batch against other ways to do the same work; BENCH=--sweep tunes it
	@$(BIN)/batchctl bench $(BENCH)

soak: setup ## run the batch while faults are injected at random; MINUTES=10, SEED=, USERS=400, DATABASE=
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10) --users $(or $(USERS),400) $(if $(SEED),--seed $(SEED)) $(if $(DATABASE),--database $(DATABASE))

check: ## run every gate: style, types, templates, permissions, builds
	@$(PYTHON3) scripts/setup.py --gates
	@$(BIN)/python scripts/check.py

build: setup ## build the template with sam
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam build

package: setup ## build once and upload it for every tenant; BUCKET=, KEY= for its encryption
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/package.py --bucket "$(BUCKET)" $(if $(KEY),--key "$(KEY)")

sbom: setup ## list everything that is deployed or used to build it, in CycloneDX
	@$(BIN)/python scripts/supply_chain.py sbom

audit: setup ## look everything up among the known vulnerabilities; asks a service on the internet
	@$(BIN)/python scripts/supply_chain.py audit

deploy: setup ## render, build and deploy one tenant by hand; TENANT=, YES=1 does not ask
	@$(BIN)/batchctl tenants render
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/sam build
	@$(BIN)/batchctl tenants render --once .aws-sam/samconfig.toml
	@$(BIN)/sam deploy --config-file "$(CURDIR)/.aws-sam/samconfig.toml" --config-env "$(TENANT)" $(if $(YES),--no-confirm-changeset)

verify: client ## is a deployment good? migrates it, runs it once, watches its alarms; STACK=, ROLE=
	@$(BIN)/batchctl verify --stack "$(STACK)" $(if $(ROLE),--role "$(ROLE)") --json

rehearse: setup ## play the pipeline on a local cloud: pushes good and bad, a tenant more and less; FULL=1, JSON=1
	@$(BIN)/python -m tests.rehearsal $(if $(FULL),--full) $(if $(JSON),--json) --yes

up: setup ## start the local cloud and deploy the tenant `demo` on it
	@$(BIN)/batchctl up

down: setup ## stop the local cloud
	@$(BIN)/batchctl down

docs: setup ## write docs/parameters.md from the template
	@$(BIN)/python scripts/parameters.py

states: setup ## write what `batchctl verify --states` expects, after the workflow has changed
	@$(BIN)/python -m tests.support.state_cases

lock: setup ## write the hashed locks anew; UPGRADE=1 takes the newest versions
	@$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## stop the local cloud and remove everything that was made here
	@$(PYTHON3) scripts/clean.py
