package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/viz"
	"github.com/tulle-mesh/tulle/viz/gate"
)

// tapAPI is an API server that lets its user make sessions in some namespaces, "" for those of the
// cluster, and tells a real viz of them.
type tapAPI struct {
	t   *testing.T
	viz *viz.Server
	may []string

	mu       sync.Mutex // guards what follows
	sessions map[string]viz.Session
	made     int
	refused  []string
}

// newTapAPI also makes it the one of the kubeconfig, and says where viz is.
func newTapAPI(t *testing.T, may ...string) (api *tapAPI, addr string) {
	api = &tapAPI{t: t, may: may, sessions: map[string]viz.Session{},
		viz: viz.New(viz.Config{TapSessions: true, Log: slog.New(slog.DiscardHandler)})}
	server, shown := httptest.NewServer(api), httptest.NewServer(api.viz.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(shown.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\n"+
		"clusters: [{name: c, cluster: {server: %q}}]\nusers: [{name: u, user: {}}]\n"+
		"contexts: [{name: c, context: {cluster: c, user: u, namespace: shop}}]\n", server.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	return api, shown.Listener.Addr().String()
}

// ServeHTTP creates a session and deletes one.
func (a *tapAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	ns := ""
	path := strings.TrimPrefix(r.URL.Path, "/apis/tulle.dev/v1alpha1/")
	if rest, ok := strings.CutPrefix(path, "namespaces/"); ok {
		ns, path, _ = strings.Cut(rest, "/")
	}
	resource, name, _ := strings.Cut(path, "/")
	want := map[bool]string{true: "clustertapsessions", false: "tapsessions"}[ns == ""]
	switch {
	case resource != want:
		a.t.Errorf("asked for %s", r.URL)
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPost:
		a.create(w, r, ns)
	case r.Method == http.MethodDelete:
		delete(a.sessions, name)
		a.tell()
		json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusSuccess,
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}})
	}
}

func (a *tapAPI) create(w http.ResponseWriter, r *http.Request, ns string) {
	var session crd.TapSession
	if err := json.NewDecoder(r.Body).Decode(&session); err != nil {
		a.t.Error(err)
	}
	hash, err := session.Spec.Hash()
	if err != nil || session.GenerateName != "tap-" || session.APIVersion != crd.APIVersion {
		a.t.Errorf("it makes %+v, %v", session, err)
	}
	if !slices.Contains(a.may, ns) {
		a.refused = append(a.refused, ns)
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure,
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Reason:   metav1.StatusReasonForbidden, Code: 403, Message: "that is forbidden"})
		return
	}
	a.made++
	session.Name, session.Namespace = fmt.Sprintf("tap-%d", a.made), ns
	a.sessions[session.Name] = viz.Session{Namespace: ns, Name: session.Name, Hash: hash}
	a.tell()
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(session)
}

func (a *tapAPI) tell() {
	var all []viz.Session
	for _, one := range a.sessions {
		all = append(all, one)
	}
	a.viz.SetSessions(all)
}

// A tap has a session where its user may make one, for as long as it is there.
func TestTapMakesASession(t *testing.T) {
	for args, want := range map[string]struct {
		refused string // namespaces, with spaces between
		err     string
	}{
		"-n shop":            {},
		"deploy/web -n shop": {},
		"--from deploy/web --from-namespace shop":   {},
		"-n shop --to svc/bank --to-namespace bank": {},
		"-n bank --to svc/web --to-namespace shop":  {refused: "bank"},
		"-n bank": {"bank", "Who taps must be able to create tapsessions in namespace bank. The " +
			"ClusterRole tulle-tap lets them: kubectl -n bank create rolebinding NAME " +
			"--clusterrole=tulle-tap --user=USER"},
		"-A": {"", "create clustertapsessions in the whole cluster. The ClusterRole tulle-tap " +
			"lets them: kubectl create clusterrolebinding NAME"},
	} {
		api, addr := newTapAPI(t, "shop")
		_, errs, status := meshctl(t.Context(), append([]string{"viz", "tap", "--viz-addr", addr,
			"--duration", "10ms"}, strings.Fields(args)...)...)
		if want.err == "" && (status != exitOK || api.made != 1 || len(api.sessions) != 0) {
			t.Errorf("%q: status %d, %d made, left %v: %s", args, status, api.made, api.sessions,
				errs)
		}
		if want.err != "" && (status != exitError || !strings.Contains(errs, want.err)) {
			t.Errorf("%q: status %d: %s, want %s", args, status, errs, want.err)
		}
		if got := strings.Join(api.refused, " "); got != want.refused {
			t.Errorf("%q: %q refused, want %q", args, got, want.refused)
		}
	}
}

// The page's live requests are those that its user may tap, and go on when a session gives way to
// the next.
func TestThePageTapsAsItsUser(t *testing.T) {
	for _, tt := range []struct {
		may     []string
		refused int
		status  int
	}{{[]string{"shop"}, 1, 200}, {[]string{""}, 0, 200}, {nil, 2, 403}} {
		api, addr := newTapAPI(t, tt.may...)
		var said bytes.Buffer
		v := &vizApp{app: &app{IOStreams: genericiooptions.IOStreams{Out: io.Discard,
			ErrOut: &said}, config: configFlags()}, addr: addr}
		link, err := v.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sessions := v.pageSessions(t.Context(), link)
		if len(api.refused) != tt.refused ||
			strings.Contains(said.String(), "no live requests") != (tt.status != 200) {
			t.Errorf("%v: %d times refused, and it says %q", tt.may, len(api.refused), &said)
		}
		page := httptest.NewServer(gate.Proxy(func() string { return addr },
			&sameWay{link: link, over: &http.Transport{}, nonce: sessions.nonce}))
		defer page.Close()
		for range 2 {
			answer, err := http.Get(page.URL + "/api/tap?stream=1&duration=1ms")
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != tt.status {
				t.Errorf("%v: %s, want %d", tt.may, answer.Status, tt.status)
			}
			if tt.status != 200 {
				break
			}
			before := sessions.nonce()
			if !sessions.renew(t.Context()) || sessions.nonce() == before ||
				len(api.sessions) != 1 {
				t.Errorf("%v: after another session there are %v", tt.may, api.sessions)
			}
		}
	}
}
