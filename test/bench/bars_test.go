package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestEveryBarIsOfARow(t *testing.T) {
	rows := append((&apps{}).allRows(), memoryRows()...)
	for _, b := range append(bars(), quickBars()...) {
		if !slices.ContainsFunc(rows, func(r row) bool { return r.name == b.row }) {
			t.Errorf("no row is called %s", b.row)
		}
	}
}

func TestABarIsHeldAgainstTheBest(t *testing.T) {
	r := result{cells: []cell{
		{peer: "direct", figures: figures{rate: 900, p99: 1}},
		{peer: "tulle", figures: figures{rate: 100, p99: 3, value: 5}},
		{peer: "haproxy", figures: figures{rate: 110, p99: 5}},
		{peer: "haproxy-h1", figures: figures{rate: 120, p99: 4}},
		{peer: "envoy", err: errors.New("7 requests failed")},
	}}
	for _, tt := range []struct {
		name string
		bar  bar
		got  float64
		who  string
		word string
	}{
		{"enough", bar{figure: rate, against: anyHAProxy, must: 0.8, goal: 1}, 100. / 120,
			"haproxy-h1", "ok"},
		{"as much as hoped", bar{figure: rate, against: anyHAProxy, must: 0.5, goal: 0.8},
			100. / 120, "haproxy-h1", "goal"},
		{"too little", bar{figure: rate, against: anyHAProxy, must: 0.9, goal: 1}, 100. / 120,
			"haproxy-h1", "MISSED"},
		{"quick enough", bar{figure: p99, against: anyHAProxy, must: 1, goal: 0.5}, 3. / 4,
			"haproxy-h1", "ok"},
		{"what is added", bar{figure: p99, added: true, against: anyHAProxy, must: 0.6, goal: 0.5},
			2. / 3, "haproxy-h1", "MISSED"},
		{"alone", bar{figure: value, must: 5, goal: 4}, 5, "", "ok"},
		{"too much, alone", bar{figure: value, must: 4.9, goal: 4}, 5, "", "MISSED"},
		{"nobody to beat", bar{figure: rate, against: onlyEnvoy, must: 3, goal: 4}, 0,
			"", "not judged"},
	} {
		v := tt.bar.hold(r)
		if v.got != tt.got && v.unjudged == "" || v.who != tt.who || v.word() != tt.word {
			t.Errorf("%s: %v of %q, %s; want %v of %q, %s",
				tt.name, v.got, v.who, v.word(), tt.got, tt.who, tt.word)
		}
	}
}

// What slows the machine down for a round slows everybody, and decides nothing.
func TestRoundsAreCompared(t *testing.T) {
	rounds := func(all ...float64) (out []figures) {
		for _, f := range all {
			out = append(out, figures{rate: f})
		}
		return out
	}
	r := result{cells: []cell{
		{peer: "tulle", figures: figures{rate: 60}, rounds: rounds(100, 50, 60)},
		{peer: "envoy", figures: figures{rate: 70}, rounds: rounds(90, 48, 70)},
	}}
	v := bar{figure: rate, against: onlyEnvoy, must: 1}.hold(r)
	if v.missed || v.got != 50./48 || v.ours != 60 || v.theirs != 70 {
		t.Errorf("%+v", v)
	}
}

func TestOursThatFailedIsAMiss(t *testing.T) {
	r := result{
		cells: []cell{{peer: "tulle", err: failed(3)}, {peer: "envoy", figures: figures{rate: 1}}},
	}
	v := bar{figure: rate, against: onlyEnvoy, must: 1}.hold(r)
	if !v.missed || !strings.Contains(strings.Join(v.columns(), " "), "3 requests failed") {
		t.Errorf("%+v", v)
	}
}
