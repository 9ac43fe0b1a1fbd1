package viz

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// asker is a handler, and how often it had to find an answer.
type asker struct {
	http.HandlerFunc
	found atomic.Int32
}

func (a *asker) get(query string) string {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest("GET", "/api/x?"+query, nil))
	return w.Body.String()
}

// newAsker has a viz to which so many proxies report. What it answers takes a tenth of a second.
func newAsker(proxies int) *asker {
	v := &Server{streams: map[reporter]*stream{}}
	for i := range proxies {
		v.streams[reporter{pod: fmt.Sprint(i)}] = nil
	}
	a := &asker{}
	a.HandlerFunc = answer(v, parseQuery, func(now time.Time, q Query) (*int32, error) {
		time.Sleep(100 * time.Millisecond)
		n := a.found.Add(1)
		if q.Resource == "broken" {
			return nil, errors.New("broken")
		}
		return &n, nil
	})
	return a
}

// Where proxies report each five seconds, or less often, what was found out is true for the rest of
// its second, and all who ask for the same have it.
func TestAnAnswerIsGoodForItsSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(201)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if got := a.get("resource=deploy"); got != "1\n" {
					t.Errorf("the first answer is %q", got)
				}
			})
		}
		all.Wait()
		for _, tt := range []struct {
			wait        time.Duration
			query, want string
		}{
			{0, "resource=svc", "2\n"},
			{0, "resource=deploy", "1\n"},
			{0, "resource=broken", `{"error":"broken"}` + "\n"},
			{0, "resource=broken", `{"error":"broken"}` + "\n"},
			{700 * time.Millisecond, "resource=deploy", "5\n"},
		} {
			time.Sleep(tt.wait)
			if got := a.get(tt.query); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.query, got, tt.want)
			}
		}
		for i := range 2 * maxAnswers {
			a.get(fmt.Sprint("resource=", i))
		}
		if n := a.found.Load(); n != 5+2*maxAnswers {
			t.Errorf("it was found out %d times", n)
		}
	})
}

// Where proxies report each second nothing is remembered.
func TestAFewProxiesAreAskedForAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(200)
		for i := range 3 {
			if got := a.get("resource=deploy"); got != fmt.Sprintln(i+1) {
				t.Errorf("answer %d is %q", i, got)
			}
		}
	})
}
