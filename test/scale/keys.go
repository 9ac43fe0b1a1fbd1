package main

import "github.com/tulle-mesh/tulle/destination/api"

const (
	outboundKeys = 20 // of each proxy
	// hot is a service that every proxy asks for, and warm one that each tenth does.
	hot, warm = 0, 1
	warmEach  = 10
	// common is how many of the services nearly all other keys are of, in tenths of a percent.
	commonShare = 200
)

// common are the services [2, common) that are in use everywhere; the others are rare.
func (s shape) common() int { return max(3, s.Services*commonShare/1000) }

// calls are the services that a pod calls: the hot one, for each tenth the warm one, one that only
// its deployment and perhaps another call, and for the rest common ones.
func (s shape) calls(pod int) []int {
	deployment := pod / s.Pods
	out := []int{hot, s.rare(deployment)}
	if pod%warmEach == 0 {
		out = append(out, warm)
	}
	span := s.common() - warm - 1
	for k := 0; k < span && len(out) < outboundKeys; k++ {
		out = append(out, warm+1+(deployment*outboundKeys+k)%span)
	}
	return out
}

// rare is a service that few proxies ask for.
func (s shape) rare(n int) int { return s.common() + n%max(1, s.Services-s.common()) }

// keys are what a pod's proxy subscribes to: what a real one does once it has called each of those
// services, and has been called itself.
func (s shape) keys(pod int) []*api.Key {
	out := []*api.Key{
		{Key: &api.Key_Self{Self: &api.Self{}}},
		{Key: &api.Key_InboundPort{InboundPort: targetPort}},
	}
	for _, service := range s.calls(pod) {
		out = append(out, &api.Key{Key: &api.Key_Authority{Authority: authorityOf(service)}})
	}
	return out
}
