package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// application is what is asked. It takes each connection as the next of its answers says, and those
// that follow as the last one: a status, or one of the words below.
type application struct {
	mu      sync.Mutex // guards what follows
	answers []string
	asked   []time.Time
	heads   []string
	tasks   sync.WaitGroup
}

const (
	refuses = "refuses" // no connection
	hangs   = "hangs"   // no answer
	cuts    = "cuts"    // the connection, instead of an answer
	http2   = "http2"   // 200 in HTTP/2
)

func (a *application) dial(context.Context, string) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := a.answers[min(len(a.asked), len(a.answers)-1)]
	a.asked = append(a.asked, time.Now())
	if answer == refuses {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	a.tasks.Go(func() { a.serve(theirs, answer) })
	return ours, nil
}

func (a *application) serve(nc net.Conn, answer string) {
	defer nc.Close()
	if answer == http2 {
		serveHTTP2(nc)
		return
	}
	r := bufio.NewReader(nc)
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "\r\n" {
			break
		}
		head.WriteString(line)
	}
	a.mu.Lock()
	a.heads = append(a.heads, head.String())
	a.mu.Unlock()
	switch answer {
	case cuts:
		return
	case hangs:
	default:
		fmt.Fprintf(nc, "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 %s X\r\ncontent-length: 2\r\n\r\nok",
			answer)
	}
	io.Copy(io.Discard, r) // until the check is over
}

func serveHTTP2(nc net.Conn) {
	w := wire.New(nc, nil)
	c := h2.NewServer(w, h2.Options{OnStream: func(s *h2.Stream) h2.Sink {
		return &reply{s}
	}})
	c.Serve()
}

// reply answers 200.
type reply struct{ *h2.Stream }

func (r *reply) OnHeaders([]hpack.HeaderField, bool) {
	r.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "200"}}, true)
	r.Flush()
}
func (*reply) OnData([]byte, bool)   {}
func (*reply) OnReset(uint32, error) {}
func (*reply) OnSent(int)            {}

// times are how long after the first check the others were made.
func (a *application) times() (out []time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.asked {
		out = append(out, at.Sub(a.asked[0]))
	}
	return out
}

// checked is a Set with an application behind it, and what it says.
type checked struct {
	*Set
	t    *testing.T
	app  *application
	said chan *api.Health
}

func check(t *testing.T, answers ...string) *checked {
	c := &checked{t: t, app: &application{answers: answers}, said: make(chan *api.Health, 100)}
	c.Set = NewSet(Options{
		Dial: c.app.dial, Address: func(port, _ uint16) string { return fmt.Sprint("app:", port) },
		Say: func(m *api.Health) { c.said <- m }, Log: slog.New(slog.DiscardHandler),
	})
	return c
}

func (c *checked) stop() {
	c.Stop()
	c.app.tasks.Wait()
}

// after waits, and returns what has been said meanwhile.
func (c *checked) after(d time.Duration) (out []string) {
	c.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	for {
		select {
		case m := <-c.said:
			text := strings.TrimPrefix(m.State.String(), "STATE_")
			if m.Reason != "" {
				text += ": " + m.Reason
			}
			out = append(out, text)
		default:
			return out
		}
	}
}

func (c *checked) wants(got []string, want ...string) {
	c.t.Helper()
	if !slices.Equal(got, want) {
		c.t.Errorf("said is %q, want %q", got, want)
	}
}

// get is a check of /live every two seconds.
func get(t *testing.T, change ...func(*api.HealthCheck)) *Check {
	t.Helper()
	m := &api.HealthCheck{
		Check:      &api.HealthCheck_Http{Http: &api.HTTPCheck{Path: "/live?full"}},
		IntervalMs: 2000, TimeoutMs: 500, HealthyThreshold: 2, UnhealthyThreshold: 3,
	}
	for _, f := range change {
		f(m)
	}
	return compiled(t, m, api.Protocol_PROTOCOL_DETECT)
}

func compiled(t *testing.T, m *api.HealthCheck, protocol api.Protocol) *Check {
	t.Helper()
	c, err := Compile(&api.Inbound{Port: 8080, Protocol: protocol, HealthCheck: m})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The state changes after as many results in a row as the thresholds say, however a check fails; a
// single one in between changes nothing.
func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, "200", "503", "204", "503", "503", "200", "500", cuts, refuses, refuses,
			"200", "503", "200", "200")
		defer c.stop()
		c.Apply(8080, get(t))
		c.wants(c.after(firstWithin), "HEALTHY") // the first success of all is enough
		c.wants(c.after(14 * time.Second))
		got := c.after(7 * time.Second)
		if len(got) != 1 || !strings.HasPrefix(got[0], "UNHEALTHY: connect") {
			t.Errorf("after three failures in a row: %q", got)
		}
		c.wants(c.after(9*time.Second), "HEALTHY")
		want := "GET /live?full HTTP/1.1\r\nhost: app:8080\r\nuser-agent: tulle-health-check\r\n"
		if c.app.heads[0] != want {
			t.Errorf("asked is %q, want %q", c.app.heads[0], want)
		}
	})
}

// Checks come at the interval, a tenth more or less, and not in step.
func TestIntervalsAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, "200")
		defer c.stop()
		c.Apply(8080, get(t))
		c.after(time.Minute)
		times := c.app.times()
		different := map[time.Duration]bool{}
		for i, at := range times[1:] {
			gap := at - times[i]
			different[gap] = true
			if gap < 1800*time.Millisecond || gap > 2200*time.Millisecond {
				t.Errorf("%v between two checks", gap)
			}
		}
		if len(times) < 27 || len(different) < 10 {
			t.Errorf("%d checks, %d different intervals", len(times), len(different))
		}
	})
}

// A check that hangs ends at its timeout, and counts as a failure. The application that has not
// begun yet is asked more often than the interval says, and called as soon as it answers.
func TestAnApplicationThatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, hangs, hangs, hangs, hangs, "200", "200")
		defer c.stop()
		c.Apply(8080, get(t, func(m *api.HealthCheck) { m.IntervalMs = 60_000 }))
		// the third check ends within 2.75 s, and the fifth begins within 3.6 to 4.45 s
		c.wants(c.after(3200*time.Millisecond), "UNHEALTHY: no answer within 500ms")
		c.wants(c.after(1800*time.Millisecond), "HEALTHY")
		c.wants(c.after(30 * time.Second))
		if n := len(c.app.times()); n != 5 {
			t.Errorf("%d checks: the interval counts from the first success on", n)
		}
	})
}

// An edit of the check changes nothing of what was found, and the end of it is said.
func TestAnotherCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, "503", "503", "503", "503", "302")
		defer c.stop()
		c.Apply(8080, get(t))
		c.wants(c.after(4*time.Second), "UNHEALTHY: /live?full is answered by 503")
		c.Apply(8080, get(t, func(m *api.HealthCheck) {
			m.GetHttp().Statuses = []*api.StatusRange{{Min: 302, Max: 302}}
		}))
		c.wants(c.after(2*time.Second), "HEALTHY")
		c.Apply(8080, nil)
		c.wants(c.after(time.Hour), "UNCHECKED")
		n := len(c.app.times())
		c.Apply(8080, get(t))
		c.after(time.Second)
		if again := len(c.app.times()); again <= n {
			t.Error("the port is not checked again")
		}
	})
}

func TestAnApplicationInHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, http2)
		defer c.stop()
		c.Apply(8080, compiled(t, get(t).message(), api.Protocol_PROTOCOL_HTTP2))
		c.wants(c.after(time.Second), "HEALTHY")
	})
}

// An application that speaks the other HTTP is not well, and the check is over.
func TestAnApplicationInAnotherHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, http2)
		defer c.stop()
		c.Apply(8080, get(t))
		got := c.after(10 * time.Second)
		if len(got) != 1 || !strings.HasPrefix(got[0], "UNHEALTHY: no answer") {
			t.Errorf("said is %q", got)
		}
	})
}

func TestAConnectionIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, hangs, refuses)
		defer c.stop()
		c.Apply(8080, compiled(t, &api.HealthCheck{
			Check:      &api.HealthCheck_Tcp{Tcp: &api.TCPCheck{}},
			IntervalMs: 1000, TimeoutMs: 1000, HealthyThreshold: 1, UnhealthyThreshold: 1,
		}, api.Protocol_PROTOCOL_OPAQUE))
		c.wants(c.after(2*time.Second), "HEALTHY", "UNHEALTHY: connect: connection refused")
	})
}

// Stop ends a check that hangs, and nothing is said of it.
func TestStopEndsAHangingCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, hangs)
		c.Apply(8080, get(t, func(m *api.HealthCheck) { m.UnhealthyThreshold = 1 }))
		c.after(firstWithin)
		began := time.Now()
		c.stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
		c.Apply(8080, get(t))
		c.wants(c.after(time.Minute))
	})
}

// What a proxy says counts after what the one before it in its pod has said.
func TestSequencesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last uint64
		for range 2 {
			c := check(t, "200", "503")
			c.Apply(8080, get(t, func(m *api.HealthCheck) { m.UnhealthyThreshold = 1 }))
			time.Sleep(3 * time.Second)
			synctest.Wait()
			for range 2 {
				m := <-c.said
				if m.Sequence <= last {
					t.Errorf("%d comes after %d", m.Sequence, last)
				}
				last = m.Sequence
			}
			c.stop()
		}
	})
}

// A pod has no more checked ports than destination takes the health of.
func TestPortsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := check(t, "200")
		defer c.stop()
		for port := range uint16(api.MaxHealthPorts + 1) {
			c.Apply(port+1, get(t))
		}
		if n := len(c.after(firstWithin)); n != api.MaxHealthPorts {
			t.Errorf("%d ports are checked, want %d", n, api.MaxHealthPorts)
		}
	})
}
