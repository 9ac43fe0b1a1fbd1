package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/agent"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const identityAddr = "tulle-identity.tulle.svc.cluster.local:8080"

// own is the SVID of the pod that runs this, got as a proxy gets its own. The tests' pods use it
// for what no proxy would do.
type own struct {
	id       string
	patience time.Duration
}

func (o *own) flags(flags *flag.FlagSet) {
	flags.StringVar(&o.id, "id", "", "SPIFFE ID of this pod")
	flags.DurationVar(&o.patience, "patience", 30*time.Second, "how long to wait for the SVID")
}

func controlPlane(name string) (spiffeid.ID, error) {
	return spiffeid.FromString("spiffe://cluster.local/ns/tulle/sa/tulle-" + name)
}

func (o *own) source(ctx context.Context) (*spiffe.Source, error) {
	id, err := spiffeid.FromString(o.id)
	if err != nil {
		return nil, fmt.Errorf("-id: %w", err)
	}
	ca, err := controlPlane("identity")
	if err != nil {
		return nil, err
	}
	source, err := agent.Start(ctx, agent.Config{
		ID: id, IdentityAddr: identityAddr, IdentityID: ca,
		Log:       slog.New(slog.NewTextHandler(io.Discard, nil)),
		TokenFile: "/var/run/tulle/token/token", TrustFile: "/var/run/tulle/trust/ca.crt",
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	_, err = source.Wait(ctx)
	return source, err
}

func readText(file string) (string, error) {
	text, err := os.ReadFile(file)
	return string(text), err
}
