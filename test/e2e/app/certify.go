package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"flag"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/api/identitygrpc"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// certified is identity's answer: an ID, or why not.
type certified struct {
	ID     string `json:"id"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// certify asks identity once, with the token of a file or of the command line.
func certify(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("certify", flag.ContinueOnError)
	token := flags.String("token", "", "the token itself")
	file := flags.String("token-file", "/var/run/tulle/token/token", "where the token is")
	expect := flags.String("expect", "", "the ID to ask for")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *token == "" {
		text, err := readText(*file)
		if err != nil {
			return nil, err
		}
		*token = strings.TrimSpace(text)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	return askIdentity(ctx, &api.CertifyRequest{
		Attestation: &api.CertifyRequest_KubernetesToken{KubernetesToken: *token},
		ExpectedId:  *expect, Csr: csr,
	})
}

func askIdentity(ctx context.Context, req *api.CertifyRequest) (certified, error) {
	text, err := readText("/var/run/tulle/trust/ca.crt")
	if err != nil {
		return certified{}, err
	}
	roots, err := spiffe.ParseRoots([]byte(text))
	if err != nil {
		return certified{}, err
	}
	ca, err := controlPlane("identity")
	if err != nil {
		return certified{}, err
	}
	conn, err := grpc.NewClient(identityAddr, grpc.WithTransportCredentials(
		credentials.NewTLS(spiffe.BootstrapClientConfig(roots, ca, []string{"h2"}))))
	if err != nil {
		return certified{}, err
	}
	defer conn.Close()
	resp, err := identitygrpc.NewIdentityClient(conn).Certify(ctx, req)
	if err != nil {
		s := status.Convert(err)
		return certified{Code: s.Code().String(), Reason: s.Message()}, nil
	}
	leaf, err := x509.ParseCertificate(resp.Certificates[0])
	if err != nil {
		return certified{}, err
	}
	return certified{ID: leaf.URIs[0].String(), Code: "OK"}, nil
}
