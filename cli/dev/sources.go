package dev

import (
	"os"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/consul"
	"github.com/tulle-mesh/tulle/destination/files"
)

// destinationSources are what Up wrote and the user's own profiles, each in its folder, and a
// Consul if there is one. The zones are those whose names only the sources know.
func (p *plane) destinationSources() (all destination.Sources, zones []string, err error) {
	for _, dir := range p.folders {
		all = append(all, &files.Source{Dir: dir, Log: p.log})
	}
	if p.consul == "" {
		return all, nil, nil
	}
	catalog, err := consul.New(consul.Config{
		Address: p.consul, Token: os.Getenv(consul.EnvToken), Namespace: consul.Namespace,
		TrustDomain: p.td, Loopback: true, Log: p.log,
	})
	return append(all, catalog), []string{consul.Zone}, err
}
