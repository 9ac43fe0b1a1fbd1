package viz

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Bounds of the asking side, beside those of its connections (serve.LoopbackLimits).
const (
	maxQuestions   = 64              // worked at, at the same time
	turnTimeout    = 5 * time.Second // that a question waits for its turn
	maxOpenAnswers = 64              // answers that go on, but for taps
	maxTapAskers   = 2 * maxTaps     // who have a tap, or wait for one, or are refused
)

// inTurn has questions wait, the first to come first, while viz works at maxQuestions others. A
// question's turn ends where its answer begins: whoever does not read an answer keeps nobody from
// theirs.
func inTurn(next http.Handler) http.Handler {
	turns := make(chan struct{}, maxQuestions)
	single := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait, cancel := context.WithTimeout(r.Context(), turnTimeout)
		defer cancel()
		select {
		case turns <- struct{}{}:
		case <-wait.Done():
			fail(w, http.StatusServiceUnavailable, fmt.Errorf(
				"viz works at %d questions already: try again", maxQuestions))
			return
		}
		t := &turn{ResponseWriter: w, turns: turns}
		defer t.end()
		next.ServeHTTP(t, r)
	})
	lasting := limited(maxOpenAnswers, "streams of answers", single)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isSet(r.URL.Query().Get(paramStream)) {
			lasting.ServeHTTP(w, r)
			return
		}
		single.ServeHTTP(w, r)
	})
}

// turn is a question's answer, which ends its turn as it begins.
type turn struct {
	http.ResponseWriter
	turns chan struct{} // nil once the turn has ended
}

func (t *turn) WriteHeader(code int) {
	t.end()
	t.ResponseWriter.WriteHeader(code)
}

func (t *turn) Write(p []byte) (int, error) {
	t.end()
	return t.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController flush, and set deadlines.
func (t *turn) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *turn) end() {
	if t.turns != nil {
		<-t.turns
		t.turns = nil
	}
}

// limited refuses at once what would be more than that at the same time: what goes on.
func limited(most int, what string, next http.Handler) http.Handler {
	places := make(chan struct{}, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			fail(w, http.StatusServiceUnavailable,
				fmt.Errorf("viz has %d %s already: end one, and try again", most, what))
		}
	})
}
