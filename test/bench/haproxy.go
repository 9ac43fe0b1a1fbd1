package main

import (
	"fmt"
	"os/exec"
)

func haproxy(name, middle string) peer {
	version := func() string { return firstLine("haproxy", "-v") }
	if middle != "" {
		version = nil // it is the same one
	}
	return peer{name: name, version: version,
		start: func(dir string, s shape, a *apps) (*chain, error) {
			bin, err := exec.LookPath("haproxy")
			if err != nil {
				return nil, errAbsent
			}
			if middle != "" {
				if s.hops != twoHops || s.front != "http1" {
					return nil, errCannot // it is the variant for HTTP/1 clients
				}
				s.middle = middle
			}
			return build(dir, s, a, func(one *side) (string, []string, error) {
				path, err := one.configure(haproxyConfig(*one))
				return bin, []string{"-db", "-f", path}, err
			})
		}}
}

// haproxyConfig gives HAProxy one thread and connections to the server that all clients share. No
// tickets, every handshake is a full one, and AES-128, which OpenSSL would not choose by itself: as
// between our proxies.
func haproxyConfig(s side) string {
	mode := "http"
	if s.down == "tcp" {
		mode = "tcp"
	}
	tls := fmt.Sprintf(" ssl crt %[1]s/both.pem ca-file %[1]s/ca.pem verify required ssl-min-ver "+
		"TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 no-tls-tickets", s.dir)
	bind, server := haproxySpeaks(s.down, s.downTLS), haproxySpeaks(s.up, s.upTLS)
	if s.downTLS {
		bind += tls
	}
	if s.upTLS {
		server += tls + " sni str(bench) verifyhost bench"
	}
	reason := ""
	if s.reason {
		reason = "  http-response set-status 200 if { status 200 }\n"
	}
	return fmt.Sprintf("global\n  nbthread 1\n  no strict-limits\n  maxconn %d\n"+
		"  tune.h2.max-concurrent-streams 256\n"+
		"defaults\n  mode %s\n  timeout connect 5s\n  timeout client 120s\n"+
		"  timeout server 120s\n  timeout http-keep-alive 120s\n%s"+
		"frontend f\n  bind %s%s\n  default_backend b\n%sbackend b\n  server s %s%s\n",
		s.conns, mode, map[string]string{"http": "  http-reuse always\n"}[mode], s.listen, bind,
		reason, s.upstream, server)
}

func haproxySpeaks(protocol string, tls bool) string {
	switch {
	case protocol == "tcp", protocol == "http1" && !tls:
		return ""
	case protocol == "http1":
		return " alpn http/1.1"
	case tls:
		return " alpn h2"
	}
	return " proto h2"
}
