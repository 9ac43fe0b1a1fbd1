package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/rpc"
)

const (
	certifyMethod = "/tulle.identity.v1.Identity/Certify"
	bundlesMethod = "/tulle.identity.v1.Identity/Bundles"
)

// caller is a proxy of identity: it has its key certified, and then follows the bundles over the
// same connection, as long as it lives.
func (s shape) caller(i int, addr string, roots []*x509.Certificate) member {
	cfg := spiffe.BootstrapClientConfig(roots, serverID(serverIdentity), []string{alpn})
	return func(ctx context.Context, here func()) error {
		client := newClient(i, addr, cfg,
			rpc.Bounds{Request: api.MaxRequest, Response: api.MaxResponse})
		defer client.Close()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := s.certify(ctx, client, i); err != nil {
			return err
		}
		stream, err := client.Open(ctx, bundlesMethod)
		if err != nil {
			return err
		}
		defer stream.Close()
		if err := stream.Send(&api.BundlesRequest{}); err != nil {
			return fmt.Errorf("ask for bundles: %w", err)
		}
		stream.CloseSend() // an error is the stream's, which Recv returns
		for {
			if err := stream.Recv(&api.BundlesResponse{}); err != nil {
				return fmt.Errorf("follow the bundles: %w", err)
			}
			here()
		}
	}
}

// certify asks for an SVID, as a pod's proxy does when it starts.
func (s shape) certify(ctx context.Context, client *rpc.Client, i int) error {
	service := i / s.Pods
	who := pod{service: service, number: i}
	id, err := spiffe.ForWorkload(trustDomain, namespaceOf(service), serviceName(service))
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	token := tokenOf(namespaceOf(service), serviceName(service), who.name())
	return client.Call(ctx, certifyMethod, &api.CertifyRequest{
		Attestation: &api.CertifyRequest_KubernetesToken{KubernetesToken: token},
		ExpectedId:  id.String(), Csr: csr,
	}, &api.CertifyResponse{})
}
