package proxy

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/test/svid"
)

// A proxy whose clock is behind says so in figures: whomever it meets has a certificate of the
// future. The clock of a bubble is, by decades.
func TestAClockThatIsBehindIsCounted(t *testing.T) {
	ca, err := svid.NewCA(spiffeid.RequireTrustDomainFromString("cluster.local"))
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ca.Source("shop", "web", "web-0", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(config.Config{Limits: config.DefaultLimits()}, "test",
		Output{Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	if err != nil {
		t.Fatal(err)
	}
	p.source.SetBundles(peer.Bundles())
	shown := tls.ConnectionState{PeerCertificates: peer.SVID().Certificates}
	web := &balance.Endpoint{Identity: peer.SVID().ID}
	all := map[string]*tls.Config{"caller": p.meshServer,
		"endpoint": p.meshClientConfig(web, config.ALPNHTTP)}
	for who, cfg := range all {
		if err := cfg.VerifyConnection(shown); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for who, cfg := range all {
			if err := cfg.VerifyConnection(shown); err == nil {
				t.Errorf("%s: a certificate of the future is taken", who)
			}
		}
	})
	var page strings.Builder
	text := metric.NewText(func(b []byte) bool { page.Write(b); return true })
	p.metrics.WriteText(text, "test")
	text.Flush()
	for who, n := range map[string]string{"caller": "1", "endpoint": "1", "control_plane": "0"} {
		line := `tulle_certificates_not_yet_valid_total{reason="` + who + `"} ` + n + "\n"
		if !strings.Contains(page.String(), line) {
			t.Errorf("the page has no %s in\n%s", line, page.String())
		}
	}
}
