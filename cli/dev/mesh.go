package dev

import (
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/consul"
	"github.com/tulle-mesh/tulle/identity/names"
)

// Mesh is what a mesh.yaml says.
type Mesh struct {
	Dir       string // the folder of mesh.yaml: relative paths start here
	Namespace string
	Services  []Service    // in the file's order
	Profiles  []string     // absolute paths of folders with ServiceProfiles
	Consul    string       // the address of a Consul whose services can be called too, or ""
	Tracing   *api.Tracing // what proxies are told of it; nil: nothing
	Try       []string     // what Up suggests once the mesh runs
}

// Service is one name in the mesh: a command that Up starts, an address where one is running
// already, or variants.
type Service struct {
	Name     string
	Workload // where there are no variants
	Variants []Workload
	Calls    []string
	Unmeshed bool
	// what its port speaks, as a Service's appProtocol says it; empty: its caller's protocol
	Protocol string
	Told     map[string]string // what its proxies are told, as their pods' annotations
	Check    *HealthCheck      // nil: nobody asks whether it is well
}

func (s *Service) tell(annotation, value string) {
	if s.Told == nil {
		s.Told = map[string]string{}
	}
	s.Told[annotation] = value
}

// Workload is a set of equal processes: what Kubernetes calls a Deployment.
type Workload struct {
	Name     string // the service's, or SERVICE-VARIANT
	Command  []string
	Address  string
	Port     int // the port its command listens on; 0: one is chosen, and said in $PORT
	Replicas int
	Env      map[string]string
}

// workloads are the service's, whether it has variants or not.
func (s *Service) workloads() []Workload {
	if len(s.Variants) > 0 {
		return s.Variants
	}
	return []Workload{s.Workload}
}

// servicePort is the port every service has inside the mesh, so that names need none: the
// processes' own ports differ.
const servicePort = 80

// servicePortName is what that port is called.
const servicePortName = "http"

// trustDomain is that of every mesh on one machine.
const trustDomain = names.TrustDomain

// inConsul says whether what is called is a service of Consul's, by its DNS name.
func inConsul(callee string) bool { return strings.HasSuffix(callee, "."+consul.Zone) }

// host is the name of a service, as ServiceProfiles call it.
func host(namespace, service string) string {
	if inConsul(service) {
		return service
	}
	return service + "." + namespace + ".svc." + names.ClusterDomain
}

// identityOf is the SPIFFE ID of a workload: its service account has its own name.
func identityOf(namespace, workload string) string {
	return "spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + workload
}
