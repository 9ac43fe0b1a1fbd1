package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
)

// reverseProxy is httputil.ReverseProxy, in children of this program.
func reverseProxy() peer {
	return peer{name: "reverseproxy", version: runtime.Version,
		start: func(dir string, s shape, a *apps) (*chain, error) {
			if s.hops != twoHops || (s.front != "http1" && s.front != "http2") {
				return nil, errCannot
			}
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			return build(dir, s, a, func(one *side) (string, []string, error) {
				return self, []string{childArg, "reverse", one.role, dir, s.front,
					one.listen, one.upstream}, nil
			})
		}}
}

// reverse is httputil.ReverseProxy in a role of the pair: what a day's work with the standard
// library gives.
func reverse(role, dir, protocol, listen, upstream string) error {
	cfg, err := reverseTLS(dir)
	if err != nil {
		return err
	}
	client := &http.Transport{TLSClientConfig: cfg, Protocols: &http.Protocols{},
		MaxIdleConnsPerHost: 256, DisableCompression: true}
	server := &http.Server{Addr: listen, TLSConfig: cfg, Protocols: &http.Protocols{}}
	target := &url.URL{Scheme: "http", Host: upstream}
	if role == "caller" {
		target.Scheme = "https"
		client.Protocols.SetHTTP2(true)
		speak(server.Protocols, protocol)
	} else {
		server.Protocols.SetHTTP2(true)
		speak(client.Protocols, protocol)
	}
	proxy := &httputil.ReverseProxy{
		Transport: client, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	server.Handler = proxy
	if role == "callee" {
		return server.ListenAndServeTLS("", "")
	}
	return server.ListenAndServe()
}

func speak(p *http.Protocols, protocol string) {
	if protocol == "http1" {
		p.SetHTTP1(true)
	} else {
		p.SetUnencryptedHTTP2(true)
	}
}

func reverseTLS(dir string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in ca.pem")
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool,
		ServerName: "bench", ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13}, nil
}
