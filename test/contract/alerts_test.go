//go:build real

package contract

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/viz/board"
)

// scene is what Prometheus has read, a value each minute, and whether an alert is given then.
type scene struct {
	series map[string]string // in promtool's notation
	at     string
	fires  []map[string]string // the labels of each, but for its severity
}

const (
	callOf = `direction="outbound",namespace="shop",kind="deployment",workload="front",` +
		`service_namespace="shop",service="web"`
	deniedTo = `tulle_workload_reasons_total{direction="inbound",reason="denied",` +
		`namespace="shop",kind="deployment",workload="web",peer_namespace="shop",peer="front"}`
	dryRunTo = `tulle_workload_dry_run_refused_requests_total{direction="inbound",` +
		`namespace="shop",kind="deployment",workload="web",peer_namespace="shop",peer="front"}`
	webOf = `namespace="shop",kind="deployment",workload="web"`
)

func labels(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

var (
	theCall = labels("namespace", "shop", "kind", "deployment", "workload", "front",
		"service_namespace", "shop", "service", "web")
	theWeb = labels("namespace", "shop", "kind", "deployment", "workload", "web")
)

func with(l map[string]string, pairs ...string) map[string]string {
	out := maps.Clone(l)
	maps.Copy(out, labels(pairs...))
	return out
}

// scenes have of each alert when it is given, and when not.
var scenes = map[string][]scene{
	"TulleServiceFails": {{map[string]string{
		`tulle_workload_requests_total{classification="failure",` + callOf + `}`: "0+6x60",
		`tulle_workload_requests_total{classification="success",` + callOf + `}`: "0+54x60",
	}, "30m", []map[string]string{labels("service_namespace", "shop", "service", "web")}},
		{map[string]string{
			`tulle_workload_requests_total{classification="failure",` + callOf + `}`: "0+1x60",
			`tulle_workload_requests_total{classification="success",` + callOf + `}`: "0+59x60",
		}, "30m", nil}},
	"TulleRetryStorm": {{map[string]string{
		`tulle_workload_requests_total{classification="success",` + callOf + `}`: "0+60x60",
		`tulle_workload_tries_total{` + callOf + `}`:                             "0+90x60",
	}, "30m", []map[string]string{theCall}},
		{map[string]string{
			`tulle_workload_requests_total{classification="success",` + callOf + `}`: "0+60x60",
			`tulle_workload_tries_total{` + callOf + `}`:                             "0+61x60",
		}, "30m", nil}},
	"TulleRetryBudgetEmpty": {
		{map[string]string{`tulle_workload_retries_refused_total{` + callOf + `}`: "0+6x60"},
			"30m", []map[string]string{theCall}},
		{map[string]string{`tulle_workload_retries_refused_total{` + callOf + `}`: "5+0x60"},
			"30m", nil}},
	"TulleAllEndpointsEjected": {{map[string]string{
		`tulle_workload_endpoints_ejected{backend="web:80",` + callOf + `}`: "3+0x60",
		`tulle_workload_endpoints{backend="web:80",` + callOf + `}`:         "3+0x60",
	}, "30m", []map[string]string{with(theCall, "backend", "web:80")}},
		{map[string]string{
			`tulle_workload_endpoints_ejected{backend="web:80",` + callOf + `}`: "2+0x60",
			`tulle_workload_endpoints{backend="web:80",` + callOf + `}`:         "3+0x60",
		}, "30m", nil}},
	"TullePolicyDenies": {
		{map[string]string{deniedTo: "0+0x70 5+5x30"}, "75m",
			[]map[string]string{with(theWeb, "peer_namespace", "shop", "peer", "front")}},
		{map[string]string{deniedTo: "0+5x100"}, "95m", nil}},
	"TullePlaintextToMeshed": {{map[string]string{
		`tulle_workload_requests_total{mtls="false",peer_namespace="shop",` +
			`peer_kind="deployment",peer="web",` + callOf + `}`: "0+6x60",
		`tulle_workload_proxies{version="v1",` + webOf + `}`: "2+0x60",
	}, "30m", []map[string]string{theWeb}},
		{map[string]string{
			`tulle_workload_requests_total{mtls="false",peer_namespace="shop",` +
				`peer_kind="deployment",peer="web",` + callOf + `}`: "0+6x60",
		}, "30m", nil}},
	// promtool's clock begins at 0: this one ends after a day, and nobody renews it.
	"TulleCertificateExpiresSoon": {{map[string]string{
		`tulle_workload_certificate_expiry_timestamp_seconds{` + webOf + `}`: "86400+0x1440",
	}, "20h", []map[string]string{theWeb}},
		{map[string]string{
			`tulle_workload_certificate_expiry_timestamp_seconds{` + webOf + `}`: "86400+60x1440",
		}, "20h", nil}},
	"TulleIssuerExpiresSoon": {
		{map[string]string{`tulle_identity_issuer_expiry_timestamp_seconds`: "604800+0x120"},
			"1h", []map[string]string{{}}},
		{map[string]string{`tulle_identity_issuer_expiry_timestamp_seconds`: "2000000+0x120"},
			"1h", nil}},
	"TulleCertificatesRefused": {
		{map[string]string{`tulle_identity_certify_total{code="PermissionDenied"}`: "0+3x60"},
			"40m", []map[string]string{labels("code", "PermissionDenied")}},
		{map[string]string{`tulle_identity_certify_total{code="OK"}`: "0+3x60"}, "40m", nil}},
	"TulleControlPlaneNoReplica": {{map[string]string{
		`tulle_destination_streams`: "5+0x60", `tulle_viz_streams`: "5+0x60",
	}, "30m", []map[string]string{labels("component", "identity")}},
		{map[string]string{
			`tulle_destination_streams`: "5+0x60", `tulle_viz_streams`: "5+0x60",
			`tulle_identity_calls`: "5+0x60",
		}, "30m", nil}},
	"TulleConfigStale": {
		{map[string]string{`tulle_workload_config_age_seconds{` + webOf + `}`: "0+60x60"},
			"30m", []map[string]string{theWeb}},
		{map[string]string{`tulle_workload_config_age_seconds{` + webOf + `}`: "0+60x4 0+0x60"},
			"30m", nil}},
	"TulleWouldDeny": {
		{map[string]string{dryRunTo: "0+5x60"}, "30m",
			[]map[string]string{with(theWeb, "peer_namespace", "shop", "peer", "front")}},
		{map[string]string{dryRunTo: "5+0x60"}, "30m", nil}},
	"TulleInjectionFailed": {
		{map[string]string{
			`tulle_injector_reviews_total{result="failed",pod="a"}`:  "0+0x20 0+1x40",
			`tulle_injector_reviews_total{result="refused",pod="a"}`: "3+0x60",
		}, "30m", []map[string]string{labels("result", "failed")}},
		{map[string]string{`tulle_injector_reviews_total{result="injected",pod="a"}`: "0+1x60"},
			"30m", nil}},
	"TulleClockSkew": {
		{map[string]string{
			`tulle_certificates_not_yet_valid_total{reason="caller",instance="a:4191"}`:   "0+1x60",
			`tulle_certificates_not_yet_valid_total{reason="endpoint",instance="a:4191"}`: "0+1x60",
			`tulle_certificates_not_yet_valid_total{reason="caller",instance="b:4191"}`:   "0+0x60",
		}, "30m", []map[string]string{labels("instance", "a:4191")}},
		{map[string]string{
			`tulle_certificates_not_yet_valid_total{reason="caller",instance="a:4191"}`: "7+0x60",
		}, "30m", nil}},
	"TulleWatchFailing": {
		{map[string]string{`tulle_destination_watch_failing{resource="services"}`: "1+0x60"},
			"30m", []map[string]string{labels("resource", "services")}},
		{map[string]string{`tulle_destination_watch_failing{resource="services"}`: "0+0x60"},
			"30m", nil}},
	"TulleConfigRejected": {
		{map[string]string{`tulle_destination_rejected_resources_total{kind="route"}`: "0+1x60"},
			"30m", []map[string]string{labels("kind", "route")}},
		{map[string]string{`tulle_destination_rejected_resources_total{kind="route"}`: "4+0x60"},
			"30m", nil}},
	"TulleProxyVersionSkew": {{map[string]string{
		`tulle_workload_proxies{version="v1",` + webOf + `}`: "3+0x1600",
		`tulle_build_info{component="viz",version="v2"}`:     "1+0x1600",
	}, "25h", []map[string]string{with(theWeb, "version", "v1")}},
		{map[string]string{
			`tulle_workload_proxies{version="v2",` + webOf + `}`: "3+0x1600",
			`tulle_build_info{component="viz",version="v2"}`:     "1+0x1600",
		}, "25h", nil}},
	"TulleSeriesOverflow": {
		{map[string]string{`tulle_viz_flows_folded_total`: "0+1x60"}, "40m",
			[]map[string]string{{}}},
		{map[string]string{`tulle_viz_flows_folded_total`: "7+0x60"}, "40m", nil}},
}

// Every alert is given when it is to be, and not otherwise, says promtool.
func TestRealAlerts(t *testing.T) {
	dir := t.TempDir()
	rules := board.Rules()
	text, err := board.RuleFile(rules)
	check(t, err)
	if out, err := promtool(dir, "rules.yaml", text, "check", "rules"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	severity := map[string]string{}
	for i := range rules {
		severity[rules[i].Alert] = rules[i].Labels["severity"]
		rules[i].Annotations = nil // their words are read of real alerts
		if len(scenes[rules[i].Alert]) < 2 {
			t.Errorf("%s has no scene in which it is given, and one in which not", rules[i].Alert)
		}
	}
	text, err = board.RuleFile(rules)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), text, 0o600))
	var tests []any
	for alert, all := range scenes {
		for i := range all {
			tests = append(tests, all[i].test(alert, severity[alert]))
		}
	}
	text, err = yaml.Marshal(map[string]any{"rule_files": []string{"rules.yaml"},
		"evaluation_interval": "1m", "tests": tests})
	check(t, err)
	if out, err := promtool(dir, "tests.yaml", text, "test", "rules"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func promtool(dir, file string, text []byte, args ...string) (string, error) {
	file = filepath.Join(dir, file)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", err
	}
	out, err := exec.Command(*promtoolBinary, append(args, file)...).CombinedOutput()
	return string(out), err
}

// test is promtool's words for a scene.
func (s *scene) test(alert, severity string) any {
	var series, expected []any
	for name, values := range s.series {
		series = append(series, map[string]any{"series": name, "values": values})
	}
	for _, l := range s.fires {
		expected = append(expected, map[string]any{"exp_labels": with(l, "severity", severity)})
	}
	return map[string]any{"name": fmt.Sprintf("%s, %d of them", alert, len(s.fires)),
		"interval": "1m", "input_series": series,
		"alert_rule_test": []any{map[string]any{"eval_time": s.at, "alertname": alert,
			"exp_alerts": expected}}}
}
