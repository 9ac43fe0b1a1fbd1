package dev

import (
	"cmp"
	"context"
)

// Status is one instance as it is now.
type Status struct {
	Instance
	Ready  bool
	Reason string
}

// ReadStatus asks every instance of the mesh that runs in a state folder.
func ReadStatus(ctx context.Context, dir string) (*Ports, []Status, error) {
	ports, err := ReadPorts(dir)
	if err != nil {
		return nil, nil, err
	}
	var out []Status
	for _, i := range ports.Instances {
		s := Status{Instance: i, Ready: true, Reason: "no proxy"}
		if i.Mesh != "" {
			s.Ready, s.Reason = ready(ctx, i.Admin)
			s.Reason = cmp.Or(s.Reason, "its proxy does not answer")
		}
		if s.Ready && i.Mesh != "" {
			s.Reason = "proxy ready"
		}
		out = append(out, s)
	}
	return ports, out, nil
}
