package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

const (
	linger = 2 * time.Second  // callers have heard by then that this pod is going
	grace  = 10 * time.Second // begun requests may take so long to end
)

// echo is what the HTTP server saw of a request.
type echo struct {
	Pod     string      `json:"pod"`
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Proto   string      `json:"proto"`
	Host    string      `json:"host"`
	Remote  string      `json:"remote"`
	Headers http.Header `json:"headers"`
	Body    string      `json:"body"`
}

// serve answers until SIGTERM, then ends what it began. Health is on a port of its own; loopback is
// answered on 127.0.0.1 only.
func serve(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	fail := flags.Int64("fail", 0, "answer 500 to each request of this many in HTTP; 0: to none")
	takes := flags.Duration("takes", 0, "how long each request takes in HTTP")
	workers := flags.Int("workers", 1, "how many may take that long at once")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	answer := busy(failing(handler(), *fail), *takes, *workers)
	web := &http.Server{
		Handler: answer, ReadHeaderTimeout: grace,
		Protocols: new(http.Protocols),
	}
	web.Protocols.SetHTTP1(true)
	web.Protocols.SetUnencryptedHTTP2(true)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return serveHTTP(ctx, web, ":8080") })
	all.Go(func() error {
		return serveHTTP(ctx,
			&http.Server{Handler: handler(), ReadHeaderTimeout: grace}, "127.0.0.1:8089")
	})
	all.Go(func() error { return serveHTTPS(ctx, ":8443") })
	all.Go(func() error { return serveGRPC(ctx, ":8081") })
	all.Go(func() error { return serveFirst(ctx, ":3306") })
	return "ended", all.Wait()
}

// serveHTTPS answers with a certificate that nobody vouches for, as many do that only the kubelet
// asks: it does not verify.
func serveHTTPS(ctx context.Context, addr string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, made, made, key.Public(), key)
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", addr, &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	if err != nil {
		return err
	}
	return serveOn(ctx, &http.Server{Handler: handler(), ReadHeaderTimeout: grace}, l)
}

// serveHTTP listens, and ends as serveOn does.
func serveHTTP(ctx context.Context, server *http.Server, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serveOn(ctx, server, l)
}

// serveOn ends as a server must that wants to lose nothing: it stops listening, asks callers to
// leave with each answer, and goes on answering for a while. http.Server.Shutdown alone drops
// requests that it has read already.
func serveOn(ctx context.Context, server *http.Server, l net.Listener) error {
	answer := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			w.Header().Set("Connection", "close")
		}
		answer.ServeHTTP(w, r)
	})
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	err := l.Close()
	<-time.After(linger)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return errors.Join(err, server.Shutdown(end))
}

func handler() http.Handler {
	var seen counts
	mux := http.NewServeMux()
	mux.HandleFunc("/", answerEcho)
	mux.HandleFunc("/ws", answerWebSocket)
	mux.HandleFunc("/attach", attach)
	mux.Handle("/health", http.RedirectHandler("/health/", http.StatusMovedPermanently))
	mux.HandleFunc("/seen", seen.answer)
	mux.HandleFunc("/fail/{n}", seen.failSometimes)
	mux.HandleFunc("/slow/{ms}", seen.answerSlowly)
	mux.HandleFunc("/unless/{name}", answerUnless)
	return mux
}

// failing is a version with a fault. The kubelet's probes do not see it.
func failing(next http.Handler, every int64) http.Handler {
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe := strings.HasPrefix(r.UserAgent(), "kube-probe/")
		if every > 0 && !probe && n.Add(1)%every == 0 {
			http.Error(w, "this version has a fault", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// busy is a server that has room for so many requests at once, whatever the machine's. Its answers
// say which pod it is. The kubelet's probes do not wait.
func busy(next http.Handler, takes time.Duration, workers int) http.Handler {
	pod, _ := os.Hostname()
	room := make(chan struct{}, workers)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pod", pod)
		if takes > 0 && !strings.HasPrefix(r.UserAgent(), "kube-probe/") {
			room <- struct{}{}
			time.Sleep(takes)
			<-room
		}
		next.ServeHTTP(w, r)
	})
}

func answerEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, _ := os.Hostname() // empty shows that there is none
	w.Header().Set("Content-Type", "application/json")
	// ?answer=NAME:VALUE asks for a header of the response
	for _, v := range r.URL.Query()["answer"] {
		name, value, _ := strings.Cut(v, ":")
		w.Header().Add(name, value)
	}
	_ = json.NewEncoder(w).Encode(echo{
		pod, r.Method, r.URL.Path, r.Proto, r.Host, r.RemoteAddr, r.Header, string(body),
	})
}

// answerUnless fails in pods whose names begin so.
func answerUnless(w http.ResponseWriter, r *http.Request) {
	if pod, _ := os.Hostname(); strings.HasPrefix(pod, r.PathValue("name")) {
		http.Error(w, "it is "+pod, http.StatusInternalServerError)
		return
	}
	answerEcho(w, r)
}

func answerWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// attach answers as docker does over TCP: after the head of its answer the connection is no HTTP
// any more, and echoes.
func attach(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "tcp" {
		http.Error(w, "want Upgrade: tcp", http.StatusBadRequest)
		return
	}
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"+
		"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	_, _ = io.Copy(conn, both) // whichever side went away, the test sees it
}

// counts are the requests that reached the application, whatever a proxy did with them.
type counts struct{ failing, slow atomic.Int64 }

func (c *counts) answer(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"failing":%d,"slow":%d}`, c.failing.Load(), c.slow.Load())
}

// failSometimes fails all but every n-th request: with n tries a caller gets through.
func (c *counts) failSometimes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 1 {
		http.Error(w, "want /fail/N", http.StatusBadRequest)
		return
	}
	if c.failing.Add(1)%n != 0 {
		http.Error(w, "not this time", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "fine")
}

func (c *counts) answerSlowly(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.PathValue("ms"))
	if err != nil {
		http.Error(w, "want /slow/MILLISECONDS", http.StatusBadRequest)
		return
	}
	c.slow.Add(1)
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		fmt.Fprintln(w, "at last")
	case <-r.Context().Done():
	}
}

func serveGRPC(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	server.GracefulStop() // waits, if it has begun already
	return nil
}

// serveFirst greets before it was asked anything, as MySQL and SMTP do, then echoes.
func serveFirst(ctx context.Context, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	pod, _ := os.Hostname()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			fmt.Fprintf(conn, "220 %s\n", pod)
			_, _ = io.Copy(conn, conn) // whichever side went away, the test sees it
		}()
	}
}
