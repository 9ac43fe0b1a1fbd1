// Package board is what Prometheus and Grafana are told of the mesh: the series that Prometheus
// computes, the alerts it gives, and nine dashboards, all as data in Go, of which rules (rules.go,
// recordings.go) and boards (boards.go and a file for each subject) are the tables. prometheus.go
// and grafana.go write them as those programs read them.
//
// Queries ask for the series of viz's page, and for those of proxies and servers only where they
// are about these. It knows neither where Prometheus is nor what it holds, and starts nothing.
package board
