package slo

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The counters by which Prometheus sees objectives, and their labels. A label "namespace" would be
// lost to the scraped pod's where a job does not honour labels.
const (
	RequestsMetric = "tulle_objective_requests_total"
	BadMetric      = "tulle_objective_bad_requests_total"
	NamespaceLabel = "objective_namespace"
	NameLabel      = "objective"
)

// RuleGroup is a group of a rule file of Prometheus.
type RuleGroup struct {
	Name  string `json:"name"`
	Rules []Rule `json:"rules"`
}

// Rule records a series, or alerts.
type Rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// RuleGroups are rules that alert by the same pairs as viz does, a group for each objective. They
// go by what Prometheus has: of a window that it does not know whole it takes what it knows.
func RuleGroups(all []Objective) []RuleGroup {
	out := make([]RuleGroup, 0, len(all))
	for i := range all {
		o := &all[i]
		g := RuleGroup{Name: "tulle-objective-" + o.Namespace + "-" + o.Name}
		for _, w := range burnWindows {
			if w <= o.Window {
				g.Rules = append(g.Rules, o.record(w))
			}
		}
		for _, p := range o.Pairs() {
			g.Rules = append(g.Rules, o.alertRule(p))
		}
		out = append(out, g)
	}
	return out
}

// ratioName is what the part that went wrong in a window is recorded as.
func ratioName(w time.Duration) string {
	return "tulle:objective_bad:ratio_rate" + Short(w)
}

func (o *Objective) selector() string {
	return fmt.Sprintf("{%s=%q,%s=%q}", NamespaceLabel, o.Namespace, NameLabel, o.Name)
}

// sum is over the replicas of viz, which count the same.
func (o *Objective) sum(function, metric string, w time.Duration) string {
	return fmt.Sprintf("sum by (%s, %s) (%s(%s%s[%s]))", NamespaceLabel, NameLabel, function,
		metric, o.selector(), Short(w))
}

func (o *Objective) record(w time.Duration) Rule {
	return Rule{Record: ratioName(w),
		Expr:   o.sum("rate", BadMetric, w) + "\n/\n" + o.sum("rate", RequestsMetric, w),
		Labels: map[string]string{NamespaceLabel: o.Namespace, NameLabel: o.Name}}
}

func (o *Objective) alertRule(p Pair) Rule {
	threshold := strconv.FormatFloat(p.Burn*o.allowed(), 'g', 6, 64)
	above := func(w time.Duration) string {
		return ratioName(w) + o.selector() + " > " + threshold
	}
	return Rule{
		Alert: "ObjectiveBurns",
		Expr: strings.Join([]string{above(p.Long), above(p.Short),
			fmt.Sprintf("%s >= %d", o.sum("increase", RequestsMetric, p.Long), MinRequests),
		}, "\nand\n"),
		Labels: map[string]string{"severity": p.Severity, "namespace": o.Namespace,
			NameLabel: o.Name, "window": Short(p.Long)},
		Annotations: map[string]string{
			"summary": fmt.Sprintf("%s/%s burns its error budget", o.Namespace, o.Name),
			"description": fmt.Sprintf("{{ $value | humanizePercentage }} of the requests of %s "+
				"went wrong in the last %s, where %s %% may over %s: at least %s times as fast as "+
				"the budget bears. meshctl slo %s -n %s", o.what(), Short(p.Long),
				strconv.FormatFloat(100*o.allowed(), 'g', 6, 64), Short(o.Window),
				strconv.FormatFloat(p.Burn, 'g', 3, 64), o.Name, o.Namespace),
		},
	}
}

func (o *Objective) what() string {
	if o.Route == "" {
		return o.Service
	}
	return "route " + o.Route + " of " + o.Service
}

// Short is a duration in one unit, as Prometheus takes it too: 30d, 6h, 5m.
func Short(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= unit.length && d%unit.length == 0 {
			return strconv.FormatInt(int64(d/unit.length), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}
