package proxy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
)

// The secrets that go through the proxies of TestADumpHasNoSecrets.
const (
	aToken  = "Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlc2lnbmF0dXJl"
	aCookie = "session=5f2c1a9be7d04436"
	aFilter = "filter-7d1f0c55a1"
	aMatch  = "match-09ab33f1c2"
)

// pagesOfADump are what a proxy says of itself to its pod.
var pagesOfADump = []string{"/debug/proxy", "/debug/config", "/debug/clusters",
	"/debug/goroutines", "/debug/trace", "/metrics", "/ready"}

// dumpOf asks for every page, while requests with secrets are under way.
func dumpOf(t *testing.T, admin string) map[string][]byte {
	t.Helper()
	client, out := &http.Client{Timeout: 20 * time.Second}, map[string][]byte{}
	for _, path := range pagesOfADump {
		resp, err := client.Get("http://" + admin + path)
		check(t, err)
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		check(t, err)
		// who calls nobody has no clusters
		if resp.StatusCode != 200 || len(text) == 0 && path != "/debug/clusters" {
			t.Fatalf("%s: %d, %d bytes", path, resp.StatusCode, len(text))
		}
		out[path] = text
	}
	return out
}

// Whatever a proxy is asked to show, no key, no token and no value of a header is in it, while it
// forwards all of these.
func TestADumpHasNoSecrets(t *testing.T) {
	m := newMesh(t, 0)
	m.write("route.yaml", fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
  - matches: [{headers: [{name: x-key, value: %s}]}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-api-key, value: %s}]}}
    backendRefs: [{name: web, port: 80}]
`, aMatch, aFilter))
	enter, leave := make(chan struct{}), make(chan struct{})
	url, caller, callee := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") == aFilter {
			enter <- struct{}{}
			<-leave
		}
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, _ := http.NewRequest("GET", url+"/?token="+aFilter, nil)
		r.Header.Set("Authorization", aToken)
		r.Header.Set("Cookie", aCookie)
		r.Header.Set("X-Key", aMatch)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-enter
	for name, r := range map[string]*running{"caller": caller, "callee": callee} {
		secrets := map[string][]byte{"token": []byte(aToken[7:]), "cookie": []byte(aCookie),
			"filter's value": []byte(aFilter), "match's value": []byte(aMatch)}
		svid := r.p.Source().SVID()
		key := svid.PrivateKey.(*ecdsa.PrivateKey)
		raw, err := key.Bytes()
		check(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		check(t, err)
		secrets["key"], secrets["key, encoded"] = raw, der
		for _, k := range []string{"key", "key, encoded"} {
			secrets[k+" in base64"] = []byte(base64.StdEncoding.EncodeToString(secrets[k]))
			secrets[k+" in hex"] = []byte(hex.EncodeToString(secrets[k]))
		}
		for path, text := range dumpOf(t, r.admin) {
			for what, secret := range secrets {
				if bytes.Contains(text, secret) {
					t.Errorf("%s of the %s has the %s", path, name, what)
				}
			}
		}
	}
	close(leave)
	<-done
}

// A dump has what it is for.
func TestADumpShowsTheProxy(t *testing.T) {
	m := newMesh(t, 0)
	url, caller, _ := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	get(t, http.DefaultClient, url+"/")
	dump := dumpOf(t, caller.admin)
	var self struct {
		Version, Identity, ConfigRevision, Unready, CertificateExpiry string
		ConfigConnected, Goroutines, HeapAlloc                        int
	}
	check(t, json.Unmarshal(dump["/debug/proxy"], &self))
	if self.Version != "test" || self.Identity != workloadID("client") || self.Unready != "" ||
		len(self.ConfigRevision) != 8 || self.ConfigConnected != 1 || self.Goroutines < 2 ||
		self.HeapAlloc == 0 || self.CertificateExpiry == "" {
		t.Errorf("%s", dump["/debug/proxy"])
	}
	var held api.Resources
	check(t, proto.Unmarshal(dump["/debug/config"], &held))
	kinds := map[api.Kind]int{}
	for _, r := range held.Resources {
		kinds[r.Kind]++
	}
	if kinds[api.Kind_KIND_ROUTE] == 0 || kinds[api.Kind_KIND_CLUSTER] == 0 ||
		kinds[api.Kind_KIND_ENDPOINTS] == 0 {
		t.Errorf("of what it holds there are %v", kinds)
	}
	line, _, _ := bytes.Cut(dump["/debug/clusters"], []byte("\n"))
	var endpoint struct {
		Cluster, Endpoint, Identity        string
		EwmaUs, Measured, InFlight, Weight int
	}
	check(t, json.Unmarshal(line, &endpoint))
	if endpoint.Cluster != authority("web") || !strings.HasPrefix(endpoint.Endpoint, "web-0/") ||
		endpoint.Identity != workloadID("web") || endpoint.Measured != 1 || endpoint.EwmaUs == 0 ||
		endpoint.InFlight != 0 || endpoint.Weight != 1 {
		t.Errorf("%s", line)
	}
	if !bytes.Contains(dump["/debug/goroutines"], []byte("goroutine ")) ||
		!bytes.HasPrefix(dump["/debug/trace"], []byte("go 1.")) {
		t.Errorf("%.40q, %.40q", dump["/debug/goroutines"], dump["/debug/trace"])
	}
}
