package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	discovery "github.com/tulle-mesh/tulle/destination/api"
	identity "github.com/tulle-mesh/tulle/identity/api"
	viz "github.com/tulle-mesh/tulle/viz/api"
)

var attackerID = spiffeid.RequireFromString("spiffe://cluster.local/ns/attack/sa/attacker")

// dialer is for who calls from one of loopback's addresses.
func dialer(from net.IP) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: honestLimit()}
}

// fetch asks a page, or posts what body holds, over a connection of its own.
func fetch(ctx context.Context, from net.IP, url string, cfg *tls.Config, body string) error {
	t := &http.Transport{
		DialContext: dialer(from).DialContext, TLSClientConfig: cfg, ForceAttemptHTTP2: cfg != nil,
	}
	defer t.CloseIdleConnections()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, text)
	}
	return err
}

// dialGRPC makes a client that has one connection, from an address.
func (l *listener) dialGRPC(from net.IP) (*grpc.ClientConn, error) {
	return grpc.NewClient(l.addr, grpc.WithTransportCredentials(credentials.NewTLS(l.secure)),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			return dialer(from).DialContext(ctx, "tcp", to)
		}))
}

// converse opens a stream, says something, and waits for the first answer.
func converse(
	ctx context.Context, from net.IP, l *listener, method string, say, answer proto.Message,
) error {
	conn, err := l.dialGRPC(from)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.NewStream(ctx,
		&grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(say); err != nil && err != io.EOF {
		return err
	}
	return s.RecvMsg(answer)
}

const (
	discoverMethod = "/tulle.destination.v1.Destination/Discover"
	reportMethod   = "/tulle.viz.v1.Viz/Report"
	recordsMethod  = "/tulle.viz.v1.Viz/Records"
)

func hello(version string) *discovery.DiscoverRequest {
	return &discovery.DiscoverRequest{
		Message: &discovery.DiscoverRequest_Hello{Hello: &discovery.Hello{Version: version}},
	}
}

// discovered is a proxy's first exchange with destination.
func (l *listener) discovered(ctx context.Context) error {
	answer := &discovery.DiscoverResponse{}
	err := converse(ctx, honestIP, l, discoverMethod, hello("v1"), answer)
	if err == nil && answer.GetWelcome() == nil {
		err = fmt.Errorf("no welcome, but %v", answer)
	}
	return err
}

func (l *listener) largeHello(ctx context.Context, size int) error {
	say := hello(strings.Repeat("v", size))
	return converse(ctx, attackerIP, l, discoverMethod, say, &discovery.DiscoverResponse{})
}

func report(namespace, startID string) *viz.ReportRequest {
	return &viz.ReportRequest{
		Sequence: 1, StartId: startID, UptimeMs: 1000,
		Workload: &viz.Workload{Namespace: namespace, Kind: "deployment", Name: "dev", Pod: "dev"},
	}
}

// reported is a proxy's report.
func (l *listener) reported(ctx context.Context) error {
	answer := &viz.ReportResponse{}
	err := converse(ctx, honestIP, l, reportMethod, report("hostile", "one"), answer)
	if err == nil && answer.Acknowledged != 1 {
		err = fmt.Errorf("not acknowledged, but %v", answer)
	}
	return err
}

func (l *listener) largeReport(ctx context.Context, size int) error {
	say := report("attack", strings.Repeat("x", size))
	return converse(ctx, attackerIP, l, reportMethod, say, &viz.ReportResponse{})
}

// introduced is the beginning of a proxy's stream of records, in a namespace.
func introduced(namespace string) *viz.RecordsRequest {
	return &viz.RecordsRequest{StartId: "one",
		Workload: &viz.Workload{Namespace: namespace, Kind: "deployment", Name: "dev", Pod: "dev"}}
}

// listened is a proxy that introduces itself, and hears which taps there are.
func (l *listener) listened(ctx context.Context) error {
	return converse(ctx, honestIP, l, recordsMethod, introduced("hostile"), &viz.RecordsResponse{})
}

// floodOfRecords are messages of a stream, and floodText is of which size their texts are: the
// largest that are taken.
const (
	floodOfRecords = 4
	floodText      = 4 << 10
)

// records is a stream of full messages, each of about so many bytes.
func (l *listener) records(ctx context.Context, size int) error {
	conn, err := l.dialGRPC(attackerIP)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.NewStream(ctx,
		&grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, recordsMethod)
	if err != nil {
		return err
	}
	if err := s.SendMsg(introduced("attack")); err != nil {
		return err
	}
	for i := range floodOfRecords {
		if s.SendMsg(recordsOf(size, i)) != nil {
			break // what is heard says why
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for err == nil { // until all has been taken, or refused
		err = s.RecvMsg(&viz.RecordsResponse{})
	}
	return err
}

// recordsOf are records that viz keeps, each as large as one may be, of a trace of their own.
func recordsOf(size, nth int) *viz.RecordsRequest {
	text := strings.Repeat("x", floodText)
	m := &viz.RecordsRequest{}
	for i := range max(1, size/(3*floodText)) {
		trace := make([]byte, 16)
		binary.BigEndian.PutUint64(trace, uint64(nth)<<32|uint64(i+1))
		m.Records = append(m.Records, &viz.Record{StartUnixUs: time.Now().UnixMicro(),
			Method: "GET", Path: text, UserAgent: text, Detail: text, Failed: true,
			Labels: &viz.Labels{Direction: viz.Direction_DIRECTION_INBOUND},
			Trace:  &viz.RecordTrace{TraceId: trace, SpanId: trace[:8]}})
	}
	return m
}

// followed is the beginning of a stream of trust bundles.
func followed(ctx context.Context, l *listener) error {
	conn, err := l.dialGRPC(honestIP)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, l.path)
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg(&identity.BundlesRequest{}), s.CloseSend()); err != nil {
		return err
	}
	return s.RecvMsg(&identity.BundlesResponse{})
}

// certifyEvery: identity answers an address two of these a second.
const certifyEvery = 64

// certified is a pod that starts: it asks identity for a certificate, and then follows the trust
// bundles. dev's identity takes a token that it made itself.
func certified(l *listener, joinToken string) func(context.Context) error {
	n := 0
	return func(ctx context.Context) error {
		if n++; n%certifyEvery != 1 {
			return followed(ctx, l)
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			return err
		}
		req := &identity.CertifyRequest{ExpectedId: workload("victim").String(), Csr: csr}
		req.Attestation = &identity.CertifyRequest_KubernetesToken{KubernetesToken: identityToken}
		if joinToken != "" {
			req.Attestation = &identity.CertifyRequest_JoinToken{JoinToken: joinToken}
		}
		conn, err := l.dialGRPC(honestIP)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Invoke(ctx, "/tulle.identity.v1.Identity/Certify", req,
			&identity.CertifyResponse{})
	}
}

// admissionReview is what an API server posts about a pod with so many bytes of annotations.
func admissionReview(padding int) string {
	pod, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"name": "web", "annotations": map[string]string{"x": strings.Repeat("y", padding)},
		},
		"spec": map[string]any{
			"containers": []map[string]string{{"name": "app", "image": "app"}},
		},
	})
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "1", Namespace: "hostile", Operation: admissionv1.Create,
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Object:   runtime.RawExtension{Raw: pod},
		},
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}
