package proxy_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// checkedApp is an application that says how it is, and in whose name it answers.
type checkedApp struct {
	name string
	sick atomic.Bool
}

func (p *checkedApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/live" && p.sick.Load() {
		w.WriteHeader(503)
		return
	}
	io.WriteString(w, p.name)
}

const liveCheck = "apiVersion: tulle.dev/v1alpha1\nkind: BackendTrafficPolicy\n" +
	"metadata: {namespace: shop, name: web}\nspec:\n" +
	"  targetRefs: [{kind: Service, name: web}]\n" +
	"  healthCheck: {http: {path: /live}, interval: 100ms, unhealthyThreshold: 2}\n"

// The proxies of two pods ask their applications, although nobody without a certificate may call
// these ports: whoever is not well gets no calls, and gets them again once it is. A destination
// that begins anew hears it, too.
func TestWhoIsNotWellGetsNoCalls(t *testing.T) {
	m := newMesh(t, 0)
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	m.write("policy.yaml", liveCheck)
	apps := []*checkedApp{{name: "web-0"}, {name: "web-1"}}
	var pods []pod
	for _, a := range apps {
		pods = append(pods, pod{a.name, app(t, a), loopback.Free()})
	}
	m.service("web", pods...)
	for _, p := range pods {
		m.proxy("web", p)
	}
	url, client := "http://"+m.caller("web").out["web"], http1Client(t)
	answers := func() map[string]int {
		got := map[string]int{}
		for range 20 {
			status, body, _ := get(t, client, url)
			if status != 200 {
				t.Errorf("a request gets %d %s", status, body)
			}
			got[body]++
		}
		return got
	}
	only := func(name string) func() bool {
		return func() bool { return answers()[name] == 20 }
	}
	both := func() bool { return len(answers()) == 2 }
	await.True(t, "both are called", both)

	apps[0].sick.Store(true)
	await.True(t, "the one that is not well is not called", only("web-1"))
	m.stopDest()
	m.startDestination()
	await.True(t, "destination has heard it again", only("web-1"))
	apps[0].sick.Store(false)
	await.True(t, "it is called again", both)

	apps[1].sick.Store(true)
	await.True(t, "the other one is not called", only("web-0"))
	apps[0].sick.Store(true)
	await.True(t, "where nobody is well all are called", both)
}

// A service that is declared to be HTTP/2 is asked in it.
func TestAnApplicationInHTTP2IsAskedInIt(t *testing.T) {
	m := newMesh(t, 0)
	m.write("policy.yaml", liveCheck)
	asked := make(chan string, 100)
	addr := appOf(t, false, true, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.Proto + " " + r.URL.Path + " " + r.UserAgent():
		default:
		}
	}))
	web := pod{"web-0", addr, loopback.Free()}
	m.declare("web", "kubernetes.io/h2c", web)
	m.proxy("web", web)
	if got := await.Receive(t, "the application is asked", asked); got !=
		"HTTP/2.0 /live tulle-health-check" {
		t.Errorf("it is asked %q", got)
	}
}

// A check of another port asks there, and what it finds is of the port that is called.
func TestAnotherPortIsAsked(t *testing.T) {
	m := newMesh(t, 0)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	_, port, _ := net.SplitHostPort(dead.Addr().String())
	dead.Close()
	m.write("policy.yaml", liveCheck[:len(liveCheck)-2]+", port: "+port+"}\n")
	one := pod{"web-0", app(t, &checkedApp{name: "web-0"}), loopback.Free()}
	two := pod{"web-1", app(t, &checkedApp{name: "web-1"}), ""}
	m.service("web", one, two)
	m.proxy("web", one)
	url, client := "http://"+m.caller("web").out["web"], http1Client(t)
	await.True(t, "only the pod that nobody checks is called", func() bool {
		for range 20 {
			if _, body, _ := get(t, client, url); body != "web-1" {
				return false
			}
		}
		return true
	})
}
