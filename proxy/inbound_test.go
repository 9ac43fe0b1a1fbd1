package proxy_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

func TestWebSocketIsCarriedThroughTheMesh(t *testing.T) {
	m := newMesh(t, 0)
	upgrader := websocket.Upgrader{}
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Tulle-Client-Id") != workloadID("client") {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, msg, err := c.ReadMessage()
			if err != nil {
				return
			}
			c.WriteMessage(kind, append([]byte("echo "), msg...))
		}
	}))
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/chat", nil)
	check(t, err)
	defer c.Close()
	if resp.StatusCode != 101 {
		t.Errorf("status %d", resp.StatusCode)
	}
	big := strings.Repeat("x", 300<<10)
	for _, msg := range []string{"hello", "", big} {
		check(t, c.WriteMessage(websocket.TextMessage, []byte(msg)))
		check(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, got, err := c.ReadMessage()
		check(t, err)
		if string(got) != "echo "+msg {
			t.Errorf("got %d bytes back, want %d", len(got), len(msg)+5)
		}
	}
}

func TestGRPCInteropThroughTheMesh(t *testing.T) {
	m := newMesh(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	go s.Serve(l)
	t.Cleanup(s.Stop)
	web := pod{"web-0", l.Addr().String(), loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	caller := m.caller("web")
	cc, err := grpc.NewClient(caller.out["web"],
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	t.Cleanup(func() { cc.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := testgrpc.NewTestServiceClient(cc)
	interop.DoEmptyUnaryCall(ctx, c)
	interop.DoLargeUnaryCall(ctx, c)
	interop.DoClientStreaming(ctx, c)
	interop.DoServerStreaming(ctx, c)
	interop.DoPingPong(ctx, c)
	interop.DoEmptyStream(ctx, c)
	interop.DoTimeoutOnSleepingServer(ctx, c)
	interop.DoCancelAfterBegin(ctx, c)
	interop.DoCancelAfterFirstResponse(ctx, c)
	interop.DoCustomMetadata(ctx, c)
	interop.DoStatusCodeAndMessage(ctx, c)
	interop.DoSpecialStatusMessage(ctx, c)
	interop.DoUnimplementedMethod(ctx, cc)
	interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(cc))
}

func TestGRPCErrorsOfOursAreStatuses(t *testing.T) {
	m := newMesh(t, 0)
	caller := m.caller("nowhere")
	cc, err := grpc.NewClient(caller.out["nowhere"],
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(t, err)
	t.Cleanup(func() { cc.Close() })
	_, err = testgrpc.NewTestServiceClient(cc).EmptyCall(t.Context(), &testgrpc.Empty{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "nowhere") ||
		!strings.Contains(err.Error(), "no Service has this name") {
		t.Errorf("got %v, want UNAVAILABLE and why", err)
	}
}

func TestPlaintextIsAdmittedOrRefusedByMode(t *testing.T) {
	m := newMesh(t, 0)
	clientID := make(chan string, 10)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		clientID <- r.Header.Get("Tulle-Client-Id")
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	req, _ := http.NewRequest("GET", "http://"+web.mesh, nil)
	req.Header.Set("Tulle-Client-Id", workloadID("client"))
	resp, err := http1Client(t).Do(req)
	check(t, err)
	resp.Body.Close()
	if id := await.Receive(t, "the request arrives", clientID); resp.StatusCode != 200 || id != "" {
		t.Errorf("permissive: status %d, the application sees %q", resp.StatusCode, id)
	}
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, _, header := get(t, http1Client(t), "http://"+web.mesh)
		if status == 403 {
			if header.Get("Tulle-Error") != "" {
				t.Error("our header left the mesh")
			}
			break
		}
		await.Receive(t, "the request arrives", clientID)
		if time.Now().After(deadline) {
			t.Fatalf("strict: status %d", status)
		}
	}
}

// dialMesh opens a mesh connection by hand, as workload name.
func (m *testMesh) dialMesh(name, to, sni, alpn string, server string) (*tls.Conn, error) {
	src, err := m.dev.Source(m.t.Context(), spiffeid.RequireFromString(workloadID(name)))
	check(m.t, err)
	cfg := spiffe.ClientConfig(src, spiffeid.RequireFromString(server), []string{alpn}, sni)
	nc, err := net.Dial("tcp", to)
	check(m.t, err)
	m.t.Cleanup(func() { nc.Close() })
	check(m.t, nc.SetDeadline(time.Now().Add(5*time.Second)))
	tc := tls.Client(nc, cfg)
	return tc, tc.Handshake()
}

// served reports whether a tunnel carries anything to the application.
func served(c *tls.Conn) bool {
	io.WriteString(c, "GET / HTTP/1.1\r\nhost: x\r\n\r\n")
	_, err := io.ReadFull(c, make([]byte, 5))
	return err == nil
}

func TestBypassMatrix(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	other := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Error("reached an application nobody configured")
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	r := m.proxy("web", web)
	port := func(a string) string { _, p, _ := net.SplitHostPort(a); return p }
	for _, tt := range []struct {
		name, sni string
		ok        bool
	}{
		{"the application", port(addr), true},
		{"another loopback port", port(other), false},
		{"the admin port", port(r.admin), false},
		{"4140", "4140", false}, {"4143", "4143", false}, {"4191", "4191", false},
		{"not a port", "web", false}, {"zero", "0", false}, {"too big", "70000", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := m.dialMesh("client", web.mesh, tt.sni+config.SNISuffix, config.ALPNTCP,
				workloadID("web"))
			if ok := err == nil && served(c); ok != tt.ok {
				t.Errorf("served: %v (%v), want %v", ok, err, tt.ok)
			}
		})
	}
}

func TestPeerMustProveTheExpectedIdentity(t *testing.T) {
	m := newMesh(t, 0)
	var reached atomic.Bool
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Store(true)
	}))
	impostor := pod{"web-0", addr, loopback.Free()}
	m.write("pod-other.yaml", podYAML("other", pod{"other-0", addr, impostor.mesh}))
	m.service("web", impostor) // destination says web; the proxy there is other's
	m.proxy("other", pod{"other-0", addr, impostor.mesh})
	caller := m.caller("web")
	status, body, header := get(t, http1Client(t), "http://"+caller.out["web"])
	if status < 500 || reached.Load() {
		t.Errorf("status %d %s %v, reached %v: want an error, and never plaintext",
			status, body, header, reached.Load())
	}
}

func TestCertificatesRotateUnderLoad(t *testing.T) {
	// A connection is asked to end a tenth of a lifetime before it must. On a busy machine a
	// request may take some of that.
	const lifetime = 8 * time.Second
	m := newMesh(t, lifetime)
	url, caller, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	c := http1Client(t)
	serials := map[string]bool{}
	for began := time.Now(); len(serials) < 3 || time.Since(began) < lifetime; {
		if status, body, h := get(t, c, url); status != 200 {
			t.Fatalf("status %d %s %v", status, body, h)
		}
		if serial := m.serial(caller); serial != "" {
			serials[serial] = true
		}
		if time.Since(began) > await.Limit {
			t.Fatalf("only %d certificates were used", len(serials))
		}
	}
}

// serial is the certificate that a proxy shows now.
func (m *testMesh) serial(r *running) string {
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{config.ALPNHTTP},
		ServerName: "1" + config.SNISuffix}
	c, err := tls.Dial("tcp", r.inbound, cfg)
	if err != nil {
		return ""
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	m := newMesh(t, 0)
	began, release := make(chan struct{}), make(chan struct{})
	url, caller, callee := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-release
		io.WriteString(w, "done")
	}))
	result := make(chan string, 1)
	go func() {
		_, body, _ := get(t, http1Client(t), url)
		result <- body
	}()
	await.Receive(t, "the request arrives", began)
	stopped := make(chan error, 2)
	go func() { stopped <- callee.stop() }()
	go func() { stopped <- caller.stop() }()
	waitRefused(t, caller.out["web"])
	close(release)
	if body := await.Receive(t, "the request under way is answered", result); body != "done" {
		t.Errorf("the request under way got %q", body)
	}
	for range 2 {
		check(t, await.Receive(t, "both proxies have drained", stopped))
	}
}

func waitRefused(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
	}
	t.Fatal("still accepting")
}

func TestGarbageOnEveryPort(t *testing.T) {
	m := newMesh(t, 0)
	url, caller, callee := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	hello, err := os.ReadFile("testdata/clienthello")
	check(t, err)
	garbage := []string{"\x00", "\x16\x03\x01", "\x16\x03\x01\x40\x00" + strings.Repeat("a", 20000),
		"GET ", "GET / HTTP/1.1\r\nhost: a\r\n\x00: \r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\xff", 100),
		strings.Repeat("A", 100<<10), string(hello[:60]), string(hello) + "junk"}
	for _, addr := range []string{caller.out["web"], callee.inbound, caller.admin, m.dest} {
		for _, g := range garbage {
			c, err := net.Dial("tcp", addr)
			check(t, err)
			check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
			io.WriteString(c, g)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c) // until it ends: whatever came, it must
			c.Close()
		}
	}
	if status, _, _ := get(t, http1Client(t), url); status != 200 {
		t.Errorf("after the garbage: %d", status)
	}
}
