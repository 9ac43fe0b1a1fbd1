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
