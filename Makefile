# Everything is set up by the targets themselves: on a fresh Debian or Ubuntu machine `make demo` and `make test` are enough.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-setup test-cluster lint crates fmt deny bench bench-api fuzz schemathesis soak chaos durability endurance doctor clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## Install what a recording needs
	@scripts/setup.sh --install run

build: setup ## Build every binary
	@. .cache/env && cargo build --workspace --bins --locked

demo: ## Record one meeting on this machine (PLATFORM=teams or zoom for another client, MEETING_URL=… for a real call)
	@scripts/demo.sh

test: ## Run every suite
	@scripts/test.sh

test-setup: ## Run the suite of the set-up alone, in seconds
	@tests/setup/run.sh

test-cluster: ## Run the black-box suite on the cluster that KUBECONFIG names (ONLY="NAME …" picks scenarios)
	@scripts/test-cluster.sh $(foreach name,$(ONLY),--only $(name))

lint: ## Check format, lints, scripts, manifests and images
	@cargo fmt --all --check
	@scripts/shellcheck.sh
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/validate-k8s.sh
	@scripts/lint-images.sh

crates: ## Check that each crate builds alone
	@scripts/crates-alone.sh

fmt: ## Format
	@cargo fmt --all

deny: ## Check licences, bans and sources of the dependencies
	@scripts/deny.sh

bench: ## Print the figures of speed and size
	@scripts/bench.sh

bench-api: ## Print the figures of the API on both stores (STORES=sqlite, ARGUMENTS="--bots 20000")
	@scripts/bench-api.sh

fuzz: ## Run each fuzz target for a while (SECONDS_EACH=60)
	@scripts/fuzz.sh

schemathesis: ## Send everything to the API that its OpenAPI document allows or forbids (EXAMPLES=100 each, SEED for a run again)
	@scripts/schemathesis.sh

soak: ## Run the simulation over SEEDS seeds from SEED_START on (10000, 0)
	@. .cache/env && cargo run --quiet --locked -p tests --bin soak -- --seeds $(or $(SEEDS),10000) --seed-start $(or $(SEED_START),0)

durability: build ## Kill every process of real recordings at random moments, ROUNDS (10) calls, seeds from SEED on
	@. .cache/env && cargo run --quiet --locked -p tests --bin durability -- --rounds $(or $(ROUNDS),10) $(if $(SEED),--seed $(SEED))

endurance: build ## Carry out and finalize a recording of HOURS (10) in minutes, and watch what grows
	@. .cache/env && cargo run --quiet --locked -p tests --bin endurance -- --hours $(or $(HOURS),10)

chaos: ## Break the real processes and the network around them (ROUNDS=2, SECONDS=210 each, SEED=1, CHAOS_LAUNCHER=process or kubernetes, OUTAGE_SECONDS, OUTAGE_OF=store,bucket,api)
	@scripts/setup.sh --install test
	@. .cache/env && cargo build --locked -p controller -p manager -p tests --bins && target/debug/chaos \
	  --rounds $(or $(ROUNDS),2) --seconds $(or $(SECONDS),210) --seed $(or $(SEED),1) \
	  --launcher $(or $(CHAOS_LAUNCHER),process) --outage-seconds $(or $(OUTAGE_SECONDS),0) $(if $(OUTAGE_OF),--outage-of $(OUTAGE_OF))

doctor: build ## Say what is missing on this machine
	@. .cache/env && STORE_URL=sqlite:.cache/doctor.sqlite RECORDINGS_URL=file://$(CURDIR)/demo-output target/debug/controller doctor

clean: ## Remove what was built and recorded
	@rm -rf target demo-output .cache
