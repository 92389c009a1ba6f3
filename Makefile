# claude-vm: every step is here or in a script that is called here, and is
# skipped while its inputs are unchanged.

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
# In a home systemd looks for units below share only.
UNITDIR ?= $(PREFIX)/$(if $(filter $(HOME)/%,$(PREFIX)),share,lib)/systemd/user
GUESTDIR ?= $(PREFIX)/share/claude-vm/guest
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
# Of the guest; that of the Debian guest is x86_64.
ARCH ?= $(shell uname -m)
# The guest: of NixOS where there is nix, else of Debian. With none it is somebody
# else's matter.
GUEST ?= $(if $(shell command -v nix),nix,debian)
ifeq ($(filter nix debian none,$(GUEST)),)
$(error GUEST=$(GUEST) is not nix, debian or none)
endif
QEMU ?= qemu-system-$(ARCH)
VIRTIOFSD ?= virtiofsd

# What is built once and used by every checkout.
export CLAUDE_VM_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/claude-vm
export WORK_DIR

GO ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
GOFLAGS_RELEASE = -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
SOURCES := $(shell find cmd guest/agent guest/initrd internal templates -name '*.go' -o -name '*.tmpl') internal/contract/version internal/contract/ssh-ports go.mod go.sum

.PHONY: help build install uninstall guest vm vm.run test bench lint clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: build/claude-vm-ctl build/claude-vm-generator ## Build the programs

build/claude-vm-%: $(SOURCES)
	@echo 'Building claude-vm-$*' >&2
	@CGO_ENABLED=0 $(GO) build $(GOFLAGS_RELEASE) -o $@ ./cmd/claude-vm-$*

build/agent/usr/lib/claude-vm/agent: $(SOURCES)
	@echo 'Building the guest agent' >&2
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $@ ./guest/agent

guest: build/guest ## Build the guest bundle, once, of GUEST=nix or debian

# The link names the bundle in a cache; its key is made of the content, so the
# builder is always asked.
.PHONY: build/guest guest-debian guest-nix guest-none
build/guest: guest-$(GUEST)

guest-debian: build/agent/usr/lib/claude-vm/agent
	@dir=$$(guest/debian/build --overlay guest/overlay --overlay build/agent "$$CLAUDE_VM_CACHE") && \
		ln -sfnT "$$dir" build/guest

# These links keep what has been built from being collected.
NIX_BUILD = mkdir -p build && nix --extra-experimental-features 'nix-command flakes' build --out-link
guest-nix:
	@$(NIX_BUILD) build/nix-guest .#guest
	@ln -sfnT nix-guest build/guest

guest-none:

install: build ## Install programs, units, completions, man pages and, if it has been built, the guest
	@ARCH='$(ARCH)' scripts/install '$(DESTDIR)' '$(BINDIR)' '$(UNITDIR)' '$(GUESTDIR)' '$(QEMU)' '$(VIRTIOFSD)'
	@install -Dm644 completion/claude-vm-ctl.bash '$(DESTDIR)$(DATADIR)/bash-completion/completions/claude-vm-ctl'
	@install -Dm644 completion/_claude-vm-ctl -t '$(DESTDIR)$(DATADIR)/zsh/site-functions'
	@install -Dm644 completion/claude-vm-ctl.fish -t '$(DESTDIR)$(DATADIR)/fish/vendor_completions.d'
	@if [ '$(GUEST)' = none ]; then \
		:; \
	elif [ -e build/guest/guest.env ]; then \
		install -pDm644 -t '$(DESTDIR)$(GUESTDIR)' build/guest/*; \
	else \
		echo 'install: the guest has not been built: make guest, then make install again' >&2; \
	fi
	@if command -v scdoc >/dev/null; then \
		for page in docs/man/*.[158].scd; do \
			name=$$(basename "$$page" .scd) && \
			mkdir -p '$(DESTDIR)$(MANDIR)'/man"$${name##*.}" && \
			scdoc <"$$page" >'$(DESTDIR)$(MANDIR)'/man"$${name##*.}/$$name" || exit 1; \
		done; \
	else \
		echo 'install: no man pages without scdoc' >&2; \
	fi

uninstall: ## Remove what make install has put there, given the same variables
	@scripts/uninstall '$(DESTDIR)' '$(BINDIR)' '$(UNITDIR)' '$(GUESTDIR)' '$(DATADIR)' '$(MANDIR)'

.PHONY: vm-debian vm-nix
vm: vm-$(GUEST) ## Make everything that vm.run needs

vm-nix:
	@$(NIX_BUILD) build/nix .#claude-vm

vm-debian: build guest
	@ARCH='$(ARCH)' scripts/install '' "$$PWD/build/root/bin" "$$PWD/build/root/lib/systemd/user" "$$PWD/build/guest" '$(QEMU)' '$(VIRTIOFSD)'

vm.run: vm ## Run Claude Code on the current directory, or WORK_DIR=, with ARGS=
	@GUEST='$(GUEST)' scripts/vm-run "$${WORK_DIR:-$$PWD}" $(ARGS)

test: ## Run all tests
	@scripts/test

lint: ## Check format and style
	@scripts/lint

bench: vm-debian ## Measure
	@scripts/bench

clean: ## Remove what was built here; the cache stays
	rm -rf build
