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

generate:
	go generate ./destination/api ./identity/api ./viz/api

clean:
	rm -rf bin
