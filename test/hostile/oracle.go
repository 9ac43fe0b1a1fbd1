package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

// oracle is a real server, as lenient as it can be made. It answers each request with the identity
// that it believes its caller to have, and remembers every one that it was told.
type oracle struct {
	name  string
	addr  string
	http2 bool // in cleartext, and nothing else
	told  func() (string, error)
	roots *x509.CertPool // of a server that has TLS; nil: it has none
	// balanced is behind a load balancer, as it believes: it takes nothing without a PROXY header.
	balanced bool
}

// quietLog is for servers whose callers are hostile.
var quietLog = log.New(io.Discard, "", 0)

// believes is what an oracle answers.
func believes(id string) string { return "believes [" + id + "]" }

// testimony is what the servers in this process were told.
type testimony struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (t *testimony) read() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String(), nil
}

// ServeHTTP takes an underscore for a hyphen, as CGI does.
func (t *testimony) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	said := ""
	for name, values := range r.Header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "tulle-client-id") {
			said += strings.Join(values, ",")
		}
	}
	t.mu.Lock()
	fmt.Fprintln(&t.b, said)
	t.mu.Unlock()
	fmt.Fprintln(w, believes(said))
}

// openOracles starts them all; they end with ctx. Those that are not installed are an error.
func openOracles(ctx context.Context, dir string) ([]*oracle, error) {
	go1, err := serveGo("net/http", func(p *http.Protocols) { p.SetHTTP1(true) })
	if err != nil {
		return nil, err
	}
	go2, err := serveGo("net/http, h2c", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	if err != nil {
		return nil, err
	}
	go2.http2 = true
	nginx, err := startNginx(ctx, dir)
	if err != nil {
		return nil, missing("nginx", err)
	}
	python, err := startPython(ctx, dir)
	if err != nil {
		return nil, missing("python3", err)
	}
	return append(nginx, python, go1, go2, serveGoTLS()), nil
}

// missing is an oracle's absence, of which a failure must be made.
func missing(program string, err error) error {
	return fmt.Errorf("%s, without which nothing is shown (apt-get install %[1]s): %w",
		program, err)
}

func serveGo(name string, speaks func(*http.Protocols)) (*oracle, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &testimony{}
	s := &http.Server{Handler: t, Protocols: new(http.Protocols), ErrorLog: quietLog}
	speaks(s.Protocols)
	go s.Serve(l) // until the program ends
	return &oracle{name: name, addr: l.Addr().String(), told: t.read}, nil
}

// serveGoTLS has a certificate of its own, which the mesh knows nothing of.
func serveGoTLS() *oracle {
	t := &testimony{}
	s := httptest.NewUnstartedServer(t)
	s.Config.ErrorLog = quietLog
	s.StartTLS() // until the program ends
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	addr := s.Listener.Addr().String()
	return &oracle{name: "net/http, TLS", addr: addr, told: t.read, roots: roots}
}

// nginxLenient takes every header that it can be made to take. Who is told at all is in its log, a
// request that it refuses in the end too.
const nginxLenient = `
daemon off; master_process off; worker_processes 1; pid $DIR/nginx.pid;
error_log $DIR/nginx.err crit;
events { worker_connections 4096; }
http {
  log_format told '[$http_tulle_client_id]'; access_log $DIR/nginx.told told;
  client_body_temp_path $DIR/b; proxy_temp_path $DIR/p; fastcgi_temp_path $DIR/f;
  uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s;
  underscores_in_headers on; ignore_invalid_headers off; large_client_header_buffers 8 128k;
  server {
    listen $ONE; listen $TWO http2; listen $THREE proxy_protocol;
    location / { return 200 "believes [$http_tulle_client_id]\n"; }
  }
}
`

// startNginx starts one that serves HTTP/1 at an address, HTTP/2 at another, and HTTP/1 after PROXY
// headers at a third.
func startNginx(ctx context.Context, dir string) ([]*oracle, error) {
	one, two, three := loopback.Free(), loopback.Free(), loopback.Free()
	config, told := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "nginx.told")
	fill := strings.NewReplacer("$DIR", dir, "$ONE", one, "$TWO", two, "$THREE", three)
	text := fill.Replace(nginxLenient)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := launch(ctx, one, "nginx", "-c", config); err != nil {
		return nil, err
	}
	read := func() (string, error) {
		b, err := os.ReadFile(told)
		return string(b), err
	}
	return []*oracle{
		{name: "nginx", addr: one, told: read},
		{name: "nginx, h2c", addr: two, told: read, http2: true},
		{name: "nginx, PROXY", addr: three, told: read, balanced: true},
	}, nil
}

// pythonLenient answers any method, and knows a header with an underscore too.
const pythonLenient = `
import http.server, sys
told = open(sys.argv[2], "a", buffering=1)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def identity(self):
        return ",".join(v for k, v in self.headers.items()
                        if k.lower().replace("_", "-") == "tulle-client-id")
    def parse_request(self):
        whole = super().parse_request()
        if getattr(self, "headers", None) is not None:
            told.write("[" + self.identity() + "]\n")
        return whole
    def answer(self):
        body = ("believes [" + self.identity() + "]\n").encode("iso-8859-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def __getattr__(self, name):
        if name.startswith("do_"): return self.answer
        raise AttributeError(name)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
host, port = sys.argv[1].rsplit(":", 1)
Server((host, int(port)), Handler).serve_forever()
`

func startPython(ctx context.Context, dir string) (*oracle, error) {
	script, told := filepath.Join(dir, "oracle.py"), filepath.Join(dir, "python.told")
	addr := loopback.Free()
	if err := os.WriteFile(script, []byte(pythonLenient), 0o600); err != nil {
		return nil, err
	}
	if err := launch(ctx, addr, "python3", script, addr, told); err != nil {
		return nil, err
	}
	return &oracle{name: "http.server", addr: addr, told: func() (string, error) {
		b, err := os.ReadFile(told)
		return string(b), err
	}}, nil
}

// launch runs a program until ctx ends, and returns when it listens.
func launch(ctx context.Context, addr, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	var said output.Tail
	cmd.Stderr = &said
	// Nothing outlives the program.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			return nc.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended: %w: %s", program, err, said.String())
		default:
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s does not listen: %w", program, err)
		}
	}
}
