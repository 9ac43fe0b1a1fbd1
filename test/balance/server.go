package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// server is an endpoint.
type server struct {
	kind    kind
	message *api.Endpoint
	events  *events
	random  *rand.Rand
	started time.Duration

	busy    int            // workers
	waiting []func(failed) // what their ends are told
	asked   int            // in the present window
}

type kind int

const (
	isFast kind = iota
	isSlow
	isFailing
	isStarting
)

type failed bool

// servers are all endpoints; those that start are the last.
func servers(e *events, r *rand.Rand) (all []*server) {
	for k, n := range []int{fast, slow, failing, starting} {
		for range n {
			id := fmt.Sprintf("10.0.0.%d:8080", len(all)+1)
			all = append(all, &server{kind: kind(k), events: e, random: r,
				message: &api.Endpoint{Id: id, Address: id}})
		}
	}
	return all
}

// ask has a request served. done is called at the server's end.
func (s *server) ask(done func(failed)) {
	s.asked++
	if s.busy == workers {
		s.waiting = append(s.waiting, done)
		return
	}
	s.busy++
	s.serve(done)
}

func (s *server) serve(done func(failed)) {
	d, f := s.lot()
	s.events.after(d, func() {
		done(f)
		if len(s.waiting) == 0 {
			s.busy--
			return
		}
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.serve(next)
	})
}

// lot is how long the next request takes, and how it ends.
func (s *server) lot() (time.Duration, failed) {
	mean := float64(serviced)
	switch s.kind {
	case isSlow:
		mean *= slower
	case isFailing:
		if s.random.IntN(2) == 0 {
			return failsIn, true
		}
	case isStarting:
		age := float64(s.events.now-s.started) / float64(warm)
		mean *= max(1, cold*(1-age))
	}
	return time.Duration(s.random.ExpFloat64() * mean), false
}
