package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func startEnvoy(dir, protocol, app string) (*pair, error) {
	bin, err := exec.LookPath(*envoyBinary)
	if err != nil {
		return nil, errAbsent
	}
	if err := writeCerts(dir); err != nil {
		return nil, err
	}
	base := os.Getpid() % 30000 // of the shared memory, which two Envoys may not share
	return both(app, func(role, listen, upstream string) (string, []string, error) {
		base++
		path := filepath.Join(dir, role+".yaml")
		args := []string{"-c", path, "--concurrency", "1", "--base-id", fmt.Sprint(base), "-l", "warn"}
		return bin, args, os.WriteFile(path, []byte(envoyConfig(dir, role, protocol, listen, upstream)), 0o600)
	})
}

// envoyConfig is one listener and one cluster; the side between the two proxies is TLS 1.3 with HTTP/2.
func envoyConfig(dir, role, protocol, listen, upstream string) string {
	context := fmt.Sprintf(`common_tls_context: {alpn_protocols: [h2], tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3},
        tls_certificates: [{certificate_chain: {filename: %[1]s/cert.pem}, private_key: {filename: %[1]s/key.pem}}],
        validation_context: {trusted_ca: {filename: %[1]s/ca.pem}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: bench}}]}}`, dir)
	down, up, speaks := "", "", "explicit_http_config: {http2_protocol_options: {}}"
	codec := map[string]string{"http1": "HTTP1", "http2": "HTTP2"}[protocol]
	if role == "callee" {
		codec = "HTTP2"
		down = "      transport_socket: {name: tls, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,\n" +
			"        require_client_certificate: true, " + context + "}}\n"
		if protocol == "http1" {
			speaks = "explicit_http_config: {http_protocol_options: {}}"
		}
	} else {
		up = "    transport_socket: {name: tls, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,\n" +
			"        sni: bench, " + context + "}}\n"
	}
	return fmt.Sprintf(`static_resources:
  listeners:
  - address: {socket_address: %s}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: %s
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: app}}]}]}
%s  clusters:
  - name: app
    type: STATIC
    circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, %s}
    load_assignment: {cluster_name: app, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: %s}}}]}]}
%s`, socket(listen), codec, down, speaks, socket(upstream), up)
}
