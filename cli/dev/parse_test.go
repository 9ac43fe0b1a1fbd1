package dev

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

const goodMesh = `
namespace: shop
profiles: profiles
try: [look around]
tracing: {endpoint: 'otel:4318', protocol: http, sampling: 0.5%}
services:
  web:
    command: [demo, web]
    port: 8080
    env: {GREETING: hello}
    calls: [checkout, payments]
  checkout:
    command: &run [demo, checkout]
    replicas: 2
    appProtocol: kubernetes.io/h2c
    logLevel: debug
    accessLog: json
    calls: [payments-v2]
  payments:
    variants:
      v1: {command: [demo, payments]}
      v2: {command: *run, replicas: 3}
  db:
    address: localhost:5432
  legacy:
    command: [demo, legacy]
    meshed: false
    calls: [checkout]
`

func TestParse(t *testing.T) {
	dir := t.TempDir()
	mkdir(t, filepath.Join(dir, "profiles"))
	got, err := parseMesh("mesh.yaml", dir, []byte(goodMesh))
	if err != nil {
		t.Fatal(err)
	}
	one := func(name, arg string) Workload {
		return Workload{Name: name, Command: []string{"demo", arg}, Replicas: 1}
	}
	web, checkout := one("web", "web"), one("checkout", "checkout")
	web.Port, web.Env = 8080, map[string]string{"GREETING": "hello"}
	checkout.Replicas = 2
	v2 := Workload{Name: "payments-v2", Command: []string{"demo", "checkout"}, Replicas: 3}
	want := &Mesh{Dir: dir, Namespace: "shop", Profiles: []string{filepath.Join(dir, "profiles")},
		Tracing: &api.Tracing{Endpoint: "otel:4318", Ratio: 5000, SpansPerSecond: 1000,
			Protocol: api.Transport_TRANSPORT_HTTP},
		Try: []string{"look around"}, Services: []Service{
			{Name: "web", Workload: web, Calls: []string{"checkout", "payments"}},
			{Name: "checkout", Workload: checkout,
				Calls: []string{"payments-v2"}, Protocol: "kubernetes.io/h2c",
				Told: map[string]string{
					"tulle.dev/proxy-log-level": "debug", "tulle.dev/access-log": "json"}},
			{Name: "payments", Workload: Workload{Name: "payments", Replicas: 1},
				Variants: []Workload{one("payments-v1", "payments"), v2}},
			{Name: "db", Workload: Workload{Name: "db", Address: "127.0.0.1:5432", Replicas: 1}},
			{Name: "legacy", Workload: one("legacy", "legacy"), Calls: []string{"checkout"},
				Unmeshed: true},
		}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parse:\n got %+v\nwant %+v", got, want)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// Every bad input names its line and what to do.
func TestParseRefuses(t *testing.T) {
	svc := func(fields string) string {
		return "services:\n  a: {command: [x]}\n  web: {" + fields + "}\n"
	}
	cases := []struct{ name, text, want string }{
		{"empty", "", "m.yaml:1: empty"},
		{"only a comment", "# nothing\n", "m.yaml:1: empty"},
		{"not YAML", "services:\n  web: [unclosed\n", ": not YAML"},
		{"tabs", "services:\n\tweb: {}\n", ": not YAML"},
		{"binary", "\x00\x01\x02", "m.yaml:1: not YAML"},
		{"two documents", "services: {a: {command: [x]}}\n---\nservices: {}\n",
			"m.yaml:2: a second document"},
		{"garbage after", "services: {a: {command: [x]}}\n---\n[", "not YAML"},
		{"a list", "- a\n", "m.yaml:1: the file must be a map, not a list"},
		{"a scalar", "hello\n", `m.yaml:1: the file must be a map, not "hello"`},
		{"no services", "namespace: x\n", "m.yaml:1: no services"},
		{"services a list", "services: [a]\n", "m.yaml:1: services must be a map, not a list"},
		{"unknown top field", "service: {}\n", `m.yaml:1: the file: unknown field "service": use ` +
			`one of consul, namespace, profiles, services, tracing, try`},
		{"tracing to nowhere", "tracing: {protocol: grpc}\nservices: {a: {command: [x]}}\n",
			"m.yaml:1: tracing: protocol: needs an endpoint"},
		{"tracing to no address",
			"tracing: {endpoint: collector}\nservices: {a: {command: [x]}}\n",
			`m.yaml:1: tracing: endpoint: "collector" is not HOST:PORT`},
		{"tracing by another protocol", "tracing: {endpoint: 'a:1', protocol: zipkin}\n" +
			"services: {a: {command: [x]}}\n",
			`m.yaml:1: tracing: protocol: "zipkin" is not one of grpc, http`},
		{"tracing too often", "tracing: {endpoint: 'a:1', sampling: 101%}\n" +
			"services: {a: {command: [x]}}\n", `"101%" is not a percentage`},
		{"unknown field", svc("comand: [x]"), `m.yaml:3: service web: unknown field "comand"`},
		{"merge key", "services:\n  a: &a {command: [x]}\n  web: {<<: *a}\n",
			`m.yaml:3: service web: unknown field "<<"`},
		{"service is null", "services:\n  web:\n",
			"m.yaml:2: service web must be a map, not nothing"},
		{"service twice", "services:\n  a: {command: [x]}\n  a: {command: [y]}\n",
			`m.yaml:3: services: "a" is given twice, first in line 2`},
		{"field twice", svc("command: [x], command: [y]"), `"command" is given twice`},
		{"bad name", "services:\n  Web_1: {command: [x]}\n",
			`m.yaml:2: "Web_1" is no name for a service`},
		{"digits first", "services:\n  1a: {command: [x]}\n", `"1a" is no name for a service`},
		{"long name", "services:\n  " + strings.Repeat("a", 64) + ": {command: [x]}\n",
			"is no name for a service"},
		{"bad namespace", "namespace: A_B\nservices: {a: {command: [x]}}\n",
			`m.yaml:1: namespace: "A_B"`},
		{"neither command nor address", svc("replicas: 2"),
			"service web: needs a command, or the address"},
		{"both", svc("command: [x], address: '127.0.0.1:1'"), "has a command and an address"},
		{"command is text", svc("command: run me"),
			`service web: command must be a list, not "run me"`},
		{"command is empty", svc("command: []"), "service web: command: empty"},
		{"command holds a map", svc("command: [{a: b}]"),
			"service web: command must be text, not a map"},
		{"command holds nothing", svc("command: [~]"),
			"service web: command must be text, not nothing"},
		{"address without port", svc("address: 127.0.0.1"), "must be IP:PORT"},
		{"address by name", svc("address: 'example.com:80'"), "must be IP:PORT"},
		{"address port 0", svc("address: '127.0.0.1:0'"), "must be IP:PORT"},
		{"address and replicas", svc("address: '127.0.0.1:1', replicas: 2"),
			`"replicas" has no meaning beside an address`},
		{"address and env", svc("address: '127.0.0.1:1', env: {A: b}"),
			`"env" has no meaning beside an address`},
		{"port 0", svc("command: [x], port: 0"),
			"port must be a whole number from 1 to 65535, not \"0\""},
		{"port too high", svc("command: [x], port: 65536"), "port must be a whole number"},
		{"port quoted", svc("command: [x], port: '80'"), "port must be a whole number"},
		{"port huge", svc("command: [x], port: 99999999999999999999"),
			"port must be a whole number"},
		{"replicas negative", svc("command: [x], replicas: -1"),
			"replicas must be a whole number from 1 to 20"},
		{"replicas too many", svc("command: [x], replicas: 21"),
			"replicas must be a whole number from 1 to 20"},
		{"replicas on one port", svc("command: [x], port: 80, replicas: 2"),
			"2 replicas cannot all listen on port 80"},
		{"meshed is text", svc("command: [x], meshed: maybe"),
			`meshed must be true or false, not "maybe"`},
		{"log level unknown", svc("command: [x], logLevel: loud"),
			`logLevel: "loud" is not one of debug, info, warn, error`},
		{"a check of nothing", svc("command: [x], check: {interval: 1s}"),
			"service web: check: say exactly one of http, tcp, grpc, exec"},
		{"two checks", svc("command: [x], check: {tcp: true, exec: [x]}"), "say exactly one of"},
		{"no connection", svc("command: [x], check: {tcp: false}"), "tcp: false says nothing"},
		{"a check of no path", svc("command: [x], check: {http: live}"),
			"check: http.path: Invalid value"},
		{"a check without a pause", svc("command: [x], check: {tcp: true, interval: 1ms}"),
			"check: interval: Invalid value"},
		{"a timeout beyond the interval", svc("command: [x], check: {exec: [x], timeout: 2s}"),
			"timeout must not be more than interval"},
		{"a check of no proxy", svc("command: [x], check: {tcp: true}, meshed: false"),
			"is not meshed, so nobody is beside it"},
		{"a gRPC service that is a map", svc("command: [x], check: {grpc: {a: b}}"),
			"grpc must be text, not a map"},
		{"log level of no proxy", svc("command: [x], logLevel: info, meshed: false"),
			`is not meshed, so "logLevel" has no meaning`},
		{"env is a list", svc("command: [x], env: [A]"), "env must be a map"},
		{"env value a map", svc("command: [x], env: {A: {}}"), "A must be text, not a map"},
		{"env sets PORT", svc("command: [x], env: {PORT: 1}"), "PORT is set by 'meshctl dev up'"},
		{"env sets ours", svc("command: [x], env: {TULLE_MODE: strict}"), "TULLE_MODE is set by"},
		{"env hides a call", svc("command: [x], calls: [a], env: {A_URL: x}"),
			"env sets A_URL, which 'calls' sets too"},
		{"env name with =", svc("command: [x], env: {'A=B': x}"), "is no name for a variable"},
		{"calls unknown", svc("command: [x], calls: [b]"),
			`service web calls "b", which is no service here`},
		{"calls twice", svc("command: [x], calls: [a, a]"), `service web calls "a" twice`},
		{"calls a map", svc("command: [x], calls: {a: b}"), "calls must be a list, not a map"},
		{"variants empty", svc("variants: {}"), "variants: none given"},
		{"variants a list", svc("variants: [v1]"), "variants must be a map"},
		{"variants beside command", svc("command: [x], variants: {v1: {command: [x]}}"),
			`has variants, so "command" belongs inside`},
		{"variant without command", svc("variants: {v1: {}}"), "variant web-v1: needs a command"},
		{"variant unknown field", svc("variants: {v1: {command: [x], weight: 1}}"),
			`variant web-v1: unknown field "weight"`},
		{"variant takes a name",
			"services:\n  a-b: {command: [x]}\n  a: {variants: {b: {command: [x]}}}\n",
			`m.yaml:3: the name "a-b" is taken by line 2`},
		{"profiles missing", "profiles: nowhere\nservices: {a: {command: [x]}}\n",
			"m.yaml:1: profiles:"},
		{"profiles a map", "profiles: {}\nservices: {a: {command: [x]}}\n",
			"profiles must be text, not a map"},
		{"try is text", "try: all\nservices: {a: {command: [x]}}\n",
			`m.yaml:1: try must be a list, not "all"`},
		{"alias in a circle", "services:\n  a: &a {command: [x], calls: [*a]}\n",
			"calls must be text, not a map"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			mesh, err := parseMesh("m.yaml", t.TempDir(), []byte(c.text))
			if err == nil {
				t.Fatalf("accepted: %+v", mesh)
			}
			if !strings.Contains(err.Error(), c.want) ||
				!strings.HasPrefix(err.Error(), "m.yaml:") {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
		})
	}
}

// One run names everything that is wrong, in the file's order.
func TestParseNamesAllErrors(t *testing.T) {
	_, err := parseMesh("m.yaml", "",
		[]byte("services:\n  a: {command: [x], calls: [b]}\n  c: {port: x}\nnamespace: '-'\n"))
	var lines []string
	for _, l := range strings.Split(err.Error(), "\n") {
		lines = append(lines, strings.Join(strings.SplitN(l, ":", 3)[:2], ":"))
	}
	want := []string{"m.yaml:2", "m.yaml:3", "m.yaml:3", "m.yaml:4"}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("errors in lines %v, want %v:\n%v", lines, want, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "mesh.yaml")); err == nil ||
		!strings.Contains(err.Error(), "-f") {
		t.Errorf("a missing file: %v, want a hint at -f", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxMeshBytes+1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("a huge file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(goodMesh)
	f.Add("services:\n  a: &a {command: [x], calls: [*a]}\n")
	f.Add("a: &a [*a, *a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		mesh, err := parseMesh("m.yaml", "", []byte(text))
		if err == nil && len(mesh.Services) == 0 {
			t.Errorf("accepted a mesh without services: %q", text)
		}
	})
}
