package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// nginx speaks HTTP/2 to clients, and to servers for gRPC only: there it is HTTP/1 that goes
// between two of them.
func nginx() peer {
	return peer{name: "nginx", version: func() string { return firstLine("nginx", "-v") },
		start: func(dir string, s shape, a *apps) (*chain, error) {
			bin, err := exec.LookPath("nginx")
			if err != nil {
				return nil, errAbsent
			}
			if s.front == "tcp" && streamModule() == "" {
				return nil, errAbsent
			}
			return build(dir, s, a, func(one *side) (string, []string, error) {
				nginxSpeaks(one, s, a)
				path, err := one.configure(nginxConfig(*one))
				return bin, []string{"-c", path}, err
			})
		}}
}

// nginxSpeaks puts HTTP/1 where nginx has no HTTP/2.
func nginxSpeaks(s *side, place shape, a *apps) {
	if place.front == "grpc" || place.front == "tcp" {
		return
	}
	if s.role == "callee" && place.hops == twoHops {
		s.down = "http1"
	}
	s.up = "http1"
	if s.role != "caller" {
		s.upstream = a.addr("http1")
	}
}

const nginxModule = "/usr/lib/nginx/modules/ngx_stream_module.so" // Debian's libnginx-mod-stream

func streamModule() string {
	if _, err := os.Stat(nginxModule); err != nil {
		return ""
	}
	return nginxModule
}

func nginxConfig(s side) string {
	top := fmt.Sprintf("worker_processes 1; daemon off; pid %s/%s.pid; error_log stderr warn; "+
		"events { worker_connections %d; }\n",
		s.dir, s.role, 2*s.conns)
	if s.down == "tcp" {
		return "load_module " + nginxModule + ";\n" + top + fmt.Sprintf("stream { server { "+
			"listen %s%s; %s proxy_pass %s; proxy_half_close on; proxy_buffer_size 64k; %s } }\n",
			s.listen, map[bool]string{true: " ssl"}[s.downTLS], nginxServerTLS(s), s.upstream,
			nginxClientTLS(s, "proxy", "proxy_ssl on;"))
	}
	listen := s.listen
	if s.downTLS {
		listen += " ssl"
	}
	if s.down != "http1" {
		listen += " http2"
	}
	return top + fmt.Sprintf("http { access_log off; %s client_max_body_size 0; "+
		"keepalive_requests 100000000; keepalive_timeout 120s;\n"+
		"upstream u { server %s; keepalive 1024; keepalive_requests 100000000; }\n"+
		"server { listen %s; %s\n location / { %s } } }\n",
		temporaries(filepath.Join(s.dir, s.role)), s.upstream, listen,
		nginxServerTLS(s), nginxPass(s))
}

func nginxPass(s side) string {
	scheme := map[bool]string{true: "s"}[s.upTLS]
	if s.up != "http1" {
		return fmt.Sprintf(
			"grpc_pass grpc%s://u; grpc_read_timeout 120s; grpc_socket_keepalive off; %s", scheme,
			nginxClientTLS(s, "grpc", ""))
	}
	return fmt.Sprintf("proxy_pass http%s://u; proxy_http_version 1.1; "+
		"proxy_set_header Connection \"\"; proxy_request_buffering off; proxy_read_timeout 120s;\n"+
		"  proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 256k; "+
		"proxy_max_temp_file_size 0; %s", scheme, nginxClientTLS(s, "proxy", ""))
}

func nginxServerTLS(s side) string {
	if !s.downTLS {
		return ""
	}
	return fmt.Sprintf("ssl_certificate %[1]s/cert.pem; ssl_certificate_key %[1]s/key.pem; "+
		"ssl_client_certificate %[1]s/ca.pem; ssl_verify_client on;\n"+
		"  ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; "+
		"ssl_session_tickets off; ssl_session_cache off;", s.dir)
}

func nginxClientTLS(s side, module, more string) string {
	if !s.upTLS {
		return ""
	}
	return fmt.Sprintf("%[3]s %[2]s_ssl_certificate %[1]s/cert.pem; "+
		"%[2]s_ssl_certificate_key %[1]s/key.pem; %[2]s_ssl_trusted_certificate %[1]s/ca.pem;\n"+
		"  %[2]s_ssl_verify on; %[2]s_ssl_name bench; %[2]s_ssl_server_name on; "+
		"%[2]s_ssl_protocols TLSv1.3; "+
		"%[2]s_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;", s.dir, module, more)
}

// temporaries are the folders nginx insists on.
func temporaries(dir string) string {
	return fmt.Sprintf("client_body_temp_path %[1]s-a; proxy_temp_path %[1]s-b; "+
		"fastcgi_temp_path %[1]s-c; uwsgi_temp_path %[1]s-d; scgi_temp_path %[1]s-e;", dir)
}
