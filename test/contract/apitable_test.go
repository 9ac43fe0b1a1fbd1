package contract

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/files"
	identityapi "github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/viz"
	vizapi "github.com/tulle-mesh/tulle/viz/api"
)

type root struct {
	message proto.Message
	// nil: there is nothing in the message that its receiver could not know
	test func(*testing.T)
	held string // by which test of another package the receiver is held to it, if not by test
}

// roots are what one process of ours receives from another, and the test that holds the receiver
// to it.
var roots = []root{
	{&api.DiscoverResponse{}, TestWhatAProxyDoesNotKnowIsRejected, ""},
	{&api.DiscoverRequest{}, TestWhatDestinationDoesNotKnowEndsTheStream, ""},
	{&api.RelayRequest{}, nil, ""},
	{&api.RelayResponse{}, TestWhatAReplicaDoesNotKnowIsNotTaken, ""},
	{&identityapi.CertifyRequest{}, TestAnAttestationThatIdentityDoesNotKnowIsRefused, ""},
	{&identityapi.CertifyResponse{}, nil, ""},
	{&identityapi.BundlesRequest{}, nil, ""},
	{&identityapi.BundlesResponse{}, nil, ""},
	{&vizapi.ReportRequest{}, TestAReportWithWhatVizDoesNotKnowIsRefused, ""},
	{&vizapi.ReportResponse{}, nil, ""},
	{&vizapi.RecordsRequest{}, TestARecordWithWhatVizDoesNotKnowIsRefused, ""},
	{&vizapi.RecordsResponse{}, nil, "proxy/record's TestWhatAFilterMatches"},
}

// Every message of every API is received by somebody whom a test of this package holds to it, or
// has nothing in it that its receiver could not know.
func TestEveryMessageIsHeldToItsContract(t *testing.T) {
	reached := map[protoreflect.FullName]bool{}
	for _, root := range roots {
		reach(root.message.ProtoReflect().Descriptor(), reached)
		if found := places(root.message); root.test == nil && root.held == "" &&
			len(found) > 0 {
			t.Errorf("%T can hold %v, and no test says what its receiver does", root.message, found)
		}
	}
	for _, m := range received(t) {
		named := func(r root) bool { return r.message.ProtoReflect().Descriptor().FullName() == m }
		if !slices.ContainsFunc(roots, named) {
			t.Errorf("%s is sent or received by a method, and is not in the table", m)
		}
	}
	for _, file := range apiFiles(t) {
		messages := file.Messages()
		for i := range messages.Len() {
			if name := messages.Get(i).FullName(); !reached[name] {
				t.Errorf("%s is in no message of the table", name)
			}
		}
		for i := range file.Enums().Len() {
			checkEnum(t, file.Enums().Get(i))
		}
	}
}

var (
	packageLine = regexp.MustCompile(`(?m)^package (\S+);`)
	methodLine  = regexp.MustCompile(`rpc \w+\((?:stream )?(\w+)\) returns \((?:stream )?(\w+)\)`)
)

// received are the messages of all methods.
func received(t *testing.T) (out []protoreflect.FullName) {
	t.Helper()
	names, err := filepath.Glob("../../*/api/*grpc/*.proto")
	check(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		check(t, err)
		pkg := protoreflect.FullName(packageLine.FindSubmatch(text)[1])
		for _, m := range methodLine.FindAllSubmatch(text, -1) {
			out = append(out, pkg.Append(protoreflect.Name(m[1])),
				pkg.Append(protoreflect.Name(m[2])))
		}
	}
	if len(out) != len(roots) {
		t.Errorf("the methods have %d messages, the table %d", len(out), len(roots))
	}
	return out
}

func reach(m protoreflect.MessageDescriptor, into map[protoreflect.FullName]bool) {
	if into[m.FullName()] {
		return
	}
	into[m.FullName()] = true
	for i := range m.Fields().Len() {
		if inner := m.Fields().Get(i).Message(); inner != nil {
			reach(inner, into)
		}
	}
}

// checkEnum: a value says whose it is, and the one of an empty field says nothing.
func checkEnum(t *testing.T, e protoreflect.EnumDescriptor) {
	prefix := strings.ToUpper(string(e.Name())) + "_"
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		if !strings.HasPrefix(string(v.Name()), prefix) {
			t.Errorf("%s does not begin with %s", v.FullName(), prefix)
		}
		if (v.Number() == 0) != (string(v.Name()) == prefix+"UNSPECIFIED") {
			t.Errorf("%s is %d: UNSPECIFIED is 0", v.FullName(), v.Number())
		}
	}
}

// apiFiles are all files of messages in the tree, each of which this program must link.
func apiFiles(t *testing.T) (out []protoreflect.FileDescriptor) {
	t.Helper()
	names, err := filepath.Glob("../../*/api/*.proto")
	check(t, err)
	if len(names) < 3 {
		t.Fatalf("found %v only", names)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		check(t, err)
		pkg := packageLine.FindSubmatch(text)
		n := len(out)
		protoregistry.GlobalFiles.RangeFilesByPackage(protoreflect.FullName(pkg[1]),
			func(f protoreflect.FileDescriptor) bool {
				if filepath.Base(f.Path()) == filepath.Base(name) {
					out = append(out, f)
				}
				return true
			})
		if len(out) != n+1 {
			t.Errorf("%s is not linked: import its package, "+
				"and hold its messages to their contract", name)
		}
	}
	return out
}

// server is one of the control plane's, to somebody who calls it.
type server struct {
	t      testing.TB
	addr   string
	caller *tls.Config
	method string
	until  int // how many messages the caller waits for before it has said all
}

// call sends messages in one call and returns what it brings, and what ended it.
func (s server) call(
	bring func() proto.Message, messages ...proto.Message,
) ([]proto.Message, error) {
	s.t.Helper()
	conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(credentials.NewTLS(s.caller)))
	check(s.t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), await.Limit)
	defer cancel()
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, s.method, grpc.ForceCodecV2(rawCodec{}))
	check(s.t, err)
	for _, m := range messages {
		stream.SendMsg(raw(encode(s.t, m))) // a call that is over says why below
	}
	var out []proto.Message
	for {
		if len(out) == s.until {
			stream.CloseSend()
		}
		m := bring()
		if err := stream.RecvMsg(m); err != nil {
			return out, err
		}
		out = append(out, m)
	}
}

// refused checks that a call was ended by a reason that says where the fault is.
func refused(t *testing.T, err error, p place, f fault, code codes.Code) {
	t.Helper()
	if status.Code(err) != code || !names(status.Convert(err).Message(), p) {
		t.Errorf("%s: the call ends with %v, want %v and a reason that says where",
			f.name, err, code)
	}
}

// shop has the pod that the SVIDs of dev mode name.
const shop = `apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: dev}
spec: {serviceAccountName: web, containers: [{name: app}]}
status: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}
`

// destination runs a real one over files.
func (m *mesh) destination(text string, metrics prometheus.Registerer) string {
	m.t.Helper()
	dir := m.t.TempDir()
	check(m.t, os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(text), 0o600))
	d := destination.New(destination.Config{
		Mesh: destination.Mesh{TrustDomain: trustDomain, ClusterDomain: domain, LocalMesh: true,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Source: &files.Source{Dir: dir, Log: m.log}, Identity: m.source(serverID("destination")),
		Log: m.log, Metrics: metrics,
	})
	return m.serve(d.Serve)
}

// as is how a workload's process calls a server.
func (m *mesh) as(account, server string) *tls.Config {
	return spiffe.ClientConfig(m.source(workloadID(account)), serverID(server), []string{"h2"}, "")
}

// What destination does not know in what a proxy says ends the stream, by a reason that says where
// it is, and is counted. A kind that only a later destination knows is the exception in Resume: the
// proxy has such a resource from before the destination was rolled back, and is told to drop it.
func TestWhatDestinationDoesNotKnowEndsTheStream(t *testing.T) {
	m, metrics := newMesh(t), prometheus.NewRegistry()
	s := server{t: t, addr: m.destination(shop, metrics), caller: m.as("web", "destination"),
		method: "/tulle.destination.v1.Destination/Discover", until: 2}
	hello := &api.DiscoverRequest{
		Message: &api.DiscoverRequest_Hello{Hello: &api.Hello{Version: "test"}},
	}
	bring := func() proto.Message { return &api.DiscoverResponse{} }
	last := &api.DiscoverRequest{
		Message: &api.DiscoverRequest_Resume{Resume: &api.Resume{Last: true}},
	}
	for _, p := range places(&api.DiscoverRequest{}) {
		for _, f := range p.faults() {
			t.Run(p.String()+"/"+f.name, func(t *testing.T) {
				s.t = t
				before := refusals(t, metrics)
				code := codes.InvalidArgument
				if p.String() == "message" {
					code = codes.Unimplemented
				}
				said := []proto.Message{hello, last, p.in(sound(p), f.plant)}
				if p.under("resume") {
					said = []proto.Message{hello, said[2]}
				}
				got, err := s.call(bring, said...)
				if p.under("resume") && f.name != "number 0" {
					dropped(t, got, err)
					return
				}
				refused(t, err, p, f, code)
				if after := refusals(t, metrics); after <= before {
					t.Errorf("%v refusals are counted, after %v", after, before)
				}
			})
		}
	}
}

// sound is a request around a place that has nothing wrong with it but the place.
func sound(p place) proto.Message {
	if !p.under("resume") {
		return &api.DiscoverRequest{}
	}
	held := &api.Held{Kind: api.Kind_KIND_ROUTE, Name: "authority/web", Version: version()}
	return &api.DiscoverRequest{Message: &api.DiscoverRequest_Resume{
		Resume: &api.Resume{Held: []*api.Held{held}, Last: true},
	}}
}

// dropped checks that the proxy is told to drop what it holds, and no more.
func dropped(t *testing.T, got []proto.Message, err error) {
	t.Helper()
	if !errors.Is(err, io.EOF) || len(got) != 2 {
		t.Fatalf("answered by %v and %v", got, err)
	}
	list := got[1].(*api.DiscoverResponse).GetResources().GetResources()
	if len(list) != 1 || !list[0].Removed || list[0].Name != "authority/web" {
		t.Errorf("answered by %v", list)
	}
}

func refusals(t *testing.T, metrics prometheus.Gatherer) (n float64) {
	t.Helper()
	families, err := metrics.Gather()
	check(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tulle_destination_refusals_total" {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestAnAttestationThatIdentityDoesNotKnowIsRefused(t *testing.T) {
	m := newMesh(t)
	roots, err := spiffe.ParseRoots(m.dev.Roots())
	check(t, err)
	s := server{t: t, addr: m.identity, method: "/tulle.identity.v1.Identity/Certify",
		caller: spiffe.BootstrapClientConfig(roots, m.dev.ServerID(), []string{"h2"})}
	good := &identityapi.CertifyRequest{ExpectedId: workloadID("web").String(), Csr: csr(t)}
	bring := func() proto.Message { return &identityapi.CertifyResponse{} }
	for _, p := range places(&identityapi.CertifyRequest{}) {
		for _, f := range p.faults() {
			got, err := s.call(bring, p.in(good, f.plant))
			refused(t, err, p, f, codes.InvalidArgument)
			if len(got) > 0 {
				t.Errorf("%s: a certificate is issued", f.name)
			}
		}
	}
	good.Attestation = &identityapi.CertifyRequest_JoinToken{
		JoinToken: m.dev.Token(workloadID("web"), "web-0"),
	}
	if got, err := s.call(bring, good); !errors.Is(err, io.EOF) || len(got) != 1 {
		t.Errorf("a good request is answered by %d messages and %v", len(got), err)
	}
}

func csr(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	check(t, err)
	return der
}

// unsaid are the enums that a report may leave empty, and why.
var unsaid = map[string]string{
	"records.labels.security": "the request reached no peer",
	"series.labels.security":  "the request reached no peer, or the series is the sum of many",
}

// serveViz serves viz, and is a caller of one of its methods.
func serveViz(t *testing.T, method string) (s server, client *viz.Client) {
	m := newMesh(t)
	v := viz.New(viz.Config{
		Source: m.source(serverID("viz")), TrustDomain: trustDomain, Log: m.log,
	})
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := m.serve(func(ctx context.Context, l net.Listener) error {
		return v.Serve(ctx, l, queries)
	})
	s = server{t: t, addr: addr, caller: m.as("web", "viz"), method: "/tulle.viz.v1.Viz/" + method}
	return s, viz.NewClient(queries.Addr().String())
}

func TestARecordWithWhatVizDoesNotKnowIsRefused(t *testing.T) {
	s, _ := serveViz(t, "Records")
	bring := func() proto.Message { return &vizapi.RecordsResponse{} }
	good := &vizapi.RecordsRequest{StartId: "first", Records: []*vizapi.Record{{
		StartUnixUs: 1, Labels: &vizapi.Labels{Direction: vizapi.Direction_DIRECTION_INBOUND,
			Security: vizapi.Security_SECURITY_MTLS},
	}}}
	for _, p := range places(&vizapi.RecordsRequest{}) {
		for _, f := range p.faults() {
			if f.name == "number 0" && unsaid[p.String()] != "" {
				continue
			}
			_, err := s.call(bring, p.in(good, f.plant))
			refused(t, err, p, f, codes.InvalidArgument)
		}
	}
	if _, err := s.call(bring, good); !errors.Is(err, io.EOF) {
		t.Errorf("a good record ends with %v", err)
	}
}

func TestAReportWithWhatVizDoesNotKnowIsRefused(t *testing.T) {
	s, client := serveViz(t, "Report")
	bring := func() proto.Message { return &vizapi.ReportResponse{} }
	good := &vizapi.ReportRequest{
		StartId: "first", Sequence: 1, Version: "test",
		Series: []*vizapi.Series{{Id: 1, Requests: 1, Labels: &vizapi.Labels{
			Direction: vizapi.Direction_DIRECTION_INBOUND, Security: vizapi.Security_SECURITY_MTLS,
		}}},
	}
	for _, p := range places(&vizapi.ReportRequest{}) {
		for _, f := range p.faults() {
			if f.name == "number 0" && unsaid[p.String()] != "" {
				continue
			}
			_, err := s.call(bring, p.in(good, f.plant))
			refused(t, err, p, f, codes.InvalidArgument)
		}
	}
	rows := func() int {
		answer, err := client.Stat(t.Context(), viz.Query{Resource: "pod"})
		check(t, err)
		return len(answer.Rows)
	}
	if n := rows(); n != 0 {
		t.Errorf("%d rows are of reports that were refused", n)
	}
	if _, err := s.call(bring, good); !errors.Is(err, io.EOF) {
		t.Errorf("a good report ends with %v", err)
	}
	if n := rows(); n != 1 {
		t.Errorf("%d rows are of a good report", n)
	}
}
