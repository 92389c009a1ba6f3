# Makefile of claude-vm. Longer steps are in scripts/. A step is skipped if its inputs
# have not changed.

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
# Below the home directory, systemd searches for units in share only, not in lib.
UNITDIR ?= $(PREFIX)/$(if $(filter $(HOME)/%,$(PREFIX)),share,lib)/systemd/user
GUESTDIR ?= $(PREFIX)/share/claude-vm/guest
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
# Architecture of the guest. The Debian guest supports x86_64 only.
ARCH ?= $(shell uname -m)
# Which guest to build: nix (NixOS), debian, or none if another build provides it. By
# default nix if the command nix is installed, otherwise debian.
GUEST ?= $(if $(shell command -v nix),nix,debian)
ifeq ($(filter nix debian none,$(GUEST)),)
$(error GUEST=$(GUEST) is invalid: use nix, debian or none)
endif
QEMU ?= qemu-system-$(ARCH)
VIRTIOFSD ?= virtiofsd
# The prefix of unshare(1) and setpriv(1), such as /usr/bin/. By default, systemd searches them.
UTILS ?=

# The cache for build results that all checkouts share.
export CLAUDE_VM_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/claude-vm
export WORK_DIR

GO ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
GOFLAGS_RELEASE = -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
SOURCES := $(shell find cmd guest/agent guest/initrd internal templates -name '*.go' -o -name '*.conf' -o -name groups) internal/contract/version internal/contract/ssh-ports go.mod go.sum

.PHONY: help build install uninstall guest vm vm.run test attack attack-mutants bench bench-quick lint clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

build: build/claude-vm-ctl build/claude-vm-gateway build/claude-vm-generator ## Build the programs

build/claude-vm-%: $(SOURCES)
	@echo 'Building claude-vm-$*' >&2
	@CGO_ENABLED=0 $(GO) build $(GOFLAGS_RELEASE) -o $@ ./cmd/claude-vm-$*

build/agent/usr/lib/claude-vm/agent: $(SOURCES)
	@echo 'Building the guest agent' >&2
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./guest/agent

guest: build/guest ## Build the guest bundle, GUEST=nix or debian

# build/guest is a link to the bundle in the cache. The name of the bundle is a hash of
# its inputs, which only the builder computes, so the builder always runs.
.PHONY: build/guest guest-debian guest-nix guest-none
build/guest: guest-$(GUEST)

guest-debian: build/agent/usr/lib/claude-vm/agent
	@dir=$$(guest/debian/build --overlay guest/overlay --overlay build/agent "$$CLAUDE_VM_CACHE") && \
		ln -sfnT "$$dir" build/guest

# The links made by --out-link are garbage collector roots.
NIX_BUILD = mkdir -p build && nix --extra-experimental-features 'nix-command flakes' build --out-link
guest-nix:
	@$(NIX_BUILD) build/nix-guest .#guest
	@ln -sfnT nix-guest build/guest

guest-none:

install: build ## Install programs, units, completions, man pages and the guest, if it is built
	@ARCH='$(ARCH)' scripts/install '$(DESTDIR)' '$(BINDIR)' '$(UNITDIR)' '$(GUESTDIR)' '$(QEMU)' '$(VIRTIOFSD)' '$(UTILS)'
	@install -Dm644 completion/claude-vm-ctl.bash '$(DESTDIR)$(DATADIR)/bash-completion/completions/claude-vm-ctl'
	@install -Dm644 completion/_claude-vm-ctl -t '$(DESTDIR)$(DATADIR)/zsh/site-functions'
	@install -Dm644 completion/claude-vm-ctl.fish -t '$(DESTDIR)$(DATADIR)/fish/vendor_completions.d'
	@if [ '$(GUEST)' = none ]; then \
		:; \
	elif [ -e build/guest/guest.env ]; then \
		install -pDm644 -t '$(DESTDIR)$(GUESTDIR)' build/guest/*; \
	else \
		echo 'install: the guest is not built, so it is not installed; run make guest, then make install again' >&2; \
	fi
	@if command -v scdoc >/dev/null; then \
		for page in docs/man/*.[1578].scd; do \
			name=$$(basename "$$page" .scd) && \
			mkdir -p '$(DESTDIR)$(MANDIR)'/man"$${name##*.}" && \
			scdoc <"$$page" >'$(DESTDIR)$(MANDIR)'/man"$${name##*.}/$$name" || exit 1; \
		done; \
	else \
		echo 'install: scdoc is not installed, so man pages are not installed' >&2; \
	fi

uninstall: ## Remove the files that make install installed with the same variables
	@scripts/uninstall '$(DESTDIR)' '$(BINDIR)' '$(UNITDIR)' '$(GUESTDIR)' '$(DATADIR)' '$(MANDIR)'

.PHONY: vm-debian vm-nix
vm: vm-$(GUEST) ## Build everything that vm.run needs

vm-nix:
	@$(NIX_BUILD) build/nix .#claude-vm

vm-debian: build guest
	@ARCH='$(ARCH)' scripts/install '' "$$PWD/build/root/bin" "$$PWD/build/root/lib/systemd/user" "$$PWD/build/guest" '$(QEMU)' '$(VIRTIOFSD)' '$(UTILS)'

vm.run: vm ## Run Claude Code on the current directory, or WORK_DIR=, with ARGS=
	@GUEST='$(GUEST)' scripts/vm-run "$${WORK_DIR:-$$PWD}" $(ARGS)

test: ## Run all tests
	@scripts/test

attack: ## Run all attacks of test/attack, also the slow ones
	@scripts/test attack

attack-mutants: ## Take out each protection, and expect its attack to succeed
	@scripts/test mutants

lint: ## Check format and style
	@scripts/lint

bench: vm-debian ## Run the benchmarks
	@scripts/bench

bench-quick: ## Compare start and files with other ways to run a guest, in five minutes
	@scripts/bench quick

clean: ## Remove build results from this checkout, but not from the cache
	rm -rf build
