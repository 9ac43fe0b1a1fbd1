package gate

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/identity/names"
)

// Bounds of what the gate remembers.
const (
	maxTokens   = 64  // not used yet; the oldest gives way
	maxSessions = 256 // likewise
	// sessionIdle is how long a session lasts without a request; a page that is open asks each
	// second.
	sessionIdle = 12 * time.Hour
)

// paramToken is the token's place in an address.
const paramToken = "token"

// Policy is the page's Content-Security-Policy: nothing from elsewhere, nothing inline, in no
// frame.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// Gate lets a browser through to a handler once it has shown a token.
type Gate struct {
	next http.Handler

	mu       sync.Mutex // guards the rest, by the hashes of what browsers hold
	tokens   secrets
	sessions secrets
}

// New makes a Gate in front of next, which gets requests without the marks of a browser.
func New(next http.Handler) *Gate {
	return &Gate{next: next, tokens: secrets{most: maxTokens},
		sessions: secrets{most: maxSessions}}
}

// Address is where a user opens the page, once, on the gate's listener at hostport.
func (g *Gate) Address(hostport string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	where := url.URL{Scheme: "http", Host: hostport, Path: "/",
		RawQuery: url.Values{paramToken: {g.tokens.issue(time.Now())}}.Encode()}
	return where.String()
}

// secrets are known by their hashes, with when each was last used.
type secrets struct {
	most int
	used map[[sha256.Size]byte]time.Time
}

// issue makes a secret. Beyond the bound the one that was not used for longest is forgotten.
func (s *secrets) issue(now time.Time) string {
	if s.used == nil {
		s.used = make(map[[sha256.Size]byte]time.Time)
	}
	if len(s.used) >= s.most {
		var oldest [sha256.Size]byte
		first := true
		for hash, at := range s.used {
			if first || at.Before(s.used[oldest]) {
				oldest, first = hash, false
			}
		}
		delete(s.used, oldest)
	}
	text := rand.Text() + rand.Text() // 130 bits each
	s.used[sha256.Sum256([]byte(text))] = now
	return text
}

// take uses a secret up.
func (s *secrets) take(text string) bool {
	hash := sha256.Sum256([]byte(text))
	_, ok := s.used[hash]
	delete(s.used, hash)
	return ok
}

// touch says whether a secret is good, and that it was used.
func (s *secrets) touch(text string, now time.Time) bool {
	hash := sha256.Sum256([]byte(text))
	at, ok := s.used[hash]
	if !ok || now.Sub(at) > sessionIdle {
		delete(s.used, hash)
		return false
	}
	s.used[hash] = now
	return true
}

// ServeHTTP lets a request through, or says why not.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", Policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case !Loopback(r.Host):
		refuse(w, r, http.StatusForbidden, fmt.Sprintf(
			"Host %q is not loopback: use 127.0.0.1 or localhost.", r.Host))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, r.Method+": this page only reads.")
	case foreign(r):
		refuse(w, r, http.StatusForbidden, "Another site's page has sent this request.")
	case r.URL.Query().Has(paramToken):
		g.exchange(w, r)
	case !g.knows(r):
		refuse(w, r, http.StatusUnauthorized,
			"This page is opened by the address that 'meshctl dashboard' prints.")
	default:
		for name := range h { // viz's own are better
			h.Del(name)
		}
		g.next.ServeHTTP(w, r)
	}
}

// foreign says whether another site's page is behind a request. A user who follows a link to the
// page is not.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" ||
		r.Header.Get("Sec-Fetch-Dest") != "document"
}

func (g *Gate) knows(r *http.Request) bool {
	c, err := r.Cookie(cookieName(r.Host))
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions.touch(c.Value, time.Now())
}

// cookieName has the port, for all ports of a host have their cookies together: two pages are open
// side by side.
func cookieName(hostport string) string {
	_, port, _ := net.SplitHostPort(hostport)
	return names.Mesh + "-page-" + port
}

// exchange gives a cookie for a token. The browser is then sent on by a document and not by a
// redirection: after a click on another site's page, a redirection would go without the cookie.
func (g *Gate) exchange(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	token := q.Get(paramToken)
	q.Del(paramToken)
	on := url.URL{Path: r.URL.Path, RawQuery: q.Encode()}
	g.mu.Lock()
	session, ok := "", r.Method == http.MethodGet && g.tokens.take(token)
	if ok {
		session = g.sessions.issue(time.Now())
	}
	g.mu.Unlock()
	if !ok && !g.knows(r) {
		refuse(w, r, http.StatusUnauthorized, "This address was used already, or is not of this "+
			"process: each is good once. 'meshctl dashboard' prints a new one.")
		return
	}
	if ok {
		http.SetCookie(w, &http.Cookie{Name: cookieName(r.Host), Value: session, Path: "/",
			HttpOnly: true, SameSite: http.SameSiteStrictMode})
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	onward.Execute(w, localPath(&on))
}

// localPath is a URL that leads nowhere else, as "//elsewhere" would.
func localPath(u *url.URL) string {
	u.Path = "/" + strings.TrimLeft(u.Path, "/\\")
	return u.String()
}

var onward = template.Must(template.New("onward").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tulle</title><link rel="icon" href="data:,">
<meta http-equiv="refresh" content="0;url={{.}}">
<p><a href="{{.}}">Go on to the page</a></p></html>
`))

// refuse says no, to a person in words and to a script as JSON.
func refuse(w http.ResponseWriter, r *http.Request, code int, why string) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(code)
		refused.Execute(w, why)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": why})
}

var refused = template.Must(template.New("refused").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tulle</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<h1>Not let in</h1><p>{{.}}</p></html>
`))

// Loopback says whether a request's host is this machine.
func Loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
