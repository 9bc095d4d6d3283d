# Thin: every target is one or two commands that can be typed by hand. `make help` lists them.
GO            ?= go
GOLANGCI      ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT       ?= $(GO) run mvdan.cc/gofumpt@v0.12.0
BENCHSTAT     ?= $(GO) run golang.org/x/perf/cmd/benchstat@latest
VULNCHECK     ?= $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.8.0
FUZZTIME      ?= 10s
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS       := -s -w -X main.version=$(VERSION)
ROBUSTNESS    ?= -count=1
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

build: ## static binaries into bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

test: ## everything that must pass; installs what it needs on Debian as root
	./tools/test.sh

unit: ## the Go tests of the product, with the race detector and invariants
	CGO_ENABLED=1 $(GO) test -race -tags invariants ./...

race: unit ## the same as unit

quick: ## the Go tests without race detector
	$(GO) test ./...

vet: ## go vet
	$(GO) vet ./...

lint: vet ## go vet and golangci-lint
	$(GOLANGCI) run --allow-parallel-runners ./...

fmt: ## format in place
	$(GOFUMPT) -w .
	$(GOLANGCI) fmt ./...

tidy: ## go mod tidy in every module
	$(GO) mod tidy
	@for m in $$(git ls-files '*/go.mod'); do (cd $$(dirname $$m) && $(GO) mod tidy); done

fuzz: ## each fuzz target for FUZZTIME
	./tools/fuzz.sh $(FUZZTIME)

bench: ## Go benchmarks, six runs each, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count=6 ./... | tee bench.out
	$(BENCHSTAT) bench.out

compat: ## foreign clients against a running broker
	cd tests/compat && $(GO) test -count=1 ./...

robustness: ## faults on real brokers and checks of what was acknowledged, all rounds: hours
	$(GO) test -tags robustness $(ROBUSTNESS) -timeout 12h -v ./tests/robustness

robustness-short: ## the rounds that fit a continuous integration run
	./tools/robustness-short.sh

docs: ## regenerate what is generated: docs/config.md, configs/full-reference.yaml
	$(GO) test ./internal/config -run 'TestGenerated' -update

vulncheck: ## known vulnerabilities on call paths (needs the network)
	$(VULNCHECK) ./...

clean: ## remove what was built
	rm -rf bin dist bench.out

.PHONY: help build test unit race quick vet lint fmt tidy fuzz bench compat robustness robustness-short docs vulncheck clean
