package agent

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

var (
	td         = spiffeid.RequireTrustDomainFromString("cluster.local")
	vizID      = spiffeid.RequireFromString("spiffe://cluster.local/ns/tulle/sa/tulle-viz")
	identityID = spiffeid.RequireFromString("spiffe://cluster.local/ns/tulle/sa/tulle-identity")
)

func good(dir string) Config {
	return Config{
		ID: vizID, IdentityAddr: "127.0.0.1:1", IdentityID: identityID,
		Log: slog.New(slog.DiscardHandler), TokenFile: filepath.Join(dir, "token"),
		TrustFile: filepath.Join(dir, "ca.crt"),
	}
}

func TestStartRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no ID": func(c *Config) { c.ID = spiffeid.ID{} },
		"not a workload": func(c *Config) {
			c.ID = spiffeid.RequireFromString("spiffe://cluster.local/x")
		},
		"no server ID":  func(c *Config) { c.IdentityID = spiffeid.ID{} },
		"no address":    func(c *Config) { c.IdentityAddr = "" },
		"no token file": func(c *Config) { c.TokenFile = "" },
		"no trust file": func(c *Config) { c.TrustFile = "" },
	} {
		cfg := good(t.TempDir())
		change(&cfg)
		if _, err := Start(t.Context(), cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What is missing is said where readiness reads it, and never the token.
func TestReadySaysWhatIsMissing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := &agent{Config: good(dir), source: spiffe.NewSource()}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	check := func(want string) {
		t.Helper()
		if _, _, err := a.certify(ctx, nil); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check("read the token")
	write("token", "s3cret")
	check("is identity up?")
	write("ca.crt", "garbage")
	check("no certificate in the trust bundle")
	write("ca.crt", strings.Repeat("x", maxFile+1))
	check("larger than")
}

func TestLearnRefuses(t *testing.T) {
	a := &agent{Config: good(t.TempDir()), source: spiffe.NewSource()}
	for name, resp := range map[string]*api.BundlesResponse{
		"nothing":      {},
		"not ours":     {Bundles: []*api.Bundle{{TrustDomain: "other.example"}}},
		"bad domain":   {Bundles: []*api.Bundle{{TrustDomain: "//"}}},
		"empty bundle": {Bundles: []*api.Bundle{{TrustDomain: td.Name()}}},
		"garbage": {
			Bundles: []*api.Bundle{{TrustDomain: td.Name(), Authorities: [][]byte{{1}}}}},
	} {
		if err := a.learn(resp); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(a.source.Bundles()) != 0 {
		t.Error("something was learnt")
	}
}
