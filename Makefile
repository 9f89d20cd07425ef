# edgenet. `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X edgenet.dev/edgenet/internal/version.Version=$(VERSION)
PROGRAMS := edgenetd edgenetctl
PREFIX ?= /usr/local
TOOLS := $(CURDIR)/bin/tools

# Every .proto of the tree; each is generated beside itself.
PROTOS := $(shell find api internal pkg -name '*.proto' 2>/dev/null | sort)
# What the end-to-end tests hang on: missing privileges fail instead of skip.
E2E ?= must
# Which scenarios have edgenetd run with the race detector: 1 is those that measure
# neither time nor loss, all is every one, nothing is none.
RACE ?= 1
# Fuzzing time of each target in `make fuzz`.
FUZZTIME ?= 10s

export GOFLAGS ?= -buildvcs=false

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## a mesh of four hosts and two tenants in namespaces (KEEP=1 leaves it running, STOP=1 ends that)
	scripts/deps.sh demo
	$(MAKE) build
	go build -o bin/demo ./test/demo
	EDGENET_BIN=$(CURDIR)/bin bin/demo $(if $(KEEP),-keep) $(if $(STOP),-stop)

.PHONY: build
build: ## the programs, static, into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(PROGRAMS:%=./cmd/%)
	go run ./scripts/checkstatic $(PROGRAMS:%=bin/%)

.PHONY: build-arm64
build-arm64: ## the programs for arm64, static, into bin/arm64/
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/arm64/ $(PROGRAMS:%=./cmd/%)
	go run ./scripts/checkstatic $(PROGRAMS:%=bin/arm64/%)

.PHONY: install
install: build ## the programs into $(PREFIX)/bin
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin $(PROGRAMS:%=bin/%)

.PHONY: test
test: ## everything: vet, generated code, lint, all tests, chosen ones on stock kernels
	scripts/deps.sh test generate vm
	$(MAKE) vet generate-check lint test-unit test-e2e test-vm

.PHONY: vet
vet: ## go vet
	go vet ./...

# Without the race detector: pkg/policy, which has no goroutine and no clock, only long
# comparisons with random input; test/sim, whole meshes in virtual time, whose parts
# have it in pkg/mesh; and what is left out in isolation where it slows it.
.PHONY: test-unit
test-unit: ## the tests of each package
	scripts/tools.sh rules
	EDGENET_E2E=$(E2E) go test -race -timeout 15m $$(go list ./... | grep -v -e '/test/netns$$' -e '/pkg/policy$$' -e '/test/sim$$')
	go test ./pkg/policy ./test/sim
	EDGENET_E2E=$(E2E) go test -run '^TestSimulatorRulesAndProgramAgree$$' ./pkg/isolation

# By themselves, after the others: they count what is left in the kernel. By threes, as
# most of them wait most of the time.
.PHONY: test-e2e
test-e2e: ## the whole-system scenarios (RUN=regexp chooses, RACE=all has every edgenetd look for races)
	mkdir -p bin && rm -f bin/figures.txt
	passed=true; EDGENET_FIGURES=$(CURDIR)/bin/figures.txt EDGENET_E2E=$(E2E) EDGENET_ALONE=1 EDGENET_RACE=$(RACE) \
		$(if $(RUN),,go run ./test/vm/matrix -record netns) \
		go test -race -count=1 -parallel 3 -timeout 20m $(if $(RUN),-run '$(RUN)' -v,-json) ./test/netns || passed=false; \
	if [[ -e bin/figures.txt ]]; then cat bin/figures.txt; fi; $$passed

.PHONY: vmtest
vmtest: ## bin/vmtest, which runs one command on a stock kernel (docs/kernels.md)
	scripts/deps.sh vm
	CGO_ENABLED=0 go build -trimpath -o bin/ ./test/vm/vmtest

.PHONY: test-vm
test-vm: vmtest build ## chosen tests with each driver on stock kernels 6.1 and 6.12, in virtual machines, and here (K=6.1 ONLY=regexp RUN=regexp choose)
	EDGENET_E2E=$(E2E) go run ./test/vm/matrix $(if $(K),-k $(K)) -only '$(ONLY)' -run '$(RUN)'

.PHONY: test-matrix
test-matrix: vmtest build ## all tests with every driver on every kernel: many hours (K=6.1 ONLY='netns ipsec-kernel' RUN=TestFaults choose)
	EDGENET_E2E=$(E2E) go run ./test/vm/matrix -all -limit 48h $(if $(K),-k $(K)) -only '$(ONLY)' -run '$(RUN)'

.PHONY: bench
bench: ## measure the promises (ONLY=regexp chooses), into bench/results.json
	scripts/deps.sh bench
	scripts/tools.sh bench
	$(MAKE) build
	go build -o bin/bench ./bench
	EDGENET_BIN=$(CURDIR)/bin bin/bench -only '$(ONLY)' -out bench/results.json

.PHONY: bench-check
bench-check: ## fail when a measured promise is missed
	scripts/bench-check.sh bench/results.json

# How many nodes `make sim` simulates, one run each, how many endpoints they have
# together, and more flags of test/sim (SIM='-loss 0.01 -partition 0').
NODES ?= 50 150 1000
ENDPOINTS ?= 10000
SIM ?=

.PHONY: sim
sim: ## measure how the mesh scales, simulated, into docs/scale.md (NODES='50 150' ENDPOINTS=1000 SIM=flags choose)
	mkdir -p bin docs/scale
	go test -c -o bin/sim.test ./test/sim
	for n in $(NODES); do \
		TMPDIR=$${TMPDIR:-/dev/shm} bin/sim.test -test.v -test.timeout 0 -test.run '^TestMeasure$$' \
			-nodes $$n -endpoints $(ENDPOINTS) -out docs/scale/$$n.json $(SIM); \
	done
	go run ./test/sim/report -page docs/scale.md docs/scale/*.json

.PHONY: lint
lint: tools ## golangci-lint, staticcheck, govulncheck, clang-format
	scripts/lint.sh

.PHONY: fmt
fmt: tools ## gofumpt, gci and clang-format in place
	$(TOOLS)/golangci-lint fmt
	find bpf -name '*.[ch]' -exec clang-format-19 -i {} +

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: tools
tools: ## the linters, by version, into bin/tools
	scripts/tools.sh lint

.PHONY: generate
generate: ## protobuf, Connect and BPF objects
	scripts/deps.sh generate
	scripts/tools.sh generate
	scripts/generate.sh $(PROTOS)

.PHONY: generate-check
generate-check: ## fail when a generated file is not what its source gives
	scripts/generate-check.sh $(PROTOS)

.PHONY: clean
clean: ## what was built
	rm -rf bin bench/results.json
