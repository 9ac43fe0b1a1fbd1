package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// grpcBackend answers as a path says, and tells of calls that it saw cancelled.
func grpcBackend(begun, gone chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		flush := http.NewResponseController(w)
		w.Header().Set("Content-Type", "application/grpc")
		name, status, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch name {
		case "only": // a head that is the trailers too
			w.Header().Set("Grpc-Status", status)
			return
		case "stream":
			for range 3 {
				w.Write(make([]byte, 5))
				flush.Flush()
			}
		case "unary":
			w.Write(make([]byte, 5))
		case "unsaid":
			w.Write(make([]byte, 5))
			return
		case "page":
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte("<p>"))
			return
		case "begun":
			w.Write(make([]byte, 5))
			flush.Flush()
			fallthrough
		case "hang":
			select {
			case begun <- name:
			default: // nobody asked
			}
			<-r.Context().Done()
			gone <- name
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
	}
}

// callGRPC is a caller that leaves its deadline to others. The status is the trailers', or that of
// a head that is all.
func callGRPC(
	t *testing.T, ctx context.Context, c *http.Client, url, timeout string,
) (status string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", url,
		strings.NewReader(strings.Repeat("\x00", 5)))
	check(t, err)
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	if timeout != "" {
		req.Header.Set("Grpc-Timeout", timeout)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%s: HTTP status %d", url, resp.StatusCode)
	}
	if s := resp.Header.Get("Grpc-Status"); s != "" {
		return s, nil
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Trailer.Get("Grpc-Status"), err
}

// tally is what a proxy has counted of gRPC calls in one direction.
type tally struct{ requests, failures, tries, failedTries, timeouts int }

func (a tally) minus(b tally) tally {
	return tally{a.requests - b.requests, a.failures - b.failures, a.tries - b.tries,
		a.failedTries - b.failedTries, a.timeouts - b.timeouts}
}

func counted(t *testing.T, r *running, direction string) (sum tally) {
	t.Helper()
	resp, err := asker.Get("http://" + r.admin + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	into := map[string]*int{"tulle_requests_total": &sum.requests,
		"tulle_request_failures_total": &sum.failures, "tulle_tries_total": &sum.tries,
		"tulle_try_failures_total": &sum.failedTries, "tulle_timeouts_total": &sum.timeouts}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), "{")
		n := 0
		if into[name] == nil || !strings.Contains(rest, `direction="`+direction+`"`) ||
			!strings.Contains(rest, `protocol="grpc"`) {
			continue
		}
		fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &n)
		*into[name] += n
	}
	return sum
}

// Every way a call can end is told to its caller as gRPC tells it, and counted once for what it
// was, at both proxies.
func TestGRPCOutcomes(t *testing.T) {
	gone := make(chan string, 1)
	m := newMesh(t, 0)
	url, caller, callee := m.pair(grpcBackend(nil, gone))
	c := http2Client(t)
	for _, tt := range []struct {
		path, timeout, want string
		outbound            tally
		inbound             tally
		hears               bool // the backend, of the end
	}{
		{"/unary/0", "", "0", tally{1, 0, 1, 0, 0}, tally{1, 0, 1, 0, 0}, false},
		{"/unary/0", "30S", "0", tally{1, 0, 1, 0, 0}, tally{1, 0, 1, 0, 0}, false},
		{"/unary/13", "", "13", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/unary/5", "", "5", tally{1, 0, 1, 0, 0}, tally{1, 0, 1, 0, 0}, false},
		{"/stream/0", "", "0", tally{1, 0, 1, 0, 0}, tally{1, 0, 1, 0, 0}, false},
		{"/stream/14", "", "14", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/stream/3", "", "3", tally{1, 0, 1, 0, 0}, tally{1, 0, 1, 0, 0}, false},
		{"/only/14", "", "14", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/only/5", "", "5", tally{1, 0, 1, 0, 0}, tally{1, 0, 1, 0, 0}, false},
		{"/only/oops", "", "oops", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/unary/oops", "", "oops", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/unary/17", "", "17", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/unary/", "", "", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/unsaid/0", "", "", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/page/0", "", "", tally{1, 1, 1, 1, 0}, tally{1, 1, 1, 1, 0}, false},
		{"/hang/0", "200m", "4", tally{1, 1, 1, 1, 1}, tally{1, -1, 1, -1, -1}, true},
		{"/begun/0", "200m", "4", tally{1, 1, 1, 1, 1}, tally{1, -1, 1, -1, -1}, true},
	} {
		out, in := counted(t, caller, "outbound"), counted(t, callee, "inbound")
		got, err := callGRPC(t, t.Context(), c, url+tt.path, tt.timeout)
		if got != tt.want || err != nil {
			t.Errorf("%s within %q: status %q, %v; want %s", tt.path, tt.timeout, got, err, tt.want)
		}
		awaitTally(t, caller, "outbound", tt.path, out, tt.outbound)
		awaitTally(t, callee, "inbound", tt.path, in, tt.inbound)
		if tt.hears {
			awaitGone(t, gone, tt.path)
		}
	}
}

// A call that its caller gives up is no failure of anyone's, and the backend hears of it.
func TestCancelledGRPCIsNoFailure(t *testing.T) {
	begun, gone := make(chan string, 1), make(chan string, 1)
	m := newMesh(t, 0)
	url, caller, _ := m.pair(grpcBackend(begun, gone))
	c := http2Client(t)
	for _, path := range []string{"/hang/0", "/begun/0"} {
		before := counted(t, caller, "outbound")
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-begun
			cancel()
		}()
		if status, err := callGRPC(t, ctx, c, url+path, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: status %q, %v", path, status, err)
		}
		awaitTally(t, caller, "outbound", path, before, tally{1, 0, 1, 0, 0})
		awaitGone(t, gone, path)
	}
}

// awaitTally waits for what is counted: a caller may hear of its end before that. -1 is anything:
// which of two clocks was first nobody can say.
func awaitTally(t *testing.T, r *running, direction, what string, before, want tally) {
	t.Helper()
	var got tally
	deadline := time.Now().Add(30 * time.Second)
	for ; time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		got = counted(t, r, direction).minus(before)
		if want.failures < 0 {
			got.failures, got.failedTries, got.timeouts = -1, -1, -1
		}
		if got == want {
			return
		}
	}
	t.Errorf("%s, %s: counted %+v, want %+v", what, direction, got, want)
}

func awaitGone(t *testing.T, gone <-chan string, what string) {
	t.Helper()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Errorf("%s: the backend works on", what)
	}
}
