package main

import (
	"fmt"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/plane"
)

type evilKind uint8

const (
	evilServer evilKind = iota // in plaintext
	evilProxy                  // inside mTLS
	evilMute                   // where a proxy should be, and none is
)

// evil is a server that is hostile, and the way to it.
type evil struct {
	server
	*position
	name    string
	service plane.Service
}

// placeEvil starts the hostile servers.
func (s *stage) placeEvil() (err error) {
	if s.toEvil, err = s.newEvil("evil", evilServer); err != nil {
		return err
	}
	if s.toMesh, err = s.newEvil("evilmesh", evilProxy); err != nil {
		return err
	}
	for i, a := range stuckServers() {
		e, err := s.newEvil(fmt.Sprintf("stuck%d", i), a.kind)
		if err != nil {
			return err
		}
		e.wait = patient(2 * trickleSlack)
		e.play(a.script)
		s.stuck = append(s.stuck, e)
	}
	return nil
}

// newEvil lets a server listen: in plaintext, or behind a proxy's address, where it has a
// certificate unless it is mute.
func (s *stage) newEvil(name string, kind evilKind) (*evil, error) {
	e := &evil{name: name, server: server{wait: patient(answerTime + answerSlack)},
		position: &position{name: "to a server", addr: loopback.Free()}}
	var src *spiffe.Source
	var err error
	if kind == evilProxy {
		if src, err = s.plane.Source(name); err != nil {
			return nil, err
		}
	}
	at, err := e.listen(src)
	if err != nil {
		return nil, err
	}
	e.service = plane.Service{Name: name, Addresses: []string{at}}
	if kind != evilServer {
		e.position.name = "to a proxy"
		e.service = nowhere(name, at)
	}
	return e, nil
}

// nowhereAddr is where nobody listens.
const nowhereAddr = "127.0.0.1:1"

// nowhere is a service that is only reached through its proxy, and has no application.
func nowhere(name, mesh string) plane.Service {
	return plane.Service{Name: name, Addresses: []string{nowhereAddr}, Mesh: mesh}
}
