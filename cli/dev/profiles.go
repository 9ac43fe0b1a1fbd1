package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tulle-mesh/tulle/destination/consul"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// checkProfiles reads the user's ServiceProfiles, routes and policies before anything starts:
// destination would only log what is wrong with them. The warnings are about profiles and policies
// that are right, but apply to nothing here.
func checkProfiles(m *Mesh) (warnings []string, err error) {
	known := map[string]bool{}
	for i := range m.Services {
		known[host(m.Namespace, m.Services[i].Name)] = true
		for _, v := range m.Services[i].Variants {
			known[host(m.Namespace, v.Name)] = true
		}
	}
	var errs []error
	for _, file := range profileFiles(m) {
		hosts, err := readProfiles(file)
		errs = append(errs, err)
		for _, name := range hosts {
			inCatalog := m.Consul != "" && strings.HasSuffix(name, catalogZone)
			if !known[name] && !inCatalog {
				warnings = append(warnings, fmt.Sprintf(
					"%s: no service here is called %s, so what it says of it applies to nothing",
					file, name))
			}
		}
	}
	return warnings, errors.Join(errs...)
}

// catalogZone ends the names of Consul's services, as ServiceProfiles call them.
const catalogZone = "." + consul.Namespace + ".svc." + names.ClusterDomain

// profileFiles lists the files of the profile folders, as destination does.
func profileFiles(m *Mesh) []string {
	var files []string
	for _, dir := range m.Profiles {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // destination reads the folder too, and says so
		}
		for _, e := range entries {
			hidden := strings.HasPrefix(e.Name(), ".") // what an editor keeps beside
			if ext := filepath.Ext(e.Name()); !hidden &&
				(ext == ".yaml" || ext == ".yml" || ext == ".json") {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	return files
}

// readProfiles reads what may be in a file of a profile folder: ServiceProfiles,
// BackendTrafficPolicies, RateLimitPolicies, FaultInjections, TelemetryPolicies,
// ServiceLevelObjectives, and routes of the Gateway API. It returns the names of the services that
// all but routes are about.
func readProfiles(file string) (hosts []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read a ServiceProfile: %w", err)
	}
	docs, err := crd.Documents(file, text)
	if err != nil {
		return nil, err
	}
	for i := range docs {
		switch docs[i].Kind {
		case crd.Kind, crd.BackendTrafficPolicyKind, crd.RateLimitPolicyKind,
			crd.FaultInjectionKind, crd.TelemetryPolicyKind, crd.ServiceLevelObjectiveKind,
			crd.HTTPRoute, crd.GRPCRoute, crd.TLSRoute, crd.TCPRoute:
		default:
			return nil, fmt.Errorf("%s:%d: kind %s: 'profiles' is for ServiceProfiles, "+
				"BackendTrafficPolicies, RateLimitPolicies, FaultInjections, TelemetryPolicies, "+
				"ServiceLevelObjectives, HTTPRoutes, GRPCRoutes, TLSRoutes and TCPRoutes",
				file, docs[i].Line, docs[i].Kind)
		}
	}
	objects, err := files.Parse(file, text)
	if err != nil {
		return nil, err
	}
	for _, obj := range objects {
		if policy, ok := obj.(*registry.Policy); ok {
			hosts = append(hosts, hostsOf(policy)...)
		}
	}
	return hosts, nil
}

func hostsOf(p *registry.Policy) (hosts []string) {
	switch p.Body.(type) {
	case *crd.ServiceProfile:
		return []string{p.Name}
	case *crd.BackendTrafficPolicy, *crd.RateLimitPolicy, *crd.FaultInjection,
		*crd.ServiceLevelObjective:
		for _, target := range p.Services() {
			hosts = append(hosts, host(target.Namespace, target.Name))
		}
	}
	return hosts
}
