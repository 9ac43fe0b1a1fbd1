package spiffe

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// certifier is a CA that can be told to fail, on a clock of synctest's.
type certifier struct {
	mu    sync.Mutex
	ca    *authority
	life  time.Duration
	fail  error
	calls []time.Time
	id    string
	other bool // certify a key that nobody asked for
}

func (c *certifier) certify(t *testing.T, csrDER []byte) ([][]byte, [][]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, time.Now())
	if c.fail != nil {
		return nil, nil, c.fail
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil || csr.CheckSignature() != nil {
		t.Errorf("bad request: %v", err)
	}
	template := good(c.id)
	template.NotAfter = time.Now().Add(c.life)
	public := csr.PublicKey
	if c.other {
		public = newKey(t).Public()
	}
	return [][]byte{c.ca.sign(t, template, public).Raw}, [][]byte{c.ca.cert.Raw}, nil
}

func (c *certifier) set(change func(*certifier)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// asked is when it was called.
func (c *certifier) asked() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// renewing runs a Renewer in a synctest bubble until the test function returns.
func renewing(t *testing.T, f func(c *certifier, src *Source)) {
	synctest.Test(t, func(t *testing.T) {
		c := &certifier{ca: newAuthority(t), life: time.Hour, id: web.String()}
		src := NewSource()
		r := &Renewer{
			Source: src, Expected: web, Log: slog.New(slog.DiscardHandler),
			Certify: func(_ context.Context, csr []byte) ([][]byte, [][]byte, error) {
				return c.certify(t, csr)
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		f(c, src)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRenewsAtHalfLife(t *testing.T) {
	renewing(t, func(c *certifier, src *Source) {
		first, err := src.Wait(t.Context())
		if err != nil || src.Ready() != nil || len(src.Bundles()[td]) != 1 {
			t.Fatalf("after the first answer: %v, %v", err, src.Ready())
		}
		pass(10 * time.Hour)
		calls := c.asked()
		for i := 1; i < len(calls); i++ {
			// Certificates count in whole seconds, so half of what is left may be half a second
			// less.
			gap := calls[i].Sub(calls[i-1])
			if gap < 27*time.Minute-time.Second || gap > 33*time.Minute {
				t.Errorf("renewed after %v, want half an hour ±10%%", gap)
			}
		}
		if n := len(c.asked()); n < 18 || n > 24 {
			t.Errorf("%d calls in ten hours of hour-long certificates", n)
		}
		if last := src.SVID(); last == first || last.PrivateKey == first.PrivateKey {
			t.Error("the key was used again")
		}
	})
}

func TestRetriesWithBackoffWhileValid(t *testing.T) {
	renewing(t, func(c *certifier, src *Source) {
		c.set(func(c *certifier) { c.fail = errors.New("identity is away") })
		pass(33 * time.Minute)
		start := len(c.asked())
		pass(10 * time.Minute)
		calls := c.asked()
		for i := start + 1; i < len(calls); i++ {
			if gap := calls[i].Sub(calls[i-1]); gap > retryMax {
				t.Errorf("waited %v between tries", gap)
			}
		}
		if n := len(c.asked()) - start; n > 40 || n < 10 {
			t.Errorf("%d tries in ten minutes", n)
		}
		if err := src.Ready(); err != nil {
			t.Errorf("not ready although the certificate is valid: %v", err)
		}
		pass(30 * time.Minute)
		if err := src.Ready(); err == nil || !strings.Contains(err.Error(), "expired") ||
			!strings.Contains(err.Error(), "identity is away") {
			t.Errorf("Ready = %v", err)
		}
		c.set(func(c *certifier) { c.fail = nil })
		pass(retryMaxWithout)
		if err := src.Ready(); err != nil {
			t.Errorf("identity is back, yet: %v", err)
		}
	})
}

func TestFirstTryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := NewSource()
		if err := src.Ready(); err == nil {
			t.Error("ready without a certificate")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := src.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v", err)
		}
	})
}

// When the bundles stop vouching for the SVID in hand, a new one is fetched without waiting for
// half-life; an SVID that they still do not vouch for is no reason to ask again and again.
func TestRemovedRootRenewsSoon(t *testing.T) {
	renewing(t, func(c *certifier, src *Source) {
		next := newAuthority(t)
		src.SetBundles(Bundles{td: roots(next)})
		pass(rotateSpread)
		if n := len(c.asked()); n != 2 {
			t.Fatalf("%d calls, want one more", n)
		}
		pass(time.Minute)
		if n := len(c.asked()); n != 2 {
			t.Fatalf("%d calls: asks again and again", n)
		}
		c.set(func(c *certifier) { c.ca = next })
		src.SetBundles(Bundles{td: roots(next)})
		pass(rotateSpread)
		if _, err := Verify(src.SVID().Certificates, src); err != nil {
			t.Errorf("after rotation: %v", err)
		}
	})
}

func TestRefusesWrongAnswers(t *testing.T) {
	for name, change := range map[string]func(*certifier){
		"another ID":  func(c *certifier) { c.id = api.String() },
		"another key": func(c *certifier) { c.other = true },
		"expired":     func(c *certifier) { c.life = -time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			renewing(t, func(c *certifier, src *Source) {
				first := src.SVID()
				c.set(change)
				pass(40 * time.Minute)
				if len(c.asked()) < 2 {
					t.Error("did not renew")
				}
				if src.SVID() != first {
					t.Error("took a wrong answer over")
				}
			})
		})
	}
}
