package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Ports is what ports.json says: where everything of a running mesh listens.
type Ports struct {
	Namespace   string     `json:"namespace"`
	Identity    string     `json:"identity"`
	Destination string     `json:"destination"`
	Viz         string     `json:"viz"`      // proxies report here
	VizQuery    string     `json:"vizQuery"` // questions, HTTP and JSON
	Page        string     `json:"page"`     // for browsers: 'meshctl dashboard' lets one in
	Metrics     Pages      `json:"metrics"`
	Instances   []Instance `json:"instances"`
	Calls       []Call     `json:"calls"`
}

// Pages are where Prometheus reads, at /metrics: what servers tell of themselves, and viz of the
// mesh.
type Pages struct {
	Identity    string `json:"identity"`
	Destination string `json:"destination"`
	Viz         string `json:"viz"`
	Mesh        string `json:"mesh"`
}

// Instance is one copy of a workload: its process, and its proxy's when it is meshed.
type Instance struct {
	Name     string `json:"name"`
	Service  string `json:"service"`
	Workload string `json:"workload"`
	App      string `json:"app"` // where the process listens
	// SPIFFE; the rest of a meshed instance only
	ID    string `json:"id,omitempty"`
	Mesh  string `json:"mesh,omitempty"`  // its proxy's inbound side
	Admin string `json:"admin,omitempty"` // its proxy's /ready and /metrics
	// service: where its process reaches it
	Upstreams map[string]string `json:"upstreams,omitempty"`
	// with --record: what peers dial instead
	Relay string `json:"relay,omitempty"`
}

// Call is one line of who calls whom, between workloads.
type Call struct {
	From     string   `json:"from"`
	FromID   string   `json:"fromID,omitempty"` // empty: unmeshed
	Service  string   `json:"service"`
	Possible []Target `json:"possible"` // any of these may answer
}

// Target is a workload behind a service.
type Target struct {
	Workload string `json:"workload"`
	ID       string `json:"id,omitempty"`
}

// ReadPorts finds the mesh that runs in a state folder.
func ReadPorts(dir string) (*Ports, error) {
	var p Ports
	err := readJSON(filepath.Join(dir, portsFile), &p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no mesh runs here (no %s): start one with 'meshctl dev up'",
			filepath.Join(dir, portsFile))
	}
	if err != nil {
		return nil, err
	}
	return &p, nil
}

// peerAddress is what others dial to reach the instance.
func (i *Instance) peerAddress() string {
	switch {
	case i.Relay != "":
		return i.Relay
	case i.Mesh != "":
		return i.Mesh
	}
	return i.App
}
