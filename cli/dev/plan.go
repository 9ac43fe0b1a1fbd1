package dev

import (
	"fmt"
	"net"
	"slices"
	"strconv"
)

// plan is a mesh with every address in it chosen.
type plan struct {
	mesh  *Mesh
	ports Ports
	alloc *allocator
}

// newPlan chooses the addresses; with record, one more per instance, for its relay. They are this
// mesh's until close.
func newPlan(m *Mesh, record bool) (*plan, error) {
	p := &plan{mesh: m, alloc: newAllocator(fixedPorts(m)), ports: Ports{Namespace: m.Namespace}}
	if err := p.addServices(record); err != nil {
		p.close()
		return nil, err
	}
	if err := p.connect(); err != nil {
		p.close()
		return nil, err
	}
	p.ports.Calls = p.calls()
	return p, nil
}

func (p *plan) close() { p.alloc.close() }

func (p *plan) addServices(record bool) error {
	for i := range p.mesh.Services {
		for _, w := range p.mesh.Services[i].workloads() {
			if err := p.addInstances(&p.mesh.Services[i], w, record); err != nil {
				return err
			}
		}
	}
	return nil
}

func fixedPorts(m *Mesh) []int {
	var ports []int
	for i := range m.Services {
		for _, w := range m.Services[i].workloads() {
			ports = append(ports, w.Port)
		}
	}
	return ports
}

// addInstances makes a workload's instances.
func (p *plan) addInstances(s *Service, w Workload, record bool) error {
	for n := range w.Replicas {
		i := Instance{Name: w.Name + "-" + strconv.Itoa(n), Service: s.Name, Workload: w.Name}
		wanted := []*string{}
		switch {
		case w.Address != "":
			i.App = w.Address
		case w.Port > 0:
			i.App = loopback(w.Port)
			if err := free(i.App); err != nil {
				return fmt.Errorf("service %s wants port %d: %w", s.Name, w.Port, err)
			}
		default:
			wanted = append(wanted, &i.App)
		}
		if !s.Unmeshed {
			i.ID = identityOf(p.mesh.Namespace, w.Name)
			wanted = append(wanted, &i.Mesh, &i.Admin)
		}
		if record {
			wanted = append(wanted, &i.Relay)
		}
		if err := p.choose(wanted); err != nil {
			return err
		}
		p.ports.Instances = append(p.ports.Instances, i)
	}
	return nil
}

func free(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%w (end what listens there, or leave 'port' out and listen on $PORT)",
			err)
	}
	return l.Close()
}

func (p *plan) choose(wanted []*string) error {
	for _, addr := range wanted {
		chosen, err := p.alloc.address()
		if err != nil {
			return err
		}
		*addr = chosen
	}
	return nil
}

// connect decides where each instance reaches what it calls: a listener of its own proxy, or,
// without one, the first instance itself, for nobody is there to choose among several.
func (p *plan) connect() error {
	for n := range p.ports.Instances {
		i := &p.ports.Instances[n]
		i.Upstreams = map[string]string{}
		for _, callee := range p.service(i.Service).Calls {
			if i.Mesh == "" {
				i.Upstreams[callee] = p.behind(callee)[0].peerAddress()
				continue
			}
			addr, err := p.alloc.address()
			if err != nil {
				return err
			}
			i.Upstreams[callee] = addr
		}
	}
	return nil
}

func (p *plan) service(name string) *Service {
	for i := range p.mesh.Services {
		if p.mesh.Services[i].Name == name {
			return &p.mesh.Services[i]
		}
	}
	return &Service{}
}

// workload is what an instance is a copy of.
func (p *plan) workload(i *Instance) Workload {
	for _, w := range p.service(i.Service).workloads() {
		if w.Name == i.Workload {
			return w
		}
	}
	return Workload{}
}

// behind lists the instances of a service or a variant.
func (p *plan) behind(name string) []*Instance {
	var out []*Instance
	for n := range p.ports.Instances {
		if i := &p.ports.Instances[n]; i.Service == name || i.Workload == name {
			out = append(out, i)
		}
	}
	return out
}

func (p *plan) calls() []Call {
	var out []Call
	for i := range p.mesh.Services {
		s := &p.mesh.Services[i]
		for _, w := range s.workloads() {
			for _, callee := range s.Calls {
				if !inConsul(callee) { // who is behind that is not known here
					out = append(out, p.call(p.behind(w.Name)[0], callee))
				}
			}
		}
	}
	return out
}

func (p *plan) call(caller *Instance, callee string) Call {
	c := Call{From: caller.Workload, FromID: caller.ID, Service: callee}
	for _, i := range p.behind(callee) {
		t := Target{Workload: i.Workload, ID: i.ID}
		if !slices.Contains(c.Possible, t) {
			c.Possible = append(c.Possible, t)
		}
	}
	return c
}

// startOrder lists the instances so that what is called comes before what calls it, as far as calls
// have no circle.
func (p *plan) startOrder() []*Instance {
	var order []*Instance
	visited := map[string]bool{}
	var visit func(s *Service)
	visit = func(s *Service) {
		if visited[s.Name] {
			return
		}
		visited[s.Name] = true
		for _, callee := range s.Calls {
			if !inConsul(callee) {
				visit(p.service(p.behind(callee)[0].Service))
			}
		}
		order = append(order, p.behind(s.Name)...)
	}
	for i := range p.mesh.Services {
		visit(&p.mesh.Services[i])
	}
	return order
}

// called says whether anybody calls the instance.
func (p *plan) called(i *Instance) bool {
	for _, c := range p.ports.Calls {
		if c.Service == i.Service || c.Service == i.Workload {
			return true
		}
	}
	return false
}
