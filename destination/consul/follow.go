package consul

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/tulle-mesh/tulle/proxy/backoff"
)

const (
	// maxQueries is how many queries are open at once. Over HTTP/1 each has a connection, and an
	// agent takes 200 of one address (limits.http_max_conns_per_client), others' included.
	maxQueries = 128
	// maxServices bounds the services that are followed.
	maxServices = 1000

	// maxWait is how long a query waits for something new. Consul's own default is five minutes; a
	// query less long finds sooner that its connection leads nowhere.
	maxWait = time.Minute
	// turnWait is the same where there are more services than queries. They take turns then: a
	// change is seen within as many seconds as there are services to each query.
	turnWait = time.Second

	// What changes all the time is asked for at this rate, after a few answers at once.
	answersPerSecond = 4
	answerBurst      = 8

	retryMin = 100 * time.Millisecond
	retryMax = 10 * time.Second // no pause is longer
)

// question is something that is asked again and again.
type question struct {
	what  string // for people
	watch *watch
	path  string
	take  func(reply) error // uses an answer
}

// follow asks a question, and again whenever its answer changes, until the context ends.
func (s *Source) follow(ctx context.Context, q *question) {
	limit := rate.NewLimiter(answersPerSecond, answerBurst)
	retry := backoff.Backoff{Min: retryMin, Max: retryMax * 2 / 3}
	for index := uint64(0); ctx.Err() == nil; {
		next, err := s.ask(ctx, q, index)
		if ctx.Err() != nil {
			return
		}
		s.state.note(q, err)
		if err != nil {
			// Consul may come back with another state and a lower index, for which a query with
			// this one would wait.
			index = 0
			sleep(ctx, retry.Next())
			continue
		}
		index = next
		retry.Reset()
		if limit.Wait(ctx) != nil {
			return
		}
	}
}

// ask asks once, and uses the answer if it is another. It returns the index to ask with next.
func (s *Source) ask(ctx context.Context, q *question, index uint64) (next uint64, err error) {
	select {
	case s.queries <- struct{}{}:
		defer func() { <-s.queries }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	r, err := s.client.get(ctx, q.path, index, jitter(s.wait()))
	if err != nil {
		return 0, err
	}
	if r.index == index && index > 0 {
		return index, nil // the wait was over
	}
	if err := q.take(r); err != nil {
		return 0, err
	}
	return nextIndex(index, r.index), nil
}

// nextIndex is what Consul's documentation demands of whoever makes blocking queries: an index that
// goes backwards, as after a snapshot was restored, means to begin anew; and none below 1 is ever
// waited with, for that would not wait at all.
func nextIndex(last, got uint64) uint64 {
	if got < last {
		return 0
	}
	return max(got, 1)
}

// wait is how long a query may take: long, where all that is asked has one.
func (s *Source) wait() time.Duration {
	if s.state.questions() > cap(s.queries) {
		return turnWait
	}
	return maxWait
}

// jitter takes up to an eighth off, so that queries which began together do not end together.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/8) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
