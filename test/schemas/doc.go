// Package schemas holds what meshctl prints for Grafana and for the Prometheus operator against
// their own types. It is a module of its own, for nothing else needs these. It contains tests only,
// which run meshctl as it was built.
package schemas
