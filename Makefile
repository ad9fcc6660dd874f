# The targets a developer needs. FUZZTIME is per fuzz target.

FUZZTIME ?= 30s
BENCH    ?= .
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: build run test race fuzz bench bench-peers conformance conformance-bin conformance-report lint cover

build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-X main.linkedVersion=$(VERSION)" -o promptmq ./cmd/promptmq

run:
	go run ./cmd/promptmq server

test:
	go test ./...

race:
	CGO_ENABLED=1 go test -race ./...

# Every fuzz target of every package, one after the other.
fuzz:
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) $$package; \
		done; \
	done

bench:
	go test -run='^$$' -bench='$(BENCH)' -benchmem ./...

# PromptMQ beside other brokers; PEERS holds more flags, such as
# PEERS="--rounds 1 --peer 'name=command with {port}'". See docs/performance.md.
bench-peers: build
	./promptmq bench peers $(PEERS)

# The suite against a PromptMQ that it starts itself; the last lines are the
# counts. SUITE holds flags of the suite: make conformance SUITE='-version 5'
conformance: conformance-bin
	cd conformance && ../conformance.test $(SUITE)

# The suite as one binary for any broker: ./conformance.test -broker tcp://host:1883
conformance-bin:
	go test -c -o conformance.test ./conformance

# Rewrites docs/conformance.md and the tests column of conformance/statements.tsv.
conformance-report:
	go test -count=1 -run 'TestConformance|TestStatements' ./conformance -update

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

cover:
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -n 1
