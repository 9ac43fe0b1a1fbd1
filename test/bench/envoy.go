package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
)

func envoy(path string) peer {
	base := os.Getpid() % 30000 // of the shared memory, which two Envoys may not share
	return peer{name: "envoy", version: func() string { return firstLine(path, "--version") },
		start: func(dir string, s shape, a *apps) (*chain, error) {
			bin, err := exec.LookPath(path)
			if err != nil {
				return nil, errAbsent
			}
			return build(dir, s, a, func(one *side) (string, []string, error) {
				base++
				path, err := one.configure(envoyConfig(*one))
				yaml := path + ".yaml" // it goes by the name's ending
				if err == nil {
					err = os.Rename(path, yaml)
				}
				return bin, []string{
					"-c", yaml, "--concurrency", "1", "--base-id", fmt.Sprint(base), "-l", "error",
				}, err
			})
		}}
}

// envoyConfig is one listener and one cluster.
func envoyConfig(s side) string {
	return fmt.Sprintf(`static_resources:
  listeners:
  - address: {socket_address: %s}
    filter_chains:
    - filters:
%s%s  clusters:
  - name: app
    type: STATIC
    circuit_breakers: {thresholds: [{max_connections: 20000, `+
		`max_pending_requests: 20000, max_requests: 20000}]}
%s    load_assignment: {cluster_name: app, endpoints: [{`+
		`lb_endpoints: [{endpoint: {address: {socket_address: %s}}}]}]}
%s`, socket(s.listen), envoyFilter(s), envoyDownstreamTLS(s), envoySpeaks(s.up),
		socket(s.upstream), envoyUpstreamTLS(s))
}

func envoyFilter(s side) string {
	if s.down == "tcp" {
		return `      - name: tcp
        typed_config: {"@type": ` +
			`type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, ` +
			`stat_prefix: bench, cluster: app}
`
	}
	codec := map[string]string{"http1": "HTTP1", "http2": "HTTP2", "grpc": "HTTP2"}[s.down]
	return fmt.Sprintf(`      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.`+
		`http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: %s
          %s
          http_filters: [{name: router, typed_config: {"@type": `+
		`type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          route_config: {virtual_hosts: [{name: all, domains: ["*"], `+
		`routes: [{match: {prefix: /}, route: {cluster: app, timeout: 120s}}]}]}
`, codec, envoyHTTP2)
}

// envoyHTTP2 lets more small frames wait than Envoy's 10,000, at which it ends the connection:
// streams of messages pass that.
const envoyHTTP2 = "http2_protocol_options: {max_outbound_frames: 1000000}"

func envoySpeaks(protocol string) string {
	options := map[string]string{
		"http1": "http_protocol_options: {}", "http2": envoyHTTP2, "grpc": envoyHTTP2,
	}[protocol]
	if options == "" {
		return ""
	}
	return fmt.Sprintf(`    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": `+
		`type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
        explicit_http_config: {%s}}
`, options)
}

// envoyContext says TLS 1.3 alone: as a client Envoy would offer no more than 1.2.
func envoyContext(dir, protocol string) string {
	alpn := ""
	if protocol != "tcp" {
		alpn = "alpn_protocols: [h2], "
	}
	return fmt.Sprintf(`common_tls_context: {%stls_params: {`+
		`tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3},
        tls_certificates: [{certificate_chain: {filename: %[2]s/cert.pem}, `+
		`private_key: {filename: %[2]s/key.pem}}],
        validation_context: {trusted_ca: {filename: %[2]s/ca.pem}, `+
		`match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: bench}}]}}`, alpn, dir)
}

func envoyDownstreamTLS(s side) string {
	if !s.downTLS {
		return ""
	}
	return "      transport_socket: {name: tls, typed_config: {\"@type\": " +
		"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext,\n" +
		"        require_client_certificate: true, disable_stateless_session_resumption: true, " +
		envoyContext(s.dir, s.down) + "}}\n"
}

func envoyUpstreamTLS(s side) string {
	if !s.upTLS {
		return ""
	}
	return "    transport_socket: {name: tls, typed_config: {\"@type\": " +
		"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,\n" +
		"        sni: bench, " + envoyContext(s.dir, s.up) + "}}\n"
}

// socket is an address as Envoy writes it.
func socket(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("{address: %s, port_value: %s}", host, port)
}
