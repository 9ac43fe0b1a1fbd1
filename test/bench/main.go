package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

var (
	meshProxy   = flag.String("mesh-proxy", "bin/mesh-proxy", "the proxy under test")
	envoyBinary = flag.String("envoy", "envoy", "Envoy's binary")
	only        = flag.String("only", "tulle,haproxy,envoy,reverseproxy", "which pairs, in this order")
	rounds      = flag.Int("rounds", 3, "of each, interleaved")
	duration    = flag.Duration("duration", 4*time.Second, "of a round")
	foot        = flag.Bool("footprint", false, "measure the binary and the idle memory instead")

	role     = flag.String("reverse", "", "internal: be a ReverseProxy in this role")
	certs    = flag.String("certs", "", "internal")
	protocol = flag.String("protocol", "", "internal")
	listen   = flag.String("listen", "", "internal")
	upstream = flag.String("upstream", "", "internal")
)

func main() {
	flag.Parse()
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run() (code int, err error) {
	switch {
	case *role != "":
		return 1, reverse(*role, *certs, *protocol, *listen, *upstream)
	case *foot:
		ok, err := footprint()
		if !ok {
			code = 3
		}
		return code, err
	}
	for _, protocol := range []string{"http1", "http2"} {
		rows, err := measure(protocol)
		if err != nil {
			return 1, err
		}
		if missed := report(protocol, rows); missed {
			code = 3
		}
	}
	return code, nil
}

// row is one pair's rounds.
type row struct {
	name    string
	pair    *pair
	results []result
	memory  float64 // both processes, MB
}

// measure runs every pair's rounds of one protocol, interleaved.
func measure(protocol string) ([]*row, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	app, stop, err := startNginx(dir, protocol)
	if err != nil {
		return nil, err
	}
	defer stop()
	rows, err := startAll(dir, protocol, app)
	defer func() {
		for _, r := range rows {
			r.pair.stop()
		}
	}()
	if err != nil {
		return nil, err
	}
	for round := range *rounds + 1 { // the first warms up and is not counted
		for _, r := range rows {
			if err := r.round(protocol, round > 0); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

func (r *row) round(protocol string, counts bool) error {
	got, err := load(protocol, r.pair.addr, *duration)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	if got.failed > 0 {
		return fmt.Errorf("%s, %s: %d requests failed: its figures mean nothing", r.name, protocol, got.failed)
	}
	if counts {
		r.results = append(r.results, got)
	}
	r.memory = 0
	for _, c := range r.pair.procs {
		mb, err := resident(c.Process.Pid)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		r.memory += mb
	}
	return nil
}

func startAll(dir, protocol, app string) (rows []*row, err error) {
	for name := range strings.SplitSeq(*only, ",") {
		start := starters()[name]
		if start == nil {
			return rows, fmt.Errorf("-only: no pair is called %q", name)
		}
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			return rows, err
		}
		p, err := start(sub, protocol, app)
		if errors.Is(err, errAbsent) {
			fmt.Fprintf(os.Stderr, "bench: %s is not installed, going on without it\n", name)
			continue
		}
		if err != nil {
			return rows, fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, &row{name: name, pair: p})
	}
	return rows, nil
}

// bars are what the pair must reach, in requests/s, beside a peer.
var bars = map[string]float64{"reverseproxy": 3, "envoy": 1.5}

// report prints medians and ratios, and says whether a bar was missed.
func report(protocol string, rows []*row) (missed bool) {
	fmt.Printf("\n%s, two hops, mTLS with HTTP/2 between; medians of %d rounds of %v\n", protocol, *rounds, *duration)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "pair\treq/s\tp50\tp99\tRSS, both MB\ttulle is\tbar\t")
	var ours float64
	for _, r := range rows {
		rate := median(r.results, func(x result) float64 { return x.rps })
		if r.name == "tulle" {
			ours = rate
		}
		verdict := ""
		if bar := bars[r.name]; bar > 0 && ours > 0 {
			verdict = fmt.Sprintf("%.1fx ok", bar)
			if ours < bar*rate {
				verdict, missed = fmt.Sprintf("%.1fx MISSED", bar), true
			}
		}
		p50 := median(r.results, func(x result) time.Duration { return x.p50 })
		p99 := median(r.results, func(x result) time.Duration { return x.p99 })
		fmt.Fprintf(w, "%s\t%.0f\t%v\t%v\t%.1f\t%.2fx\t%s\t\n", r.name, rate, p50, p99, r.memory, ours/rate, verdict)
	}
	w.Flush()
	return missed
}

func median[T cmp.Ordered](results []result, of func(result) T) T {
	var all []T
	for _, r := range results {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// startNginx is the application: one worker, a reply of 13 bytes.
func startNginx(dir, protocol string) (addr string, stop func(), err error) {
	addr = freeAddr()
	http2 := map[string]string{"http1": "", "http2": " http2"}[protocol]
	text := fmt.Sprintf("worker_processes 1; daemon off; pid %[1]s/pid; error_log stderr warn; events { worker_connections 4096; }\n"+
		"http { access_log off; keepalive_requests 100000000; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c;\n"+
		"uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e; server { listen %[2]s%[3]s; location / { return 200 \"hello, world\\n\"; } } }\n", dir, addr, http2)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	cmd, err := start(addr, "nginx", "-c", path)
	if err != nil {
		return "", nil, fmt.Errorf("nginx answers the load: %w", err)
	}
	return addr, (&pair{procs: []*exec.Cmd{cmd}}).stop, nil
}

// subscribe makes a proxy resolve its upstream by asking it for something.
func subscribe(addr string) error {
	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// socket is an address as Envoy writes it.
func socket(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("{address: %s, port_value: %s}", host, port)
}
