package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// source is a destination.Source of a synthetic cluster. Only Run's goroutine uses what it holds.
type source struct {
	shape    shape
	commands chan command

	owner *registry.Owner
	pods  [][]pod // by service
	next  int     // the number of the next pod
}

// command is a change that the parent wants, or a question.
type command struct {
	Op      string
	Service int
	reply   chan reply
}

// reply says when a change was made, on the clock that all processes of a machine share.
type reply struct {
	At      int64              // ns since 1970
	Figures map[string]float64 `json:",omitempty"` // by metric and label
	Error   string             `json:",omitempty"`
}

// What a command can be.
const (
	// opToggle: a pod of a service is no longer ready, or is again.
	opToggle = "toggle"
	// opRestart: all pods of a service are replaced, one after the other.
	opRestart = "restart"
	// opFigures: whom has the server refused, and why? Every server answers it.
	opFigures = "figures"
	// opCollect: what is garbage goes back to the kernel. Every server does it.
	opCollect = "collect"
)

func newSource(s shape) *source {
	return &source{shape: s, commands: make(chan command)}
}

// Run fills the registry, and then does what it is told.
func (s *source) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	s.owner = reg.Owner("scale")
	s.fill()
	synced()
	for {
		select {
		case c := <-s.commands:
			c.reply <- s.do(c)
		case <-ctx.Done():
			return nil
		}
	}
}

// Missing is nil: Run has read everything before it could be asked.
func (s *source) Missing() error { return nil }

func (s *source) fill() {
	for i := range s.shape.Services {
		var pods []pod
		for range s.shape.Pods {
			pods = append(pods, s.newPod(i))
		}
		s.pods = append(s.pods, pods)
		change := registry.Change{Set: []registry.Object{service(i)}}
		for _, p := range pods {
			change.Set = append(change.Set, p.workload())
		}
		for n := 0; n*perSlice < len(pods); n++ {
			change.Set = append(change.Set, s.slice(i, n))
		}
		s.owner.Apply(change)
	}
}

func (s *source) newPod(service int) pod {
	p := pod{service: service, number: s.next, ready: true}
	s.next++
	return p
}

func (s *source) slice(i, n int) *registry.Slice {
	pods := s.pods[i]
	return slice(i, n, pods[n*perSlice:min((n+1)*perSlice, len(pods))])
}

func (s *source) do(c command) reply {
	at := time.Now().UnixNano()
	switch {
	case c.Service < 0 || c.Service >= len(s.pods):
		return reply{Error: fmt.Sprintf("there is no service %d", c.Service)}
	case c.Op == opToggle:
		s.toggle(c.Service)
	case c.Op == opRestart:
		s.restart(c.Service)
	default:
		return reply{Error: fmt.Sprintf("there is no command %q", c.Op)}
	}
	return reply{At: at}
}

// toggle changes one endpoint, in the middle of the service's.
func (s *source) toggle(i int) {
	k := len(s.pods[i]) / 2
	s.pods[i][k].ready = !s.pods[i][k].ready
	s.set(s.slice(i, k/perSlice))
}

// restart replaces each pod as a Deployment does: the new one is there, then ready, then the old
// one is no longer, and is gone.
func (s *source) restart(i int) {
	for k, old := range s.pods[i] {
		next := s.newPod(i)
		s.set(next.workload())
		s.pods[i][k] = next
		with := s.slice(i, k/perSlice)
		with.Endpoints = append(with.Endpoints, old.endpoint())
		s.set(with)
		ending := old.workload()
		ending.Terminating = true
		s.set(ending)
		s.set(s.slice(i, k/perSlice))
		s.owner.Apply(registry.Change{Delete: []registry.Object{ending}})
	}
}

func (s *source) set(obj registry.Object) {
	s.owner.Apply(registry.Change{Set: []registry.Object{obj}})
}
