# An index of what can be done here: each target is one command. `make` lists them.
SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c
TOOL        := go tool -modfile=$(CURDIR)/tools/go.mod
E2E         := go -C e2e run
SANDBOX     := $(E2E) ./cmd/sandbox
# `go test` of all packages of a module, shown in FORMAT.
test         = $(TOOL) gotestsum --format=$(or $(FORMAT),$(1)) --hide-summary=skipped --packages="$(2)" --
# runs a command whose packages share one API server
SHARED       = SERIN_KUBE=$$($(SANDBOX) build kube) go run ./internal/apitest/cmd/with-apiserver
# tests triggers/ with what Tekton Triggers is made of, compiled as the sandbox does
TRIGGERS     = go -C e2e/sandbox/modules/triggers test -count=1 -vet=off '-gcflags=all=-l -dwarf=false' -gcflags=std=
# prints lines of over 120 columns, a tab being 4, but for raw strings: what is pasted there has a form of its own
LONG         = FNR == 1 { raw = 0 } \
	{ ticks = gsub(/`/, "`"); line = $$0; gsub(/\t/, "    ", line) } \
	!raw && !ticks && length(line) > 120 { print FILENAME ":" FNR ": " length(line) " columns, want at most 120"; long = 1 } \
	ticks % 2 { raw = !raw } \
	END { exit long }
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
export VERSION
# Everything is compiled as the steps are, so that it is compiled once.
export CGO_ENABLED = 0
export GOFLAGS = -trimpath
export KO_CONFIG_PATH = ko.yaml

.PHONY: help demo test check contracts unit tests any model lint generate verify site images release programs
.PHONY: sandbox sandbox-down recording e2e test-faults bench bench-lossless bench-scale bench-judge
help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.* ## \(.*\)/\1\t\2/p' Makefile | expand -t 14

demo: ## play a release that is promoted and one that is taken back, in a sandbox
	@echo "this takes 11 minutes on two quiet processors the first time, 4 later; compiling begins with the demo itself"
	$(E2E) ./cmd/demo

test: lint verify site tests e2e ## everything that CI runs

check: lint verify unit contracts ## what answers in three minutes, while one works

unit: ## the tests that need nothing but Go
	go test -short ./...
	cd e2e && go test -short ./...

contracts: ## what steps, Tasks and Pipelines take and give, against a real API server
	$(SHARED) go test ./steps/... ./internal/catalog/... ./internal/packing/...

tests: ## the tests of the root module, with a real API server
	$(SHARED) env CGO_ENABLED=1 $(call test,pkgname,./...) -race -shuffle=on -ldflags=-w -p 4 -timeout 20m

any: ## release applications of any shape, ANY_CASES of them (20000), from ANY_SEED on
	$(SHARED) env ANY_CASES=$${ANY_CASES:-20000} ANY_SEED=$${ANY_SEED:-$$RANDOM$$RANDOM} go test -count=1 -v -timeout 0 -run AnyApplication ./pkg/release

model: ## play runs against each other for MODEL_SECONDS (600), from MODEL_SEED on
	MODEL_SECONDS=$${MODEL_SECONDS:-600} MODEL_SEED=$${MODEL_SEED:-$$RANDOM$$RANDOM} go test -count=1 -v -timeout 0 -run Interleavings ./internal/interleaving

# The scenarios count lost requests and seconds: they have the machine for themselves.
e2e: ## the tests of the e2e module, which start sandboxes: needs root
	cd e2e && $(call test,testname,$$(go list ./... | grep -v /scenarios$$)) -count=1 -ldflags=-w -p 3 -timeout 30m
	cd e2e && $(call test,testname,./scenarios) -count=1 -ldflags=-w -parallel 40 -timeout 30m
	$(TRIGGERS) ./...

test-faults: ## break releases at every moment in every way, and write docs/faults.md (FAULTS: names of faults, missing, or all)
	go -C e2e test -count=1 -v -timeout 180m -run TestMatrix ./faults -faults "$(or $(FAULTS),all)" -write $(CURDIR)/docs

lint: ## what a reviewer should not have to say
	@! $(TOOL) goimports -local github.com/serin-cd/serin -l $$(git ls-files '*.go') | grep .
	@git ls-files '*.go' | xargs awk '$(LONG)'
	go vet ./... && $(TOOL) staticcheck ./...
	cd e2e && go vet ./... && $(TOOL) staticcheck ./...

generate: ## write the files that follow from others
	go run ./internal/catalog/cmd/generate

verify: ## fail if a generated file or a go.mod is out of date
	go run ./internal/catalog/cmd/generate -verify && go mod tidy -diff

site: ## build these pages as a site in dist/site, and fail on a link or anchor that leads nowhere
	python3 tools/site/build.py

images: ## write the step images as dist/images.tar, and dist/release.yaml that names them
	go run ./internal/packing/cmd/pack -version $(VERSION) -out dist

release: ## push the step images to KO_DOCKER_REPO and write dist/release.yaml
	mkdir -p dist && go run ./internal/packing/cmd/pack -manifest | $(TOOL) ko resolve --base-import-paths --tags $(VERSION) -f - > dist/release.yaml

programs: ## write the archives of tkn-canary for each platform and their SHA256SUMS to dist
	go run ./internal/packing/cmd/pack -version $(VERSION) -out dist -programs $(or $(PLATFORMS),all)

sandbox: ## start a real one-node cluster and leave it running
	$(SANDBOX) up

sandbox-down: ## end the sandbox
	$(SANDBOX) down

recording: ## play a release in a sandbox, and record how watch shows it as docs/watch.svg and dist/watch.cast
	mkdir -p dist && $(E2E) ./cmd/recording -out $(CURDIR)/dist/watch.cast -picture $(CURDIR)/docs/watch.svg $(RECORDINGFLAGS)

bench: ## print the numbers that Serin promises, beside Flagger's
	go -C e2e run ./cmd/bench $(BENCHFLAGS)

bench-lossless: ## count lost requests over promotions and rollbacks, 200,000 requests in all
	go -C e2e run ./cmd/bench -only-lossless $(BENCHFLAGS)

bench-scale: ## release 500 applications at once against one API server, and print what that costs
	go -C e2e run ./cmd/bench-scale $(SCALEFLAGS)

bench-judge: ## play simulated rollouts, and fail if the judge errs more often than docs/judge-figures.md allows
	go run ./internal/simulation/cmd/judge-figures -runs $(or $(RUNS),2000) -out docs/judge-figures.md
