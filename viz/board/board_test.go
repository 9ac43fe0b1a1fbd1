package board

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// exprs is every query of every board.
func exprs(b *Board) (all []string) {
	for _, r := range b.Rows {
		for _, p := range r.Panels {
			for _, q := range p.Queries {
				all = append(all, q.Expr)
			}
		}
	}
	return all
}

func TestNineBoards(t *testing.T) {
	uids := map[string]bool{}
	for _, b := range Boards() {
		uids[b.UID] = true
		for _, expr := range exprs(&b) {
			if strings.Contains(expr, "instance=~") {
				t.Errorf("%s selects instances: %s", b.UID, expr)
			}
			for _, open := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(expr, -1) {
				if open[1] != "__rate_interval" && !slices.ContainsFunc(b.Variables,
					func(v Variable) bool { return v.Name == open[1] }) {
					t.Errorf("%s has no variable %s", b.UID, open[1])
				}
			}
		}
	}
	if len(uids) != 9 {
		t.Errorf("%d boards: %v", len(uids), uids)
	}
}

// Every computed series that a board or an alert asks for is one that is computed, and is used.
func TestComputedSeriesAreComputed(t *testing.T) {
	computed := map[string]bool{}
	for _, r := range Recordings() {
		computed[r.Record] = true
	}
	var all []string
	for _, b := range Boards() {
		all = append(all, exprs(&b)...)
	}
	for _, r := range Rules() {
		all = append(all, r.Expr)
	}
	used := map[string]bool{}
	for _, expr := range all {
		for _, name := range regexp.MustCompile(`tulle:[a-z0-9_:]+`).FindAllString(expr, -1) {
			used[name] = true
		}
	}
	for name := range used {
		if !computed[name] {
			t.Errorf("nobody computes %s", name)
		}
	}
	for name := range computed {
		if !used[name] {
			t.Errorf("nobody asks for %s", name)
		}
	}
}

// Panels do not lie over each other, and none is wider than the page.
func TestPanelsHaveTheirPlace(t *testing.T) {
	for _, b := range Boards() {
		text, err := b.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Panels []struct {
				ID      int
				GridPos struct{ X, Y, W, H int }
			}
		}
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		taken, ids := map[[2]int]int{}, map[int]bool{}
		for _, p := range read.Panels {
			if ids[p.ID] || p.GridPos.W < 4 || p.GridPos.X+p.GridPos.W > gridColumns {
				t.Errorf("%s: panel %d is at %+v", b.UID, p.ID, p.GridPos)
			}
			ids[p.ID] = true
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if taken[at] > 0 {
						t.Errorf("%s: panels %d and %d share %v", b.UID, taken[at], p.ID, at)
					}
					taken[at] = p.ID
				}
			}
		}
	}
}

// Each alert says how bad it is, what is wrong, and what to do.
func TestRulesSayWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.Alert] || r.Labels["severity"] == "" || r.Annotations["summary"] == "" ||
			r.Annotations["description"] == "" || !strings.HasPrefix(r.Alert, "Tulle") {
			t.Errorf("%+v", r)
		}
		seen[r.Alert] = true
	}
}

func TestObjectsAreFound(t *testing.T) {
	o := Object{Namespace: "monitoring", Labels: map[string]string{"release": "prometheus"}}
	rule, err := PrometheusRule(Rules(), o)
	if err != nil {
		t.Fatal(err)
	}
	boards := Boards()
	configMap, err := boards[0].ConfigMap(o)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{string(rule): "release",
		string(configMap): boardLabel} {
		var read struct {
			Metadata struct {
				Namespace string
				Labels    map[string]string
			}
		}
		if err := yaml.Unmarshal([]byte(text), &read); err != nil {
			t.Fatal(err)
		}
		if read.Metadata.Namespace != "monitoring" || read.Metadata.Labels[want] == "" {
			t.Errorf("%+v has no %s", read, want)
		}
	}
}
