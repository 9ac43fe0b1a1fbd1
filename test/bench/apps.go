package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// apps is what the load is for: nginx, one worker, where it can; children of this program for the
// rest.
type apps struct {
	dir         string
	addrs       map[string]string
	procs       []*exec.Cmd
	body        string // a file of bodySize
	message     string // a file with a gRPC message
	messageSize int
}

// addr is the application that speaks a protocol.
func (a *apps) addr(protocol string) string { return a.addrs[protocol] }

func (a *apps) stop() { (&chain{procs: a.procs}).stop() }

const (
	hello     = "hello, world\n" // at /
	taken     = "read\n"         // the answer of /up
	bodySize  = 1 << 20          // at /1m; what is sent to /up is read in full and answered shortly
	blockSize = 16 << 10         // at /16k, sent and received
)

func startApps(dir string) (a *apps, err error) {
	a = &apps{dir: dir, body: filepath.Join(dir, "1m"),
		addrs: map[string]string{"http1": loopback.Free(), "http2": loopback.Free()}}
	if a.message, a.messageSize, err = writeMessage(dir); err != nil {
		return nil, err
	}
	if err := a.startNginx(); err != nil {
		return nil, err
	}
	for protocol, kind := range map[string]string{"grpc": "grpc", "tcp": "bulk", "hold": "hold"} {
		if err := a.startChild(protocol, kind); err != nil {
			a.stop()
			return nil, err
		}
	}
	return a, nil
}

// holding is the application that begins its answers and does not end them.
func (a *apps) holding() *apps {
	return &apps{addrs: map[string]string{"http1": a.addrs["hold"], "http2": a.addrs["hold"]}}
}

// startChild runs a helper as the application that speaks a protocol.
func (a *apps) startChild(protocol, kind string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	a.addrs[protocol] = loopback.Free()
	cmd, err := start(a.addrs[protocol], self, childArg, kind, a.addrs[protocol])
	if err == nil {
		a.procs = append(a.procs, cmd)
	}
	return err
}

// startNginx answers at both addresses alike, as fast as it can without a proxy: by itself it would
// call sendfile twice for every 8 KiB of HTTP/2, at half the speed. A request that is read in full
// goes through a socket of its own: nginx reads a body only to pass it on.
func (a *apps) startNginx() error {
	for name, size := range map[string]int{"1m": bodySize, "16k": blockSize} {
		path := filepath.Join(a.dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, size), 0o644); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("worker_processes 1; daemon off; user root; pid %[1]s/app.pid; "+
		"error_log stderr warn; events { worker_connections 15000; }\n"+
		"http { access_log off; keepalive_requests 100000000; keepalive_timeout 120s; "+
		"sendfile off; output_buffers 2 128k; http2_chunk_size 16k; open_file_cache max=10; "+
		"client_max_body_size 0; client_body_buffer_size 2m; root %[1]s; %[2]s\n"+
		"server { listen %[3]s; listen %[4]s http2; "+
		"location = / { return 200 \"hello, world\\n\"; } location = /1m {} \n"+
		"location = "+rarePath+" { return 200 \"hello, world\\n\"; }\n"+
		"  location /up { proxy_pass http://unix:%[1]s/sock:/read; proxy_pass_request_body off; "+
		"proxy_set_header Content-Length \"\"; }\n"+
		"  location /echo { proxy_pass http://unix:%[1]s/sock:/16k; proxy_method GET; "+
		"proxy_pass_request_body off; proxy_set_header Content-Length \"\"; } }\n"+
		"server { listen unix:%[1]s/sock; location = /read { return 200 \"read\\n\"; } "+
		"location = /16k {} } }\n",
		a.dir, temporaries(filepath.Join(a.dir, "app")), a.addr("http1"), a.addr("http2"))
	path := filepath.Join(a.dir, "app.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	cmd, err := start(a.addr("http1"), "nginx", "-c", path)
	if err != nil {
		return fmt.Errorf("nginx answers the load: %w", err)
	}
	a.procs = append(a.procs, cmd)
	return nil
}
