package health

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

const (
	// firstWithin is how soon the first check is made, at random: the ports of a pod, and the pods
	// of a node, often start together.
	firstWithin = 50 * time.Millisecond
	// beginInterval is between checks, where that is less than the interval, until the first that
	// succeeds: an application that begins is not to wait to be called.
	beginInterval = time.Second
	// jitterShare is by what part of an interval it is longer or shorter, at random.
	jitterShare = 10
	// leastPause is between a check that took longer than the interval and the next one.
	leastPause = 10 * time.Millisecond
)

const (
	unchecked = api.State_STATE_UNCHECKED
	healthy   = api.State_STATE_HEALTHY
	unhealthy = api.State_STATE_UNHEALTHY
)

// checker checks one port.
type checker struct {
	set    *Set
	port   uint16
	change chan *Check // the latest that nobody has taken yet

	// What follows is the goroutine's.
	check          *Check // nil: none
	timer          *time.Timer
	state          api.State // unchecked until there is a verdict
	begun          bool      // a check has succeeded
	passed, failed int       // in a row
}

func newChecker(s *Set, port uint16) *checker {
	return &checker{set: s, port: port, change: make(chan *Check, 1), state: unchecked}
}

// run checks the port as it is told, until the context ends.
func (c *checker) run(ctx context.Context) {
	c.timer = time.NewTimer(0)
	c.timer.Stop()
	defer c.timer.Stop()
	for {
		select {
		case next := <-c.change:
			c.become(next)
		case <-c.timer.C:
			c.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// become goes over to another check. What was found stays until that one has found something else:
// an edit of a policy makes nobody well.
func (c *checker) become(next *Check) {
	c.passed, c.failed = 0, 0
	if c.check = next; next == nil {
		c.timer.Stop()
		c.begun = false
		c.enter(unchecked, "")
		return
	}
	c.timer.Reset(rand.N(min(firstWithin, next.interval)))
}

func (c *checker) look(ctx context.Context) {
	began := time.Now()
	asking, cancel := context.WithTimeout(ctx, c.check.timeout)
	err := c.ask(asking)
	cancel()
	if ctx.Err() != nil {
		return
	}
	c.take(err)
	c.timer.Reset(c.pause(time.Since(began)))
}

func (c *checker) ask(ctx context.Context) error {
	if c.set.Ask != nil {
		return c.set.Ask(ctx)
	}
	return c.check.ask(ctx, c.set.Dial, c.set.Address(c.port, c.check.port))
}

// take counts what a check has found. The first success of all is enough, as it is in Envoy.
// Failures count alike, whether nobody answered or the answer was a bad one.
func (c *checker) take(err error) {
	if err == nil {
		c.passed, c.failed = c.passed+1, 0
		if !c.begun || c.passed >= c.check.healthy {
			c.enter(healthy, "")
		}
		c.begun = true
		return
	}
	c.passed, c.failed = 0, c.failed+1
	if c.failed >= c.check.unhealthy {
		c.enter(unhealthy, bounded(err.Error()))
	}
}

// enter tells of a state that is another one.
func (c *checker) enter(state api.State, reason string) {
	if c.state == state {
		return
	}
	c.state = state
	c.set.Log.Info("the application's health has changed", "port", c.port,
		"state", strings.ToLower(strings.TrimPrefix(state.String(), "STATE_")),
		"reason", reason)
	c.set.Say(&api.Health{Port: uint32(c.port), State: state, Reason: reason,
		Sequence: c.set.next()})
}

func bounded(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), api.MaxHealthReason)], "")
}

// pause is how long it is to the next check, after one that took so long.
func (c *checker) pause(took time.Duration) time.Duration {
	every := c.check.interval
	if !c.begun {
		every = min(every, beginInterval)
	}
	share := every / jitterShare
	return max(every-share+rand.N(2*share+1)-took, leastPause)
}
