# The targets that people and CI use. Tools are run by `go run` at fixed
# versions, so that nothing has to be installed for them and go.mod stays clean.

GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What the tests run against beyond Go itself. Where it cannot be installed, the
# tests concerned say by name that they were skipped.
DEBIAN = postgresql pcscd vsmartcard-vpcd opensc nginx-light openssl zbar-tools curl iproute2 osmo-hlr \
  libqmi-proxy libqmi-utils libmbim-proxy libmbim-utils

.PHONY: build agents test check race deps clients ferretdb

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o godwit ./cmd/godwit

# The agent for devices, static and without anything else. The whole program has
# one too (godwit agent); it is for 64-bit processors.
AGENTS = amd64 arm64 armv6 armv7 mips mipsle

agents: $(AGENTS:%=dist/godwit-agent-linux-%)
	@ls -l dist

dist/godwit-agent-linux-%: FORCE
	GOOS=linux GOARCH=$(if $(filter armv%,$*),arm,$*) GOARM=$(patsubst armv%,%,$(filter armv%,$*)) GOMIPS=softfloat \
	  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/godwit-agent

FORCE:

test: deps clients ferretdb
	PATH="$(CLIENTS)/bin:$$PATH" go run ./db/dbtest/withpostgres go test ./...

# deps installs the Debian packages if it may: as root, with apt, and only those
# that are missing.
deps:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=$$(for p in $(DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	  if [ -n "$$missing" ]; then \
	    echo "installing $$missing"; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $$missing; } >/dev/null 2>&1 \
	      || echo "could not install all of: $$missing; the tests that need them will be skipped"; \
	  fi; \
	else echo "not root on Debian: tests whose programs are missing will be skipped"; fi

# clients puts the vendors' clients in other languages into a cache outside the
# tree, once. Without npm or pip the tests concerned say that they were skipped.
CLIENTS = $(or $(GODWIT_CLIENTS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/godwit/clients)

clients:
	@mkdir -p $(CLIENTS)/node $(CLIENTS)/cli
	@[ -d $(CLIENTS)/node/node_modules/twilio ] || npm install --no-audit --no-fund --silent --prefix $(CLIENTS)/node twilio@6.2.0 || echo "twilio-node could not be installed"
	@[ -d $(CLIENTS)/cli/node_modules/twilio-cli ] || npm install --no-audit --no-fund --silent --prefix $(CLIENTS)/cli twilio-cli@6.2.4 || echo "twilio-cli could not be installed"
	@[ -d $(CLIENTS)/python/lib/python3*/site-packages/twilio ] || { python3 -m venv $(CLIENTS)/python && $(CLIENTS)/python/bin/pip install -q twilio==9.13.0; } || echo "the Python client could not be installed"
	@[ -d $(CLIENTS)/python/lib/python3*/site-packages/devicecloud ] || $(CLIENTS)/python/bin/pip install -q devicecloud==0.5.10 || echo "devicecloud could not be installed"

check:
	@out=$$($(GOFUMPT) -l .); if [ -n "$$out" ]; then echo "not formatted (run gofumpt -w):"; echo "$$out"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	CGO_ENABLED=0 go build ./...

# ferretdb stands in for MongoDB, which Debian does not have: the subscriber
# documents of Open5GS are kept in it. Its source wants to be told its version.
FERRETDB = github.com/FerretDB/FerretDB@v1.24.0

ferretdb:
	@[ -x $(CLIENTS)/bin/ferretdb ] || command -v mongod >/dev/null || { \
	  tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir -p $(CLIENTS)/bin; \
	  dir=$$(cd "$$tmp" && go mod download -json $(FERRETDB) | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p'); \
	  cp -r "$$dir" "$$tmp/src"; chmod -R u+w "$$tmp/src"; echo "$(FERRETDB)" | sed 's/.*@//' >"$$tmp/src/build/version/version.txt"; \
	  cd "$$tmp/src" && CGO_ENABLED=0 go build -trimpath -o $(CLIENTS)/bin/ferretdb ./cmd/ferretdb; \
	} || echo "FerretDB could not be built"

# The race detector where goroutines share memory; it needs a C compiler.
race:
	go test -race -timeout 30m ./db ./jobs ./callback ./account ./event ./smsc ./usage ./web ./ipa ./lab
