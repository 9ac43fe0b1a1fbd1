package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/viz"
)

var update = flag.Bool("update", false, "write the golden files of this package")

func ptr[T any](v T) *T { return &v }

// fixed answers the query API with what a real viz once could have answered; viz's own tests hold
// the numbers.
func fixed(t *testing.T) (addr string, asked func() []string) {
	var questions []string
	figures := viz.Figures{
		Requests: 1000, Failures: 7, Tries: 1400, FailedTries: 407, Retries: 400, Timeouts: 3,
		Connections: 4, WindowRequests: 600, WindowTimeouts: 2, SuccessRate: ptr(0.9931),
		RPS: 10, ActualSuccessRate: ptr(0.7093), ActualRPS: 14, RetryRate: ptr(0.4),
		P50Ms: ptr(4.04), P95Ms: ptr(38.2), P99Ms: ptr(12_345.6), ReadBytesPerSecond: 2048,
		WrittenBytesPerSecond: 100, WindowTriesInZone: 760, WindowTriesFarther: 40,
		InZone: ptr(0.95),
	}
	answers := map[string]any{
		"/api/stat": viz.Stat{Rows: []viz.StatRow{
			{Name: "web", Namespace: "shop", Kind: "deployment", Meshed: true, Proxies: 2,
				MeasuredBy: "server", Figures: figures},
			{Name: "idle", Namespace: "bank", Kind: "deployment", Meshed: true, Proxies: 1,
				MeasuredBy: "server"},
			{Name: "legacy", Namespace: "shop", Kind: "deployment", MeasuredBy: "client",
				Figures: figures},
		}},
		"/api/edges": viz.Edges{Rows: []viz.EdgeRow{
			{Src: "web", SrcNamespace: "shop", Dst: "checkout", DstNamespace: "shop",
				ClientID: "spiffe://cluster.local/ns/shop/sa/web",
				ServerID: "spiffe://cluster.local/ns/shop/sa/checkout", Encrypted: true,
				Security: "mtls", ReportedBy: "both", Figures: figures},
			{Src: "10.1.2.3", Dst: "web", DstNamespace: "shop", Security: "plaintext-unmeshed",
				Reason: "plaintext: the caller has no proxy", ReportedBy: "server"},
		}},
		"/api/routes": viz.Routes{Rows: []viz.RouteRow{
			{Route: "POST /pay", Service: "checkout", Namespace: "shop", Figures: figures},
			{Route: "[default]", Service: "checkout", Namespace: "shop"},
		}},
		"/api/backends": viz.Backends{Rows: []viz.BackendRow{
			{Backend: "web-v1.shop.svc.cluster.local:80", Service: "web", Namespace: "shop",
				Figures: figures},
			{Backend: "web-v2.shop.svc.cluster.local:80", Service: "web", Namespace: "shop"},
			{Backend: "web-v3.shop.svc.cluster.local:80", Service: "web", Namespace: "shop",
				Figures: figures},
		}},
		"/api/top": viz.Top{Rows: []viz.TopRow{{From: "web", To: "checkout", Route: "POST /pay",
			Figures: figures}}},
		"/api/endpoints": viz.Endpoints{Asked: 1, Silent: []string{}, Rows: []viz.EndpointRow{
			{Proxy: "shop/web-1", Service: "shop/checkout:80", Address: "10.0.0.1:8080",
				Pod: "checkout-1", Workload: "deployment/checkout", EWMAMs: ptr(1.2), InFlight: 3,
				Weight: 1, State: "ready"},
			{Proxy: "shop/web-1", Service: "shop/checkout:80", Address: "10.0.0.2:8080",
				Weight: 2, State: "ejected", Until: ptr(time.Unix(1_800_000_000, 0).UTC())},
		}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		questions = append(questions, r.URL.String())
		json.NewEncoder(w).Encode(answers[r.URL.Path])
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), func() []string { return questions }
}

// meshctl runs the command line and gives both outputs.
func meshctl(ctx context.Context, args ...string) (out, errs string, status int) {
	var stdout, stderr bytes.Buffer
	root := newRoot("test",
		genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr})
	root.SetArgs(args)
	status = report(&stderr, root.ExecuteContext(ctx))
	return stdout.String(), stderr.String(), status
}

func TestVizGolden(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for name, args := range map[string]string{
		"stat":        "stat deploy -A",
		"stat-wide":   "stat deploy -A -o wide",
		"stat-json":   "stat deploy -A -o json",
		"stat-kinds":  "stat deploy/web sts/db",
		"edges":       "edges",
		"edges-wide":  "edges -o wide",
		"edges-yaml":  "edges -o yaml",
		"routes":      "routes svc/checkout",
		"routes-wide": "routes svc/checkout -o wide",

		"endpoints":      "endpoints svc/checkout",
		"endpoints-wide": "endpoints svc/checkout -o wide",
		"endpoints-json": "endpoints svc/checkout -o json",
		"endpoints-yaml": "endpoints svc/checkout -o yaml",
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := fixed(t)
			out, errs, status := meshctl(t.Context(),
				append([]string{"viz", "--viz-addr", addr}, strings.Fields(args)...)...)
			if status != exitOK || errs != "" {
				t.Fatalf("status %d, stderr %q", status, errs)
			}
			golden(t, filepath.Join("testdata", "viz", name+".golden"), out)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

// What a mesh does on purpose is shown where there is any of it, without being asked for.
func TestVizShowsWhatIsDoneOnPurpose(t *testing.T) {
	purpose := viz.Figures{Requests: 100, WindowFaulted: 20, WindowLimited: 3, Ejected: 1,
		Endpoints: 3}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"/api/stat": viz.Stat{Rows: []viz.StatRow{
				{Name: "web", Kind: "deployment", MeasuredBy: "server", Proxies: 1,
					Figures: viz.Figures{WindowLimited: 3, Endpoints: 2}},
				{Name: "db", Kind: "deployment", MeasuredBy: "client", Figures: purpose},
			}},
			"/api/routes": viz.Routes{Rows: []viz.RouteRow{
				{Route: "coupon", Service: "checkout", Figures: viz.Figures{WindowFaulted: 20},
					Backends: []viz.RouteBackend{{Backend: "checkout.shop.svc:80"}}},
				{Route: "stock", Service: "checkout", Namespace: "shop",
					Backends: []viz.RouteBackend{
						{Backend: "a.shop.svc.cluster.local:80", Share: ptr(0.9)},
						{Backend: "b.other.svc.cluster.local:80", Share: ptr(0.1)},
					}},
			}},
			"/api/edges": viz.Edges{Rows: []viz.EdgeRow{{Src: "web", Dst: "db", Encrypted: true,
				ReportedBy: "client", Figures: viz.Figures{Ejected: 1, Endpoints: 3}}}},
		}[r.URL.Path])
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]string{
		"stat deploy": "NAME MESHED SUCCESS RPS LATENCY_P50 LATENCY_P95 LATENCY_P99 FAULTED " +
			"LIMITED EJECTED\nweb 1 - 0.0rps - - - - 3 0/2\ndb - - 0.0rps - - - 20 3 1/3\n",
		"routes": "ROUTE SERVICE EFFECTIVE_SUCCESS EFFECTIVE_RPS ACTUAL_SUCCESS ACTUAL_RPS " +
			"LATENCY_P50 LATENCY_P95 LATENCY_P99 BACKENDS FAULTED\n" +
			"coupon checkout - 0.0rps - 0.0rps - - - - 20\n" +
			"stock checkout - 0.0rps - 0.0rps - - - a 90%, b.other 10% 0\n",
		"edges": "SRC DST SRC_NS DST_NS CLIENT_ID SERVER_ID SECURED EJECTED\n" +
			"web db - - - - yes 1/3\n",
	} {
		addr := server.Listener.Addr().String()
		out, errs, status := meshctl(t.Context(),
			append([]string{"viz", "--viz-addr", addr}, strings.Fields(args)...)...)
		got := regexp.MustCompile(` +`).ReplaceAllString(out, " ")
		if status != exitOK || got != want {
			t.Errorf("%s: status %d, %s\n%s, want\n%s", args, status, errs, got, want)
		}
	}
}

// Who was not asked, and who did not answer, is said.
func TestVizEndpointsSaysWhatIsLeftOff(t *testing.T) {
	var answer viz.Endpoints
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	for _, tt := range []struct {
		answer viz.Endpoints
		want   string
	}{
		{viz.Endpoints{}, "no proxy has called it yet"},
		{viz.Endpoints{Asked: 2}, "know no endpoint"},
		{viz.Endpoints{Asked: 2, Silent: []string{"shop/a", "shop/b"}},
			"2 of the 2 proxies asked did not answer, for they are of an older version, or not " +
				"connected to viz: shop/a, shop/b\n"},
		{viz.Endpoints{Asked: 50, OmittedProxies: 3, OmittedEndpoints: 7,
			Rows: []viz.EndpointRow{{State: "ready"}}}, "3 more proxies call it and were not " +
			"asked\n7 more endpoints were left off the proxies' answers\n"},
	} {
		answer = tt.answer
		_, errs, status := meshctl(t.Context(), "viz", "endpoints", "svc/web", "--viz-addr",
			server.Listener.Addr().String())
		if status != exitOK || !strings.Contains(errs, tt.want) {
			t.Errorf("status %d, %q; want %q", status, errs, tt.want)
		}
	}
}

func TestVizAsksWhatItWasTold(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]string{
		"stat deploy/web -n shop": "/api/stat?namespace=shop&resource=deploy%2Fweb&window=1m0s",
		"stat deploy":             "/api/stat?resource=deploy&window=1m0s",
		"stat ns -n shop":         "/api/stat?resource=ns&window=1m0s",
		"stat deploy/web --to svc/x --window 10m": "/api/stat?resource=deploy%2Fweb&to=svc%2Fx" +
			"&window=10m0s",
		"edges pod --ago 5m":           "/api/edges?ago=5m0s&resource=pod&window=1m0s",
		"routes svc --from deploy/web": "/api/routes?from=deploy%2Fweb&resource=svc&window=1m0s",
		"endpoints svc/web -n shop": "/api/endpoints?namespace=shop&resource=svc%2Fweb" +
			"&window=1m0s",
		"routes --from ds/a --from-namespace other": "/api/routes?from=ds%2Fa" +
			"&fromNamespace=other&window=1m0s",
	} {
		addr, asked := fixed(t)
		argv := append([]string{"viz", "--viz-addr", addr}, strings.Fields(args)...)
		if _, errs, status := meshctl(t.Context(), argv...); status != exitOK {
			t.Errorf("%s: status %d: %s", args, status, errs)
		}
		if got := asked(); len(got) != 1 || got[0] != want {
			t.Errorf("%s asked %v, want %s", args, got, want)
		}
	}
}

func TestVizRefusesNonsense(t *testing.T) {
	for args, want := range map[string]string{
		"stat":                              "requires at least 1 arg",
		"stat house":                        `"house" is no kind of resource`,
		"stat deploy/":                      "write KIND or KIND/NAME",
		"stat deploy -o xml":                `unknown output format "xml"`,
		"stat deploy --window 1s":           "--window 1s",
		"stat deploy --window 2h":           "--window 2h",
		"edges --ago -5m":                   "--ago -5m",
		"edges deploy sts":                  "accepts at most 1 arg",
		"endpoints":                         "accepts 1 arg",
		"endpoints svc":                     "name one",
		"endpoints house/x":                 `"house" is no kind`,
		"routes svc --from house/x":         `"house" is no kind`,
		"stat deploy --from x --bad-option": "unknown flag",
	} {
		_, errs, status := meshctl(t.Context(),
			append([]string{"viz", "--viz-addr", "127.0.0.1:1"}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(errs, want) ||
			!strings.Contains(errs, "--help") {
			t.Errorf("%s: status %d, %q; want %q", args, status, errs, want)
		}
	}
}

func TestVizUnreachable(t *testing.T) {
	addr := loopback.Free()
	_, errs, status := meshctl(t.Context(), "viz", "stat", "deploy", "--viz-addr", addr)
	if status != exitError || !strings.Contains(errs, "connection refused") ||
		!strings.Contains(errs, "meshctl dev status") {
		t.Errorf("status %d: %s", status, errs)
	}
}

func TestVizFindsTheMeshInThisFolder(t *testing.T) {
	addr, asked := fixed(t)
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("KUBECONFIG", filepath.Join(dir, "none"))
	if err := os.Mkdir(dev.DefaultDir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(dev.Ports{VizQuery: addr})
	if err := os.WriteFile(filepath.Join(dev.DefaultDir, "ports.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, status := meshctl(t.Context(), "viz", "stat", "deploy", "-o", "json")
	if status != exitOK || !strings.Contains(errs, addr) || !strings.Contains(out, `"web"`) {
		t.Errorf("status %d: %s%s", status, errs, out)
	}
	none := filepath.Join(dir, "none")
	_, errs, status = meshctl(t.Context(), "viz", "stat", "deploy", "--kubeconfig", none)
	if status != exitError {
		t.Errorf("with --kubeconfig: status %d: %s", status, errs)
	}
	if len(asked()) != 1 {
		t.Errorf("asked %v", asked())
	}
}

func TestVizWatchEndsQuietly(t *testing.T) {
	addr, _ := fixed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	out, errs, status := meshctl(ctx, "viz", "stat", "deploy", "--viz-addr", addr, "--watch")
	if status != exitOK || errs != "" || !strings.Contains(out, "web") {
		t.Errorf("status %d: %s%s", status, errs, out)
	}
}
