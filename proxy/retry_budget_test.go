package proxy_test

import (
	"net/http"
	"sync/atomic"
	"testing"
)

const retriedRoute = `apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - {name: broken, condition: {pathRegex: /broken}, isRetryable: true}
  retryBudget: {retryRatio: 0.2, minRetriesPerSecond: 1, ttl: 60s}
`

// A route that works pays nothing into the budget of one that fails: 100 failing requests get 20
// retries and the minimum's 60 (of one ttl), however many others there are.
func TestOnlyRetryableRequestsPayIntoTheBudget(t *testing.T) {
	m := newMesh(t, 0)
	m.write("profile.yaml", retriedRoute)
	var broken atomic.Int64
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			broken.Add(1)
			w.WriteHeader(500)
		}
	}))
	client := http1Client(t)
	for range 300 {
		get(t, client, url+"/works")
	}
	for range 100 {
		get(t, client, url+"/broken")
	}
	if got := broken.Load(); got <= 100 || got > 180 {
		t.Errorf("100 failing requests made %d tries, want more than 100 and at most 180", got)
	}
}
