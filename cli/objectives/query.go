package objectives

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// subject is what queries are about.
type subject struct{ service, namespace, route, latency string }

// counted is a metric of requests, and which of its labels say to what.
type counted struct {
	service, namespace string // labels of a Service's name
	host               string // or one of its host, perhaps with a port
	route              string
	unit               time.Duration // of le, in a histogram
}

var (
	ofIstio = counted{service: "destination_service_name",
		namespace: "destination_service_namespace", host: "destination_service"}
	ofLinkerd = counted{service: "dst_service", namespace: "dst_namespace", host: "authority",
		route: "rt_route"}
	ofOurs = counted{service: "service", namespace: "service_namespace"}
)

// ours begins the names of viz's metrics by workload.
const ours = "tulle_workload_"

// metrics are those that count what callers' proxies here count, too.
var metrics = map[string]counted{
	"istio_requests_total":                       ofIstio,
	"istio_request_duration_milliseconds_bucket": ofIstio.in(time.Millisecond),
	"istio_request_duration_milliseconds_count":  ofIstio,
	"response_total":                             ofLinkerd,
	"request_total":                              ofLinkerd,
	"route_response_total":                       ofLinkerd,
	"response_latency_ms_bucket":                 ofLinkerd.in(time.Millisecond),
	"response_latency_ms_count":                  ofLinkerd,
	ours + "requests_total":                      ofOurs,
	ours + "request_duration_seconds_bucket":     ofOurs.in(time.Second),
	ours + "request_duration_seconds_count":      ofOurs,
}

func (c counted) in(unit time.Duration) counted {
	c.unit = unit
	return c
}

// queryKeys are the fields in which the others write queries.
var queryKeys = []string{"query", "metric", "errorQuery", "totalQuery", "errorRatioQuery"}

// queriesIn are the queries below a field.
func queriesIn(n *yaml.Node) (out []string) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.ScalarNode &&
			slices.Contains(queryKeys, n.Content[i-1].Value) {
			out = append(out, child.Value)
		}
		out = append(out, queriesIn(child)...)
	}
	return out
}

var (
	selector = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*["']([^"']*)["']`)
)

const unmeasurable = "an objective here is about a Service's requests, as callers' proxies count " +
	"them: write targetRef and objective by hand"

// measured is what the queries below a field are about, or why that is nothing that is counted
// here.
func measured(n *yaml.Node) (about subject, problem string) {
	queries := queriesIn(n)
	for _, query := range queries {
		found := selector.FindAllStringSubmatch(query, -1)
		if len(found) == 0 {
			return about, fmt.Sprintf("%q names no Service by labels: %s", query, unmeasurable)
		}
		for _, m := range found {
			c, ok := metrics[m[1]]
			if !ok {
				return about, fmt.Sprintf("%s is not what the mesh measures: %s", m[1],
					unmeasurable)
			}
			one, problem := c.subject(m[0], m[2])
			if problem == "" {
				problem = about.join(one)
			}
			if problem != "" {
				return about, problem
			}
		}
	}
	if len(queries) == 0 {
		return about, "it has no query: " + unmeasurable
	}
	return about, ""
}

// subject reads a selector's labels.
func (c counted) subject(selector, labels string) (about subject, problem string) {
	for _, m := range matcher.FindAllStringSubmatch(labels, -1) {
		name, value := m[1], m[3]
		into := map[string]*string{c.service: &about.service, c.namespace: &about.namespace,
			c.route: &about.route}[name]
		switch {
		case name == "" || into == nil && name != c.host && name != "le":
			continue
		case m[2] != "=":
			return about, fmt.Sprintf("%s has %s%s: name one Service", selector, name, m[2])
		case into != nil:
			*into = value
		case name == c.host:
			host, _, _ := strings.Cut(value, ":")
			parts := append(strings.SplitN(host, ".", 3), "", "")
			about.service, about.namespace = parts[0], parts[1]
		case c.unit > 0:
			if about.latency, problem = latencyOf(value, c.unit); problem != "" {
				return about, problem
			}
		}
	}
	if about.service == "" {
		return about, fmt.Sprintf("%s names no Service, by %s or %s: %s", selector, c.service,
			c.host, unmeasurable)
	}
	return about, ""
}

func latencyOf(le string, unit time.Duration) (latency, problem string) {
	if le == "" || le == "+Inf" {
		return "", "" // all of them
	}
	n, err := strconv.ParseFloat(le, 64)
	if err != nil || !(n > 0 && n < 1e7) {
		return "", fmt.Sprintf("le=%q is no time", le)
	}
	return time.Duration(n * float64(unit)).String(), ""
}

// join says of several selectors that they are about the same.
func (s *subject) join(o subject) (problem string) {
	for _, f := range []struct {
		what      string
		has, more *string
	}{
		{"Services", &s.service, &o.service}, {"namespaces", &s.namespace, &o.namespace},
		{"routes", &s.route, &o.route}, {"latencies", &s.latency, &o.latency},
	} {
		if *f.has != "" && *f.more != "" && *f.has != *f.more {
			return fmt.Sprintf("it is about two %s, %s and %s: write an objective for each",
				f.what, *f.has, *f.more)
		}
		if *f.has == "" {
			*f.has = *f.more
		}
	}
	return ""
}
