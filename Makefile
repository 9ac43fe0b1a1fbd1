# Release builds need crypto/tls as of Go 1.26.11; where GOTOOLCHAIN cannot get it, the Go at hand builds and says so.
WANT_GO := go1.26.11
export GOTOOLCHAIN := $(shell GOTOOLCHAIN=$(WANT_GO) go version >/dev/null 2>&1 && echo $(WANT_GO) || echo local)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build test lint demo demo-check e2e bench footprint images generate clean

build:
	@mkdir -p bin
	$(BUILD) -o bin/ ./proxy/mesh-proxy ./cli/meshctl
	@echo "built $(VERSION) with $$(go env GOVERSION)"

test:
	CGO_ENABLED=1 go test -race -timeout 9m ./...

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofmt-ed: $$out"; exit 1; }
	go vet ./...

# Archives for `cluster load`. Redis is Debian's own, with the libraries it wants.
images: build
	@mkdir -p bin/images
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/app ./test/e2e/app
	go build -o bin/image ./test/images
	bin/image -o bin/images/mesh-proxy.tar -tag tulle/mesh-proxy:$(VERSION) bin/mesh-proxy
	bin/image -o bin/images/meshctl.tar -tag tulle/meshctl:$(VERSION) bin/meshctl
	bin/image -o bin/images/app.tar -tag test/app:e2e bin/app
	[ ! -x /usr/bin/redis-server ] || bin/image -o bin/images/redis.tar -tag test/redis:e2e /usr/bin/redis-server \
	  $$(ldd /usr/bin/redis-server | grep -o '/[^ ]*' | sed 's/.*/&:&/')

# Needs root, Debian's redis-server and tcpdump. The cluster stays up for the next run; `test/cluster/cluster down` ends it.
e2e:
	test/cluster/cluster packages redis-server tcpdump
	$(MAKE) images
	CGO_ENABLED=1 go test -race -count=1 -tags netns ./proxy/redirect
	test/cluster/cluster up
	test/cluster/cluster load bin/images/*.tar
	cd test/e2e && ../cluster/cluster run go test -tags e2e -count=1 -timeout 40m -v .

generate:
	go generate ./destination/api ./identity/api ./viz/api

clean:
	rm -rf bin
