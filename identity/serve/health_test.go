package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	h := NewHealth()
	var missing error = errors.New("no certificate")
	h.Check("identity", func() error { return missing })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()

	base := "http://" + l.Addr().String()
	for _, c := range []struct {
		path, want string
		status     int
	}{
		{"/live", "live", 200},
		{"/ready", "identity: no certificate", 503},
		{"/metrics", "go_goroutines", 200},
		{"/debug/pprof/", "", 404},
	} {
		status, body := get(t, base+c.path)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %q", c.path, status, body)
		}
	}
	missing = nil
	if status, _ := get(t, base+"/ready"); status != 200 {
		t.Errorf("/ready: %d", status)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
