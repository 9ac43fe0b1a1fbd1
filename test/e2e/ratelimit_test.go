//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limited admits three requests an hour of each caller below a path.
const limited = `apiVersion: tulle.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: server}
spec:
  targetRefs: [{kind: Service, name: server}]
  limits:
  - name: hourly
    match: {path: {type: PathPrefix, value: /few}}
    by: [{identity: {}}]
    requests: 3
    window: 1h
`

// A rate limit is kept by the pods behind a Service, and gone with its policy.
func TestARateLimitIsObeyed(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/server")
	url := "http://server." + ns
	feed(t, limited, "kubectl", "-n", ns, "apply", "-f", "-")
	eventually(t, time.Minute, func() error {
		if a := call(t, byHook, url+"/few"); a.Status != 429 {
			return fmt.Errorf("within an hour: %+v", a)
		}
		return nil
	})
	a := call(t, byHook, url+"/few/more")
	after, err := strconv.Atoi(a.header("Retry-After"))
	if a.Status != 429 || err != nil || after < 1 || after > 1200 ||
		a.header("Ratelimit-Policy") != `"hourly";q=3;w=3600` || a.header("Tulle-Error") == "" {
		t.Errorf("what is told of a limit: %+v", a)
	}
	if a := call(t, byHook, url+"/many"); a.Status != 200 {
		t.Errorf("what the limit is not about: %+v", a)
	}
	eventually(t, 30*time.Second, func() error {
		out, err := try("", "kubectl", "-n", ns, "get", "ratelimitpolicy", "server", "-o",
			`jsonpath={range .status.ancestors[*].conditions[*]}{.type}={.status} {end}`)
		if want := "Accepted=True Programmed=True "; err == nil && out != want {
			err = fmt.Errorf("the conditions are %q, want %q", out, want)
		}
		return err
	})
	run(t, "kubectl", "-n", ns, "delete", "ratelimitpolicy", "server")
	eventually(t, 10*time.Second, func() error {
		if a := call(t, byHook, url+"/few"); a.Status != 200 {
			return fmt.Errorf("after the policy went: %+v", a)
		}
		return nil
	})
}

// evenly admits as many requests as two pods have in equal parts.
const evenly = `apiVersion: tulle.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: server}
spec:
  targetRefs: [{kind: Service, name: server}]
  limits: [{name: all, requests: 100, window: 1s}]
`

// A pod that is asked more than its share has what the other does not need, and not more than all.
func TestPodsLendEachOtherTheirShares(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	run(t, "kubectl", "-n", ns, "scale", "deployment/server", "--replicas=2")
	rolledOut(t, ns, "deployment/server")
	feed(t, evenly, "kubectl", "-n", ns, "apply", "-f", "-")
	pods := strings.Fields(run(t, "kubectl", "-n", ns, "get", "pods", "-l", "app=server",
		"-o", "jsonpath={.items[*].status.podIP}"))
	share := func(ip string) (n float64) {
		t.Helper()
		for line := range strings.Lines(call(t, byCLI, "http://"+ip+":4191/metrics").Body) {
			if strings.HasPrefix(line, "tulle_rate_limit_share{") {
				n, _ = strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:len(line)-1], 64)
			}
		}
		return n
	}
	shares := func(least, most float64) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			one, other := share(pods[0]), share(pods[1])
			if one < least || one > most {
				return fmt.Errorf("the pods have %v and %v", one, other)
			}
			return nil
		})
	}
	shares(50, 50)
	l := startLoad(t, byHook, 200, "http://"+pods[0]+":8080")
	shares(90, 95)
	if sum := share(pods[0]) + share(pods[1]); sum > 100 {
		t.Errorf("together they have %v", sum)
	}
	l.end(t)
	l = startLoad(t, byHook, 70, "http://"+pods[0]+":8080")
	time.Sleep(10 * time.Second) // of which its own share would refuse a quarter
	if r := l.end(t); r.OK < r.Sent*95/100 {
		t.Errorf("of %d requests %d are admitted: %v", r.Sent, r.OK, r.Errors)
	}
	shares(50, 50)
}

// The API server refuses a limit that proxies could not keep, and names the field.
func TestBadRateLimitRefused(t *testing.T) {
	ready(t)
	for field, change := range map[string][2]string{
		"spec.limits[0].requests":   {"requests: 3", "requests: 0"},
		"spec.limits[0].window":     {"window: 1h", "window: 2h"},
		"spec.limits[0].by[0]":      {"{identity: {}}", "{identity: {}, header: x}"},
		"spec.limits[0].match.path": {"value: /few", "value: few"},
		"spec.targetRefs[0].kind":   {"kind: Service", "kind: Secret"},
		"spec.limits[0].mod":        {"window: 1h", "window: 1h\n    mod: Shared"},
	} {
		bad := strings.Replace(limited, change[0], change[1], 1)
		_, err := try(bad, "kubectl", "apply", "-n", byHook, "-f", "-")
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s → %s: want a refusal that names %s, got %v",
				change[0], change[1], field, err)
		}
	}
}
