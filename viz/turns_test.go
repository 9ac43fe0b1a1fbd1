package viz

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// unread is an answer that nobody reads until the test ends.
type unread struct {
	*httptest.ResponseRecorder
	begun chan<- struct{}
	read  <-chan struct{}
}

func (u *unread) Write(p []byte) (int, error) {
	u.begun <- struct{}{}
	<-u.read
	return len(p), nil
}

// A caller who asks and does not read, on as many connections as there may be, shuts out nobody.
func TestUnreadAnswersKeepNobodyWaiting(t *testing.T) {
	h := New(Config{Log: slog.New(slog.DiscardHandler)}).Handler()
	begun, read := make(chan struct{}), make(chan struct{})
	var asking sync.WaitGroup
	for range maxQuestions {
		asking.Go(func() {
			h.ServeHTTP(&unread{httptest.NewRecorder(), begun, read}, asked("/api/top"))
		})
		<-begun
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, asked("/api/top"))
	if w.Code != http.StatusOK {
		t.Errorf("a question beside %d unread answers: %d %s", maxQuestions, w.Code, w.Body)
	}
	close(read)
	asking.Wait()
}

func asked(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1"
	return r
}

// ask asks h beside the test, and gives the answer once there is one.
func ask(ctx context.Context, h http.Handler, path string) <-chan *httptest.ResponseRecorder {
	answer := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, asked(path).WithContext(ctx))
		answer <- w
	}()
	synctest.Wait()
	return answer
}

func TestQuestionsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work := make(chan struct{})
		h := inTurn(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-work
			io.WriteString(w, "done")
		}))
		for range maxQuestions {
			ask(t.Context(), h, "/")
		}
		second, third := ask(t.Context(), h, "/"), ask(t.Context(), h, "/")
		work <- struct{}{} // one of the first ends, and the second begins
		synctest.Wait()
		time.Sleep(turnTimeout)
		if w := <-third; w.Code != http.StatusServiceUnavailable {
			t.Errorf("the last after %v: %d", turnTimeout, w.Code)
		}
		close(work)
		if w := <-second; w.Code != http.StatusOK {
			t.Errorf("the one whose turn came: %d %s", w.Code, w.Body)
		}
	})
}

func TestStreamsOfAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Log: slog.New(slog.DiscardHandler)}).Handler()
		ctx, end := context.WithCancel(t.Context())
		var open []<-chan *httptest.ResponseRecorder
		for range maxOpenAnswers {
			open = append(open, ask(ctx, h, "/api/top?stream=1"))
		}
		if w := <-ask(ctx, h, "/api/top?stream=1"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("stream %d: %d", maxOpenAnswers+1, w.Code)
		}
		if w := <-ask(ctx, h, "/api/top"); w.Code != http.StatusOK {
			t.Errorf("a single question beside the streams: %d %s", w.Code, w.Body)
		}
		end()
		for _, answer := range open {
			<-answer
		}
		ctx, end = context.WithCancel(t.Context())
		again := ask(ctx, h, "/api/top?stream=1")
		end()
		if w := <-again; w.Code != http.StatusOK {
			t.Errorf("a stream after the others have ended: %d", w.Code)
		}
	})
}
