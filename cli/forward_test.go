package cli

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// forwarding is an API server's end of port-forwards: it echoes what comes. Without websockets it
// answers as a server, or a proxy before it, that does not know them.
type forwarding struct {
	t          *testing.T
	websockets bool

	mu    sync.Mutex
	tried []string
}

func (f *forwarding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	over := "SPDY"
	if websocket.IsWebSocketUpgrade(r) {
		over = "WebSocket"
	}
	f.mu.Lock()
	f.tried = append(f.tried, over+" "+r.URL.Path)
	f.mu.Unlock()
	switch {
	case over == "SPDY":
		w.Header().Set(httpstream.HeaderProtocolVersion, portforward.PortForwardProtocolV1Name)
		if conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, echo); conn != nil {
			<-conn.CloseChan()
		}
	case f.websockets:
		f.tunnel(w, r)
	default:
		http.Error(w, "no such upgrade", http.StatusForbidden)
	}
}

func (f *forwarding) tunnel(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: websocket.Subprotocols(r)}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		f.t.Error(err)
		return
	}
	conn, err := spdy.NewServerConnection(portforward.NewTunnelingConnection("test", ws), echo)
	if err != nil {
		f.t.Error(err)
		return
	}
	<-conn.CloseChan()
}

// echo answers each stream; those of errors stay empty.
func echo(s httpstream.Stream, _ <-chan struct{}) error {
	go func() {
		if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeData {
			io.Copy(s, s)
		}
		s.Close()
	}()
	return nil
}

func TestPortsAreForwardedByWebSocketAndElseBySPDY(t *testing.T) {
	const path = "/api/v1/namespaces/shop/pods/web-1/portforward"
	for name, c := range map[string]struct {
		websockets bool
		tried      []string
	}{
		"WebSocket":         {true, []string{"WebSocket " + path}},
		"WebSocket refused": {false, []string{"WebSocket " + path, "SPDY " + path}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &forwarding{t: t, websockets: c.websockets}
			server := httptest.NewServer(f)
			defer server.Close()
			flags := genericclioptions.NewConfigFlags(false)
			flags.APIServer = &server.URL
			a := &app{config: flags}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
			addr, stop, err := a.forwardPod(t.Context(), pod, 80)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			if got := exchange(t, addr, "hello"); got != "hello" {
				t.Errorf("the pod answered %q", got)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if !slices.Equal(f.tried, c.tried) {
				t.Errorf("tried %v, want %v", f.tried, c.tried)
			}
		})
	}
}

// exchange is what comes back for a text.
func exchange(t *testing.T, addr, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.Copy(conn, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	back, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(back)
}
