package layout

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tulle-mesh/tulle/"

type rule struct {
	who string
	may []string
	why string
}

// rules say which packages of ours a package may import; the first whose prefix fits holds. A
// trailing slash means all below.
var rules = []rule{
	{who: "proxy/wire", why: "a leaf"},
	{who: "proxy/h1", may: []string{"proxy/wire"}, why: "engines are ignorant of the mesh"},
	{who: "proxy/h2", may: []string{"proxy/wire"}, why: "engines are ignorant of the mesh"},
	{who: "proxy/detect", why: "a leaf"},
	{who: "proxy/timer", why: "a leaf"},
	{who: "proxy/backoff", why: "a leaf, which servers use too"},
	{who: "proxy/metric", why: "a leaf"},
	{who: "proxy/memory", why: "a leaf"},
	{who: "proxy/sample", why: "a leaf"},
	{who: "proxy/config", why: "a leaf: the injector uses its names"},
	{who: "proxy/redirect", why: "a leaf"},
	{who: "proxy/header", why: "a leaf"},
	{who: "proxy/live", why: "a leaf"},
	{who: "proxy/trace", why: "a leaf"},
	{who: "proxy/outcome", may: []string{"proxy/metric", "proxy/trace"},
		why: "a leaf, which who forwards calls"},
	{who: "proxy/span", may: []string{"proxy/metric", "proxy/outcome", "proxy/trace"},
		why: "a leaf: proxies and viz make spans by the same rules"},
	{who: "proxy/otlp", may: []string{"proxy/backoff", "proxy/h1", "proxy/header", "proxy/metric",
		"proxy/outcome", "proxy/rpc", "proxy/span", "proxy/trace", "proxy/wire"},
		why: "it tells a collector what was recorded, and knows nothing of the mesh"},
	{who: "proxy/route", may: []string{"proxy/header", "proxy/metric", "destination/api"},
		why: "pure: no sockets, and no clusters but by name"},
	{who: "proxy/balance",
		may: []string{"proxy/header", "proxy/memory", "proxy/metric", "destination/api"},
		why: "pure: no sockets"},
	{who: "proxy/authorize",
		may: []string{"proxy/config", "proxy/header", "proxy/metric", "destination/api"},
		why: "pure: no sockets"},
	{who: "proxy/health",
		may: []string{"proxy/h1", "proxy/h2", "proxy/rpc", "proxy/wire", "proxy/config",
			"destination/api"},
		why: "it asks the application, and who dials for it is the proxy"},
	{who: "proxy/discover", may: []string{"proxy/route", "proxy/balance", "proxy/authorize",
		"proxy/health", "proxy/rpc", "proxy/backoff", "proxy/config", "proxy/live",
		"proxy/metric", "destination/api"},
		why: "it knows what destination says, and not who uses it"},
	{who: "proxy/forward",
		may: []string{"proxy/route", "proxy/balance", "proxy/authorize", "proxy/discover",
			"proxy/header", "proxy/outcome", "proxy/h1", "proxy/h2", "proxy/wire", "proxy/config",
			"proxy/live", "proxy/memory", "proxy/metric", "proxy/timer", "destination/api"},
		why: "HTTP alone: who accepts, dials and has TLS is the proxy"},
	{who: "proxy/tunnel", may: []string{"proxy/route", "proxy/balance", "proxy/authorize",
		"proxy/discover", "proxy/detect", "proxy/outcome", "proxy/config", "proxy/live",
		"proxy/memory", "proxy/metric", "proxy/timer", "proxy/wire", "destination/api"},
		why: "no engine: what it carries it does not understand"},
	{who: "proxy/record", may: []string{"proxy/backoff", "proxy/rpc", "proxy/metric",
		"proxy/outcome", "destination/api", "viz/api", "identity/spiffe"},
		why: "it tells what was counted"},
	{who: "proxy/rpc", may: []string{"proxy/h2", "proxy/wire"},
		why: "a client over our own HTTP/2"},
	{who: "proxy/admin", may: []string{"proxy/metric", "proxy/h1", "proxy/wire"},
		why: "served by the engine of the data path"},
	{who: "proxy/mesh-proxy",
		may: []string{"proxy", "proxy/config", "proxy/memory", "proxy/redirect"}, why: "a main"},
	{who: "proxy",
		may: []string{"proxy/", "destination/api", "identity/api", "viz/api", "identity/spiffe"},
		why: "the data plane knows no server"},
	{who: "destination/api", why: "messages only"}, {who: "identity/api", why: "messages only"},
	{who: "viz/api", why: "messages only"},
	{who: "identity/spiffe", why: "a leaf, which the proxy links"},
	{who: "identity/names", why: "a leaf: what all must spell alike"},
	{who: "identity/serve",
		may: []string{"identity/spiffe", "proxy/h2", "proxy/memory", "proxy/wire"},
		why: "how every server listens; it knows none of them"},
	{who: "destination/crd", why: "what users write, and no more"},
	{who: "destination/registry", why: "the model that sources fill, ignorant of them"},
	{who: "destination/kube",
		may: []string{"identity/names", "destination/registry", "destination/crd"},
		why: "a source, and the only maker of Kubernetes clients"},
	{who: "destination/files",
		may: []string{"destination/kube", "destination/registry", "destination/crd",
			"destination/policy"},
		why: "a source of kube's kinds"},
	{who: "destination/consul",
		may: []string{"destination/registry", "identity/spiffe", "proxy/backoff"},
		why: "a source that knows Consul, and no Kubernetes"},
	{who: "destination/policy",
		may: []string{"identity/names", "destination/api", "destination/crd"},
		why: "from what users write to messages, without the cluster"},
	{who: "destination/status", may: []string{"identity/names", "destination/kube",
		"destination/registry", "destination/crd"},
		why: "what is written back, by clients that kube made"},
	{who: "destination", may: []string{"identity/names", "destination/", "identity/spiffe",
		"identity/agent", "identity/serve", "proxy/backoff", "proxy/config", "proxy/metric"},
		why: "servers share identities and clients, nothing else"},
	{who: "identity",
		may: []string{"identity/", "destination/kube", "destination/crd", "proxy/backoff"},
		why: "servers share identities and clients, nothing else"},
	{who: "injector", may: []string{"identity/names", "injector/", "destination/kube",
		"destination/crd", "identity/spiffe", "identity/agent", "identity/serve", "proxy/config"},
		why: "the mutation and its webhook"},
	{who: "viz", may: []string{"identity/names", "viz/", "destination/kube", "destination/crd",
		"identity/spiffe", "identity/agent", "identity/serve", "proxy/metric", "proxy/outcome",
		"proxy/span", "proxy/trace"},
		why: "viz knows proxies by their reports"},
	{who: "cli", may: []string{""}, why: "everything meets here"},
	{who: "test", may: []string{""}, why: "tests use everything"},
}

// loaded is a package as `go list` describes it.
type loaded struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
	Doc        string
}

func list(t *testing.T, args ...string) []loaded {
	t.Helper()
	cmd := exec.Command("go",
		append([]string{"list", "-json=ImportPath,Dir,GoFiles,Imports,Deps,Doc"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []loaded
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p loaded
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func within(path, prefix string) bool {
	return prefix == "" || path == prefix ||
		strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

func TestWhoMayImportWhom(t *testing.T) {
	for _, p := range list(t, "./...") {
		who := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(rules, func(r rule) bool { return within(who, r.who) })
		if i < 0 {
			t.Errorf("%s: no rule says what it may import; add one", who)
			continue
		}
		for _, imp := range p.Imports {
			ours, ok := strings.CutPrefix(imp, module)
			allowed := func(m string) bool {
				return within(ours, m) && (strings.HasSuffix(m, "/") || m == "" || m == ours)
			}
			if ok && !within(ours, rules[i].who) && !slices.ContainsFunc(rules[i].may, allowed) {
				t.Errorf("%s imports %s: %s", who, ours, rules[i].why)
			}
			if strings.HasPrefix(ours, "cli") && !within(who, "cli") && !within(who, "test") {
				t.Errorf("%s imports %s: nobody imports cli", who, ours)
			}
		}
	}
}

// Answers are computed from the registry's own terms, so that Kubernetes is one source of several.
func TestOnlySourcesKnowKubernetesObjects(t *testing.T) {
	for _, p := range list(t, "./destination", "./destination/registry", "./destination/policy") {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "k8s.io/api/") || strings.HasPrefix(imp, "k8s.io/client-go") {
				t.Errorf("%s imports %s: kube turns such objects into the registry's",
					p.ImportPath, imp)
			}
		}
	}
}

// The assembly knows no bytes of HTTP, and the pure leaves open no sockets.
func TestWhatStagesDoNotName(t *testing.T) {
	for who, unwanted := range map[string][]string{
		"./proxy": {module + "proxy/h1", module + "proxy/h2", module + "proxy/header",
			"golang.org/x/net/http2/hpack"},
		"./proxy/tunnel":    {"golang.org/x/net/http2/hpack"},
		"./proxy/route":     {"net", "crypto/tls"},
		"./proxy/balance":   {"net", "crypto/tls"},
		"./proxy/authorize": {"net", "crypto/tls"},
		"./proxy/trace":     {"net", "crypto/tls"},
	} {
		for _, imp := range list(t, who)[0].Imports {
			if slices.Contains(unwanted, imp) {
				t.Errorf("%s imports %s", who, imp)
			}
		}
	}
}

func TestEveryPackageSaysWhatItDoes(t *testing.T) {
	for _, p := range list(t, "./...") {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// unwanted are packages that mesh-proxy does not link, and why.
var unwanted = map[string]string{
	"k8s.io/":                "it does not talk to the Kubernetes API",
	"sigs.k8s.io/":           "it does not talk to the Kubernetes API",
	"google.golang.org/grpc": "proxy/rpc is its client",
	"net/http":               "proxy/h1 and proxy/h2 are its engines, and the admin port's",
	"golang.org/x/net/http2": "of it only hpack is used",
	"github.com/prometheus/": "proxy/metric writes the text format",
	"golang.org/x/text/":     "it comes with net/http",
}

func TestWhatTheProxyDoesNotLink(t *testing.T) {
	for _, dep := range list(t, "./proxy/mesh-proxy")[0].Deps {
		for prefix, why := range unwanted {
			if strings.HasPrefix(dep, prefix) && !strings.HasSuffix(dep, "/hpack") {
				t.Errorf("mesh-proxy links %s: %s", dep, why)
			}
		}
	}
}

// The tests that count allocations are built by themselves, without the race detector, and nothing
// that takes a minute to compile belongs to what they count.
func TestWhatTheAllocationTestsDoNotLink(t *testing.T) {
	for _, p := range list(t, "-test", "./test/allocations") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "k8s.io/") ||
				strings.HasPrefix(dep, "google.golang.org/grpc") {
				t.Errorf("%s links %s: its control plane is a script", p.ImportPath, dep)
			}
		}
	}
}

// TestNobodyNamesTheDeprecatedTransports: http2.Server and http2.Transport become wrappers of
// net/http with Go 1.27.
func TestNobodyNamesTheDeprecatedTransports(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				x, isID := selector(sel, ok)
				if !isID || x != "http2" {
					return true
				}
				if sel.Sel.Name == "Server" || sel.Sel.Name == "Transport" {
					t.Errorf("%s/%s names http2.%s", p.ImportPath, name, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

func selector(sel *ast.SelectorExpr, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	x, isID := sel.X.(*ast.Ident)
	if !isID {
		return "", false
	}
	return x.Name, true
}
