# The targets a developer needs. FUZZTIME is per fuzz target.

FUZZTIME ?= 30s
BENCH    ?= .
COMMIT   ?= $(shell git describe --always --abbrev=12 --exclude='*' --dirty=-modified 2>/dev/null)

.PHONY: build install release release-check run test race prove hostile outside clients fuzz bench bench-peers conformance conformance-bin conformance-report lint cover

# -s -w leave out what only a debugger needs: a panic still names functions and lines.
build:
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.linkedCommit=$(COMMIT)" -o promptmq ./cmd/promptmq

# What is built goes to $(DESTDIR)$(PREFIX)/bin, and with systemd its unit beside it, which is
# not enabled: docs/deployment.md says what a service needs beside that.
PREFIX ?= /usr/local
install:
	@test -x promptmq || { echo 'run "make build" first'; exit 1; }
	install -D -m 0755 promptmq '$(DESTDIR)$(PREFIX)/bin/promptmq'
	install -d -m 0755 '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(PREFIX)/lib/systemd/system'
	./promptmq completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/promptmq'
	sed 's#/usr/bin/promptmq#$(PREFIX)/bin/promptmq#' deploy/systemd/promptmq.service >'$(DESTDIR)$(PREFIX)/lib/systemd/system/promptmq.service'

# Binaries, archives and packages of all platforms, in dist/. RELEASE holds flags, such as
# RELEASE="-only linux-amd64".
release:
	cd deploy/release && go run . $(RELEASE)

# The same from a fresh clone elsewhere: every byte must be the same.
release-check: release
	@clone=$$(mktemp -d) && trap 'rm -rf "$$clone"' EXIT && git clone -q . "$$clone/src" && \
	cd "$$clone/src/deploy/release" && go run . $(RELEASE) && diff -r "$(CURDIR)/dist" "$$clone/src/dist" && echo 'two releases are equal in every byte'

run:
	go run ./cmd/promptmq server

# A broker for development that is built and started again when a file of it changes. Its data,
# in .dev, stay. DEV holds more flags, such as DEV="--no-browser --log-level trace".
dev:
	@mkdir -p .dev; pid=; flags=; trap 'test -z "$$pid" || kill $$pid; wait; exit 0' INT TERM; \
	while touch .dev/began; do \
		if go build -o .dev/promptmq ./cmd/promptmq; then \
			test -z "$$pid" || kill $$pid; wait; \
			.dev/promptmq dev --data-dir .dev/data $$flags $(DEV) & pid=$$!; flags=--no-browser; \
		fi; \
		until find . \( -path ./.dev -o -path ./.git \) -prune -o -newer .dev/began -type f \
			\( -name '*.go' -o -name 'go.*' -o -path './broker/admin/page/*' \) -print | grep -q .; do sleep 1; done; \
		echo 'make dev: something has changed'; \
	done

test:
	go test -timeout 20m ./...

race:
	CGO_ENABLED=1 go test -race -timeout 20m ./...

# The proof of docs/durability.md: a line for each figure; their logs stay in $(PROOF).
PROOF ?= /tmp/promptmq-prove

# figure NAME,what is shown,arguments of go test
define figure
@printf '%-4s %-58s ' '$(1)' '$(2)'; start=$$(date +%s); \
if go test -count=1 -timeout 20m -v $(3) >'$(PROOF)/$(1).log' 2>&1; then \
	printf 'met in %d s: %s\n' $$(($$(date +%s) - start)) "$$(sed -n 's/^ *[a-z0-9_]*_test.go:[0-9]*: \([0-9].*\)/\1/p' '$(PROOF)/$(1).log' | paste -sd ';')"; \
else printf 'NOT MET, see %s\n' '$(PROOF)/$(1).log'; exit 1; fi
endef

prove:
	@mkdir -p '$(PROOF)'
	$(call figure,G1,power cuts: nothing acknowledged is lost or doubled,./broker -run '^TestSimPowerCut$$' -sim.seeds=2000)
	$(call figure,G1r,the same with rollback journals in place of the WAL,./broker -run '^TestSimRollbackJournal$$' -sim.seeds=1000)
	$(call figure,G1o,the same with full queues that drop their oldest messages,./broker -run '^TestSimDropOldest$$' -sim.seeds=500)
	$(call figure,G1s,the same with few Packet Identifiers and some stuck,./broker -run '^TestSimStuck$$' -sim.seeds=500)
	$(call figure,G1c,controls: each broken promise is caught in 200 seeds,./broker -run '^TestSimControl')
	$(call figure,G2,kill -9 and stops of the real binary,./cmd/promptmq -run '^TestKill9(Control)?$$' -kills=1000)
	$(call figure,G3,failed syncs; cuts during the next start,./broker -run '^TestSim(FsyncFail|StartCut)$$' -sim.seeds=1000)
	$(call figure,G4,full disks: refusals without a trace; recovery,./broker -run '^Test(SimDiskFull|DiskFull)$$' -sim.seeds=500)
	$(call figure,G4h,disks that are full for hours: recovery in a second,./broker -run '^TestSimDiskLongFull$$' -sim.seeds=50)
	$(call figure,G5,stalled disks: nothing is acknowledged early,./broker -run '^TestSimDiskStall$$' -sim.seeds=1000)
	$(call figure,G6,damaged files: an error or what was stored; salvage,./store -run '^Test(CorruptStart|Salvage)' -mutations=2000)
	$(call figure,G6b,bits that turn over while the broker runs,./broker -run '^TestSimBitFlip$$' -sim.seeds=500)
	$(call figure,G7,timers through restarts and jumps of the clock,./broker -run '^TestSimTimers$$' -sim.hours=10000)
	$(call figure,G8,power cuts and kills while retained messages are fetched,./broker -run '^TestSimRetainedFetch$$' -sim.seeds=1000)
	$(call figure,G9,files removed or replaced under the broker; a control,./cmd/promptmq -run 'StoreGone')
	$(call figure,G10,Wills of volatile sessions over kill -9; control,./cmd/promptmq -run '^TestKill9Wills' -kills=1000)
	$(call figure,G10b,the same with power cuts,./broker -run '^TestSimWills$$' -sim.seeds=1000)

# Hostile load on the real binary, in full: a line for each figure, as of prove.
hostile:
	@mkdir -p '$(PROOF)'
	$(call figure,H1,5000 connections that begin something and never end it,./cmd/promptmq -run '^TestHostileConnections$$' -hostile.long)
	$(call figure,H2,one subscriber of 100 that takes nothing,./cmd/promptmq -run '^TestStalledSubscriber$$' -hostile.long)
	$(call figure,H3,floods and hoards with GOMEMLIMIT=256MiB,./cmd/promptmq -run '^TestHoards$$' -hostile.long)
	$(call figure,H4,10000 wrong passwords a second beside 5000 messages,./cmd/promptmq -run '^TestWrongPasswords$$' -hostile.long)
	$(call figure,H7,100000 bad CONNECT packets: nothing stays,./broker -run '^TestLeakConnect$$' -leak.connects=100000)
	$(call figure,H8,100000 retained messages for those who take one at a time,./cmd/promptmq -run '^TestRetainedFlood$$' -hostile.long)
	$(call figure,H9,5000 half handshakes of TLS,./cmd/promptmq -run '^TestTLSStall$$' -hostile.long)

# Browsers, proxies and clients that others wrote against the binary. Debian:
# apt-get install prometheus chromium nginx-light libnginx-mod-stream haproxy openssl mosquitto-clients npm strace rpm jq iproute2
MQTTJS ?= /tmp/promptmq-mqttjs
outside:
	@mkdir -p '$(MQTTJS)' && cd '$(MQTTJS)' && { test -f package/dist/mqtt.min.js || tar xzf "$$(npm pack --silent mqtt@5.16.0)"; }
	go test -count=1 -timeout 20m -v -tags outside -run Outside ./cmd/promptmq -mqttjs '$(MQTTJS)/package/dist/mqtt.min.js'

# The programs of examples/clients, each over a kill -9 of the broker, and the table of docs/clients.md. CLIENTS holds
# flags: make clients CLIENTS='-clients.only Python'. What cannot be installed is left out, and the table says why. Debian:
# apt-get install python3-venv npm maven openjdk-17-jdk-headless gcc libmosquitto-dev libpaho-mqtt-dev cargo chromium
clients:
	go test -count=1 -timeout 60m -v -tags outside -run '^TestClientPrograms$$' ./cmd/promptmq -update $(CLIENTS)

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
	go vet -tags control ./...
	go vet -tags invariants ./...
	go vet -tags outside ./cmd/promptmq
	go tool staticcheck ./...

cover:
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -n 1
