package h2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// between puts a relay between a real client and a real server, both net/http.
func between(t *testing.T, handler http.Handler) (*http.Client, string) {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.Protocols = &protocols
	srv.Start()
	t.Cleanup(srv.Close)
	tr := &http.Transport{Protocols: &protocols}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		up, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			return nil, err
		}
		near, far := tcpPair(t)
		r := newRelay(wire.New(far, nil), wire.New(up, nil), Options{})
		r.start()
		t.Cleanup(func() { r.down.Close(CodeNone); r.wait() })
		return near, nil
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, srv.URL
}

func TestRealPeersEcho(t *testing.T) {
	client, url := between(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n))
	}))
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, i*20_000)
			resp, err := client.Post(url, "text/plain", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("stream %d: %d bytes of %d, %v", i, len(got), len(body), err)
			}
			if sum := resp.Trailer.Get("X-Sum"); sum != fmt.Sprint(len(body)) {
				t.Errorf("stream %d: trailer %q", i, sum)
			}
		})
	}
	wg.Wait()
}

func TestRealPeersLargeHeaders(t *testing.T) {
	client, url := between(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Back", r.Header.Get("X-Long"))
	}))
	long := strings.Repeat("0123456789", 4000)
	req, _ := http.NewRequest("GET", url, nil)
	req.Header.Set("X-Long", long)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("X-Back") != long {
		t.Fatal("long field did not survive CONTINUATION")
	}
}
