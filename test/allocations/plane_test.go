//go:build !race

package allocations

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	identityapi "github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/svid"
)

// life is how long certificates last: no test renews one.
const life = time.Hour

var trustDomain = spiffeid.RequireTrustDomainFromString("cluster.local")

// plane is identity and destination: it certifies whoever asks, and says the same of a key each
// time.
type plane struct {
	ca      *svid.CA
	addr    string
	id      spiffeid.ID // its own
	trust   string      // a file with the roots
	answers map[string]*api.Resources
}

// newPlane serves until the test ends. The answers are by the names of their keys.
func newPlane(t testing.TB, answers map[string]*api.Resources) *plane {
	ca, err := svid.NewCA(trustDomain)
	check(t, err)
	src, err := ca.Source("tulle", "plane", "plane-0", life)
	check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &plane{ca: ca, addr: l.Addr().String(), id: src.SVID().ID,
		trust: filepath.Join(t.TempDir(), "ca.crt"), answers: answers}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root().Raw})
	check(t, os.WriteFile(p.trust, root, 0o600))
	server := &http.Server{Handler: p, TLSConfig: spiffe.BootstrapServerConfig(src, []string{"h2"}),
		ErrorLog: log.New(io.Discard, "", 0)}
	var done sync.WaitGroup
	done.Go(func() { server.ServeTLS(l, "", "") }) // until it is closed
	t.Cleanup(func() {
		server.Close()
		await.Return(t, "the control plane has ended", done.Wait)
	})
	return p
}

// ServeHTTP answers a gRPC call.
func (p *plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	code := "0"
	switch r.URL.Path {
	case "/tulle.identity.v1.Identity/Certify":
		if p.certify(w, r) != nil {
			code = "13" // INTERNAL
		}
	case "/tulle.destination.v1.Destination/Discover":
		p.discover(w, r)
	default: // Bundles, of which there is no news
		<-r.Context().Done()
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
}

func (p *plane) certify(w http.ResponseWriter, r *http.Request) error {
	req := &identityapi.CertifyRequest{}
	if err := receive(r.Body, req); err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(req.Csr)
	if err != nil {
		return err
	}
	id, err := spiffeid.FromString(req.ExpectedId)
	if err != nil {
		return err
	}
	leaf, err := p.ca.Certify(id, "", csr.PublicKey, life)
	if err != nil {
		return err
	}
	return send(w, &identityapi.CertifyResponse{
		Certificates: [][]byte{leaf.Raw}, Authorities: [][]byte{p.ca.Root().Raw},
	})
}

// discover is a proxy's stream, which ends with the proxy.
func (p *plane) discover(w http.ResponseWriter, r *http.Request) {
	for {
		req := &api.DiscoverRequest{}
		if receive(r.Body, req) != nil {
			return
		}
		answer := &api.DiscoverResponse{}
		if req.GetHello() != nil {
			answer.Message = &api.DiscoverResponse_Welcome{
				Welcome: &api.Welcome{Workload: &api.Workload{Namespace: "shop"}}}
		} else if known := p.answers[api.KeyString(req.GetSubscribe().GetKey())]; known != nil {
			answer.Message = &api.DiscoverResponse_Resources{Resources: known}
		} else {
			continue
		}
		if send(w, answer) != nil {
			return
		}
	}
}

// prefix is the size of what stands before each message of gRPC: a flag and a length.
const prefix = 5

func receive(r io.Reader, m proto.Message) error {
	var head [prefix]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

func send(w http.ResponseWriter, m proto.Message) error {
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, prefix), m)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefix))
	if _, err := w.Write(b); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
