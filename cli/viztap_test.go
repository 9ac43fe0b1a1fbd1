package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
)

// tapText is what a tap of two requests and a connection writes: one that went well at both
// proxies, one that failed and whose caller is a stranger, and one that nobody understands.
const tapText = `{"time":"2026-11-30T17:00:00.123Z","tulle.direction":"outbound",` +
	`"http.request.method":"GET","url.path":"/cart","server.address":"checkout","server.port":80,` +
	`"network.protocol.version":"1.1","http.response.status_code":200,` +
	`"http.request.body.size":0,"http.response.body.size":2048,"tulle.first_byte":0.002,` +
	`"tulle.duration":0.0025,"tulle.tries":2,"tulle.request_id":"id-1",` +
	`"tulle.client.namespace":"shop","tulle.client.workload":"deployment/web",` +
	`"tulle.client.pod":"web-1","tulle.server.namespace":"shop",` +
	`"tulle.server.workload":"deployment/checkout","tulle.server.pod":"checkout-1",` +
	`"tulle.security":"mtls","tulle.namespace":"shop","tulle.service":"checkout",` +
	`"tulle.flags":["retried"],"tulle.inbound":{"time":"2026-11-30T17:00:00.1235Z",` +
	`"tulle.direction":"inbound","tulle.duration":0.0015,"tulle.tries":1}}
{"time":"2026-11-30T17:00:01Z","tulle.direction":"inbound","http.request.method":"POST",` +
	`"url.path":"/a\u001b[2Jb\nc","http.response.status_code":503,"tulle.duration":12.5,` +
	`"tulle.tries":1,"client.address":"10.0.0.7","tulle.server.namespace":"shop",` +
	`"tulle.server.workload":"deployment/web","tulle.security":"plaintext_unmeshed",` +
	`"tulle.reason":"no_endpoints","tulle.error":"none is ready","tulle.flags":["failed"]}
{"time":"2026-11-30T17:00:02Z","tulle.direction":"outbound","network.transport":"tcp",` +
	`"tulle.request.size":100,"tulle.response.size":4096,"tulle.duration":0.5,"tulle.tries":1,` +
	`"tulle.client.id":"spiffe://cluster.local/ns/shop/sa/web","tulle.client.namespace":"shop",` +
	`"tulle.security":"mtls","tulle.namespace":"shop","tulle.service":"db"}
{"tulle.tap.matched":2341,"tulle.tap.shown":3,"tulle.tap.dropped":12,"tulle.tap.proxies":2}
`

// tapping answers a tap with tapText, and keeps what was asked.
func tapping(t *testing.T, text string) (addr string, asked *[]string) {
	asked = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.String())
		fmt.Fprint(w, text)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), asked
}

func TestTapPrints(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	t.Setenv("LC_ALL", "")
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	for args, want := range map[string]string{
		"": `17:00:00.123  shop/web → shop/checkout  GET /cart  200  2.5ms  tries=2  mtls
17:00:01.000  10.0.0.7 → shop/web       POST /a\x1b[2Jb\nc  503  12.5s  no_endpoints  ` +
			`plaintext_unmeshed
17:00:02.000  shop/web → shop/db        tcp 100.0B there, 4.0KiB back  -  500ms  mtls
`,
		"--events --ascii": `req id=1 17:00:00.123 shop/web -> shop/checkout GET /cart ` +
			`authority=checkout:80 mtls
rsp id=1 17:00:00.125 200 after 2.0ms
end id=1 17:00:00.125 after 2.5ms tries=2 body=2.0KiB
req id=2 17:00:01.000 10.0.0.7 -> shop/web POST /a\x1b[2Jb\nc authority=- plaintext_unmeshed
end id=2 17:00:13.500 503 after 12.5s tries=1 no_endpoints
req id=3 17:00:02.000 shop/web -> shop/db tcp 100.0B there, 4.0KiB back authority=- mtls
end id=3 17:00:02.500 after 500ms tries=1
`,
	} {
		addr, _ := tapping(t, tapText)
		out, errs, status := meshctl(t.Context(), append([]string{"viz", "tap", "--viz-addr", addr},
			strings.Fields(args)...)...)
		if status != exitOK || out != want {
			t.Errorf("%q: status %d\n%s\nwant\n%s", args, status, out, want)
		}
		if want := "shown 3 of 2,341; 12 dropped on the way\n"; errs != want {
			t.Errorf("%q says %q, want %q", args, errs, want)
		}
	}
	addr, _ := tapping(t, tapText)
	out, _, _ := meshctl(t.Context(), "viz", "tap", "--viz-addr", addr, "-o", "wide")
	for _, want := range []string{"at-server=1.5ms", "from-pod=web-1", "request-id=id-1",
		"error=none is ready"} {
		if !strings.Contains(out, want) {
			t.Errorf("a wide line has no %s:\n%s", want, out)
		}
	}
}

func TestTapAsksWhatItWasTold(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for args, want := range map[string]string{
		"": "/api/tap?maxRps=100&stream=1",
		"deploy/web -n shop --to svc/x --to-namespace y --method get,put": "/api/tap?maxRps=100" +
			"&method=GET%2CPUT&namespace=shop&resource=deploy%2Fweb&stream=1&to=svc%2Fx" +
			"&toNamespace=y",
		"--status 5xx --failed --retries --latency >100ms --max-rps 7 --limit 5": "/api/tap?" +
			"failed=1&latency=100ms&limit=5&maxRps=7&retried=1&status=500-599&stream=1",
		"--reason no_route --route [default] --path /a --authority w --duration 5s": "/api/tap?" +
			"authority=w&duration=5s&maxRps=100&path=%2Fa&reason=no_route&route=%5Bdefault%5D" +
			"&stream=1",
	} {
		addr, asked := tapping(t, "")
		_, errs, status := meshctl(t.Context(), append([]string{"viz", "tap", "--viz-addr", addr},
			strings.Fields(args)...)...)
		if status != exitOK || len(*asked) != 1 || (*asked)[0] != want {
			t.Errorf("%q: status %d %s asked %q, want %s", args, status, errs, *asked, want)
		}
	}
}

func TestTapRefusesNonsense(t *testing.T) {
	for args, want := range map[string]string{
		"house":            `"house" is no kind`,
		"svc/a --to svc/b": "a service sends no requests",
		"--status 7":       "write 404, 5xx or 400-499",
		"--latency fast":   "for example '>100ms'",
		"--reason weather": "is no reason",
		"--max-rps 99999":  "the limit is 1000",
		"-o table":         "unknown output format",
	} {
		_, errs, status := meshctl(t.Context(), append([]string{"viz", "tap", "--viz-addr",
			"127.0.0.1:1"}, strings.Fields(args)...)...)
		if status != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%q: status %d, %q; want %q", args, status, errs, want)
		}
	}
}

// What was written is shown again, under other conditions, and what is no request is named by its
// line. JSON comes out as it went in.
func TestTapReplays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tap.ndjson")
	if err := os.WriteFile(file, []byte(tapText), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct{ line, footer string }{
		"--failed":               {"no_endpoints", "shown 1 of 3\n"},
		"deploy/web --to svc/db": {"", "shown 0 of 3\n"},
		"svc/db":                 {"shop/db", "shown 1 of 3\n"},
		"--retries --limit 1":    {"/cart", "shown 1 of 1\n"},
		"--latency 10s":          {"no_endpoints", "shown 1 of 3\n"},
	} {
		out, errs, status := meshctl(t.Context(), append([]string{"viz", "tap", "--input-file",
			file}, strings.Fields(args)...)...)
		if status != exitOK || errs != want.footer || !strings.Contains(out, want.line) {
			t.Errorf("%q: status %d\n%s%s", args, status, out, errs)
		}
	}
	out, _, _ := meshctl(t.Context(), "viz", "tap", "--input-file", file, "-o", "json")
	if want := strings.Join(strings.Split(tapText, "\n")[:3], "\n") + "\n"; out != want {
		t.Errorf("JSON is\n%s\nwant\n%s", out, want)
	}
	if err := os.WriteFile(file, []byte("\n{}\nhello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, status := meshctl(t.Context(), "viz", "tap", "--input-file", file)
	if status != exitError || !strings.Contains(errs, "line 3 is no request") {
		t.Errorf("status %d, %q", status, errs)
	}
}

// The page's examples are commands that meshctl takes.
func TestTheExamplesOfTapsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/tap.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	n := 0
	for line := range strings.Lines(string(page)) {
		command, ok := strings.CutPrefix(line, "    meshctl ")
		if !ok || strings.Contains(command, "--input-file") {
			continue
		}
		n++
		command, _, _ = strings.Cut(command, "  #")
		command, _, _ = strings.Cut(command, " > ")
		addr, _ := tapping(t, tapText)
		args := strings.Fields(strings.ReplaceAll(command, "'", ""))
		_, errs, status := meshctl(t.Context(), append(args, "--viz-addr", addr)...)
		if status != exitOK {
			t.Errorf("%s: status %d %s", command, status, errs)
		}
	}
	if n < 5 {
		t.Errorf("%d examples were found", n)
	}
}

// Whatever is in a file, a terminal shows it and obeys none of it.
func FuzzTapLine(f *testing.F) {
	for line := range strings.Lines(tapText) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		lines := strings.Count(line, "\n") + 1
		for format, most := range map[string]int{"-o=wide": lines, "--events": 3 * lines} {
			out, _, _ := run(t, line, "viz", "tap", "--input-file", "-", format)
			if strings.IndexFunc(out, func(r rune) bool {
				return !unicode.IsPrint(r) && r != '\n'
			}) >= 0 {
				t.Errorf("a terminal obeys %q", out)
			}
			if n := strings.Count(out, "\n"); n > most {
				t.Errorf("%d lines of %d: %q", n, lines, out)
			}
		}
	})
}
