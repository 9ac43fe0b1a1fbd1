package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// origin is a server that reads what the proxy forwards. nginx, Apache and HAProxy pass each
// request as they understood it to the recorder, with their name; Node and Go answer what they saw
// themselves.
type origin struct {
	name     string
	program  string
	config   string // $LISTEN, $PORT, $RECORDER and $DIR are filled in
	args     []string
	trailers bool // it shows us a request's trailers
	early    bool // /early is answered before the body is read
	addr     string
}

func origins() []*origin {
	return []*origin{
		{name: "nginx", program: "nginx", config: nginxConf,
			args: []string{"-c", "$CONFIG"}, early: true},
		{name: "apache", program: "apache2", config: apacheConf,
			args: []string{"-f", "$CONFIG", "-X"}},
		{name: "haproxy", program: "haproxy", config: haproxyConf,
			args: []string{"-db", "-f", "$CONFIG"}, trailers: true, early: true},
		{name: "node", program: "node", config: nodeScript, args: []string{"$CONFIG"},
			trailers: true, early: true},
		{name: "go", trailers: true, early: true},
	}
}

func (m *mesh) startOrigin(ctx context.Context, o *origin) error {
	m.origins = append(m.origins, o)
	if o.program == "" {
		o.addr = m.seen.addr
		return nil
	}
	program, err := exec.LookPath(o.program)
	if err != nil {
		return fmt.Errorf("%s is missing: %w", o.program, err)
	}
	dir := filepath.Join(m.dir, o.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	o.addr, err = m.placeProcess(ctx, program,
		func(addr string) ([]string, error) { return o.configure(dir, addr, m.seen.addr) })
	return err
}

// configure writes the origin's configuration and returns its arguments.
func (o *origin) configure(dir, addr, recorder string) (args []string, err error) {
	path := filepath.Join(dir, "config")
	fill := strings.NewReplacer("$LISTEN", addr, "$PORT", portOf(addr), "$RECORDER", recorder,
		"$DIR", dir, "$CONFIG", path)
	for _, a := range o.args {
		args = append(args, fill.Replace(a))
	}
	return args, os.WriteFile(path, []byte(fill.Replace(o.config)), 0o644)
}

const nginxConf = `
daemon off; master_process off; worker_processes 1; pid $DIR/pid; error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path $DIR/body; proxy_temp_path $DIR/proxy; ` +
	`fastcgi_temp_path $DIR/f; uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s;
  large_client_header_buffers 8 32k; underscores_in_headers on; ` +
	`client_max_body_size 0; ignore_invalid_headers off;
  server {
    listen $LISTEN;
    location = /early { return 403 early; }
    location = /unknown-length { proxy_pass http://$RECORDER; proxy_http_version 1.1; ` +
	`proxy_set_header X-Origin nginx; chunked_transfer_encoding off; }
    location / { proxy_pass http://$RECORDER; proxy_http_version 1.1; ` +
	`proxy_set_header X-Origin nginx; proxy_request_buffering off; }
  }
}
`

const apacheConf = `
ServerRoot $DIR
ServerName apache
PidFile $DIR/pid
Listen $LISTEN
ErrorLog /dev/stderr
DefaultRuntimeDir $DIR
Mutex file:$DIR default
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
StartServers 1
LimitRequestLine 20000
LimitRequestFieldSize 20000
AllowEncodedSlashes NoDecode
RequestHeader set X-Origin apache
ProxyPass / http://$RECORDER/ nocanon
`

const haproxyConf = `
global
  tune.bufsize 65536
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
frontend f
  bind $LISTEN
  http-request return status 403 content-type text/plain string early if { path /early }
  http-request set-header X-Origin haproxy
  default_backend b
backend b
  server s $RECORDER
`

// nodeScript answers as the recorder does.
const nodeScript = `
const http = require('http'), crypto = require('crypto')
const tested = raw => {
  const m = {}
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i].replace(/(^|-)[a-z]/g, c => c.toUpperCase())
    if (name.startsWith('X-T') && name.length > 3) ` +
	`m[name] = (m[name] || '') + '[' + raw[i + 1] + ']'
  }
  return m
}
const server = http.createServer({maxHeaderSize: 65536}, (req, res) => {
  const path = req.url.split('?')[0]
  if (path === '/early') { res.writeHead(403); res.end('early'); return }
  const sum = crypto.createHash('sha256'); let length = 0
  req.on('data', d => { sum.update(d); length += d.length })
  req.on('end', () => {
    const text = JSON.stringify({id: req.headers['x-id'] || '', via: 'node', ` +
	`method: req.method, target: req.url,
      headers: tested(req.rawHeaders), length, sum: sum.digest('hex'), ` +
	`trailers: tested(req.rawTrailers)})
    if (path === '/204' || path === '/304') { res.writeHead(+path.slice(1)); res.end(); return }
    if (path === '/103') res.writeEarlyHints({link: '</a>; rel=preload'})
    res.setHeader('x-length', text.length)
    if (path === '/unknown-length') { res.useChunkedEncodingByDefault = false; ` +
	`res.shouldKeepAlive = false; res.removeHeader('transfer-encoding') }
    if (path === '/trailers') { res.setHeader('trailer', 'x-ttrailer'); res.write(text); ` +
	`res.addTrailers({'x-ttrailer': 'end'}); res.end(); return }
    if (path !== '/unknown-length') { res.setHeader('content-length', text.length); ` +
	`res.end(text) } else { res.write(text); res.end() }
  })
})
server.listen($PORT, '127.0.0.1')
`
