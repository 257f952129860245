# make dev     build and run a whole cluster in one process: S3 on http://127.0.0.1:9000
# make test    install what the tests need, then run everything that CI runs
# make verify  the gate alone: format, clippy, licences and sources, tests; changes nothing
# make compat  real S3 tools against a cluster of three nodes; writes the table in docs/s3-compatibility.md
# make fix     format, and let clippy repair what it can
# make manifests        render openshift/ anew (kubectl or kustomize, and helm, must be there)
# make manifests-check  check what is rendered: schemas, restricted-v2, references
# make golden  make the data directory of the present format anew (tests/golden), before a release
# make compose-test     build the image and try docker-compose.yml, where there is a Docker engine
# make sbom             what is in the binary, as CycloneDX JSON
# make prove   the long gate: 3,000 simulated clusters, planted bugs, real faults; writes docs/reliability.md as it goes.
#              ARGS='teeth' or 'seeds --runs 500' runs a part; SIM_CPU_SECONDS bounds one call, and the next one
#              goes on where it was as long as the simulator is the same
# make fuzz    what comes from outside or from disks, guided by coverage, SECONDS (20) for each of twelve targets
# make fuzz-corpus   the same for longer, and keep the inputs that reach most in fuzz/corpus
# make mutants changes the pure cores line by line and looks whether a test notices; MUTANTS='-f FILE' for a part
# make bench   the load generator against a cluster on this machine

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Outside of the clone, so that a fresh clone builds on what an earlier one left.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/holdfast-target
export TOOLS ?= $(HOME)/.cache/holdfast-tools
# A venv of an earlier run, and cargo where rustup puts it.
export PATH := $(TOOLS)/venv/bin:$(TOOLS)/bin:$(HOME)/.cargo/bin:$(HOME)/.local/bin:$(PATH)
export CARGO_TERM_COLOR ?= auto
TOOLCHAIN := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
AWSCLI := 1.45.11
BOTO3 := 1.44.8
S3CMD := 2.4.0
CARGO_DENY := 0.20.2
CARGO_CYCLONEDX := 0.5.9
CARGO_MUTANTS := 27.1.0
KUBERNETES_VALIDATE := 1.37.0
HELM := 3.17.3.post1

.PHONY: fuzz fuzz-corpus mutants golden compat manifests manifests-check manifests-tools compose-test sbom help dev test verify fix prove bench toolchain tools fmt clippy deny check-tests

help:
	@sed -n 's/^# make/make/p' Makefile

dev: toolchain
	cargo build --release --locked -p holdfast
	exec "$$CARGO_TARGET_DIR/release/holdfast" dev $(ARGS)

test: toolchain tools fmt clippy manifests-check check-tests

verify: toolchain fmt clippy deny check-tests

fix: toolchain
	cargo fmt --all
	cargo clippy --workspace --all-targets --locked --fix --allow-dirty --allow-staged

# rclone, restic, s3fs, the AWS CLI's version 2 and the AWS SDK for Go come from the distribution, the SDK for JavaScript from npm
# where there is Node.js, Terraform or OpenTofu from wherever it is, the others from PyPI.
compat: toolchain tools
	cargo build --locked -p holdfast
	python3 -m venv "$(TOOLS)/compat"
	"$(TOOLS)/compat/bin/python" -m pip install --quiet --disable-pip-version-check awscli boto3 s3cmd duckdb duckdb-extensions duckdb-extension-httpfs deltalake pyarrow "pyiceberg[pyarrow,sql-sqlite]"
	for tool in restic rclone s3fs go /usr/bin/aws; do command -v $$tool >/dev/null || missing=1; done; [ -d /usr/share/gocode/src/github.com/aws/aws-sdk-go-v2 ] || missing=1; \
	  [ -z "$${missing:-}" ] || $$([ "$$(id -u)" = 0 ] || echo sudo) apt-get install -y --no-install-recommends rclone restic s3fs awscli golang-go golang-github-aws-aws-sdk-go-v2-dev
	! command -v npm >/dev/null || npm install --silent --no-audit --no-fund --prefix "$(TOOLS)/compat-node" @aws-sdk/client-s3 @aws-sdk/lib-storage @aws-sdk/s3-presigned-post @aws-sdk/s3-request-presigner
	COMPAT_NODE_MODULES="$(TOOLS)/compat-node/node_modules" PATH="$(TOOLS)/compat/bin:$$PATH" python3 tests/compat/matrix.py --binary "$$CARGO_TARGET_DIR/debug/holdfast" --write docs/s3-compatibility.md

prove: toolchain tools
	cargo build --profile prove --workspace --locked --features holdfast-tests/planted-faults --bins
	cargo build --workspace --locked --features holdfast-tests/planted-faults --all-targets
	program=$$(.ci/fuzz build) && FUZZ_PROGRAM="$$program" .ci/prove $(ARGS)

# Two targets at a time. Needs what `make tools` installs.
SECONDS ?= 20
fuzz: toolchain
	cargo build --workspace --locked --bins
	program=$$(.ci/fuzz build) && "$$CARGO_TARGET_DIR/debug/prove" fuzz --fuzz-program "$$program" --fuzz-seconds $(SECONDS)

fuzz-corpus: toolchain
	.ci/fuzz corpus $(SECONDS)

mutants: toolchain
	@command -v cargo-mutants >/dev/null || cargo install cargo-mutants --version $(CARGO_MUTANTS) --locked --root "$(TOOLS)"
	.ci/mutants $(MUTANTS)

bench: toolchain
	cargo build --release --locked -p holdfast -p holdfast-tests --bins
	exec "$$CARGO_TARGET_DIR/release/bench" $(ARGS)

manifests: manifests-tools
	PATH="$(TOOLS)/manifests/bin:$$PATH" python3 openshift/check/check.py --render

manifests-check: manifests-tools
	PATH="$(TOOLS)/manifests/bin:$$PATH" python3 openshift/check/check.py

# In a venv of their own, so that their versions stand in nobody's way.
manifests-tools:
	@KUBERNETES_VALIDATE="$(KUBERNETES_VALIDATE)" HELM="$(HELM)" .ci/manifests-tools

# Once a format is released its directory stays as it is: a change that an older program could not read raises FORMAT in
# replica/src/node/format.rs first.
golden: toolchain
	cargo build --locked --workspace --all-targets
	cargo test --locked --workspace --test golden -- --ignored --exact make --nocapture

compose-test:
	.ci/compose-test

sbom: toolchain
	@command -v cargo-cyclonedx >/dev/null || cargo install cargo-cyclonedx --version $(CARGO_CYCLONEDX) --locked --root "$(TOOLS)"
	cargo cyclonedx --format json --manifest-path Cargo.toml --override-filename holdfast.cdx
	@ls -l holdfast.cdx.json

# `rustup toolchain install` reaches for the network even when everything is there.
toolchain:
	@rustup run $(TOOLCHAIN) cargo fmt --version >/dev/null 2>&1 \
	  && rustup run $(TOOLCHAIN) cargo clippy --version >/dev/null 2>&1 \
	  || rustup toolchain install $(TOOLCHAIN) --profile minimal --component clippy --component rustfmt

tools:
	@AWSCLI="$(AWSCLI)" BOTO3="$(BOTO3)" S3CMD="$(S3CMD)" .ci/tools

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The advisory database comes from the network; without it the other checks still count.
deny:
	@command -v cargo-deny >/dev/null || cargo install cargo-deny --version $(CARGO_DENY) --locked --root "$(TOOLS)"
	cargo deny --locked check licenses bans sources
	cargo deny --locked check advisories || { cargo deny fetch db >/dev/null 2>&1 && exit 1; echo 'no advisory database at hand: advisories are not checked'; }

# The end-to-end tests run the binary that the first line builds: with everything that the second needs, so that both use
# the same features of every crate and nothing is built twice. The last line says how many tests there were.
check-tests:
	cargo build --workspace --all-targets --locked
	@program=$$(.ci/fuzz quick); FUZZ_PROGRAM=$$program .ci/count .ci/beside .ci/search cargo test --workspace --locked --no-fail-fast
