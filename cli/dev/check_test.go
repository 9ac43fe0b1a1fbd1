package dev

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/viz"
)

const (
	webID = "spiffe://cluster.local/ns/shop/sa/web"
	outID = "spiffe://cluster.local/ns/shop/sa/checkout"
)

// checkedPorts are web → checkout, both meshed, and legacy → checkout, of which legacy is not.
func checkedPorts() *Ports {
	checkout := []Target{{"checkout", outID}}
	return &Ports{
		Namespace: "shop",
		Instances: []Instance{
			{Name: "web-0", Workload: "web", Mesh: "x"},
			{Name: "checkout-0", Workload: "checkout", Mesh: "x"},
			{Name: "legacy-0", Workload: "legacy"},
		},
		Calls: []Call{
			{From: "web", FromID: webID, Service: "checkout", Possible: checkout},
			{From: "legacy", Service: "checkout", Possible: checkout},
		},
	}
}

// goodEdges is what they look like when all is well.
func goodEdges() *Edges {
	return &Edges{
		Rows: []viz.EdgeRow{
			{Src: "web", SrcKind: "deployment", Dst: "checkout", ClientID: webID, ServerID: outID,
				Encrypted: true, Security: "mtls", ReportedBy: "both"},
			{Src: "127.0.0.1", SrcKind: "address", Dst: "checkout", Security: "plaintext-unmeshed",
				ReportedBy: "server"},
		},
		Records: []Record{
			{From: "web-0", To: "checkout-0", Connections: 2, TLS: 2, BytesTo: 10},
			{From: "legacy-0", To: "checkout-0", Connections: 1, BytesTo: 10, Markers: 3},
		},
	}
}

// Each thing that can be wrong is found, and nothing else.
func TestCheckCalls(t *testing.T) {
	cases := []struct {
		name    string
		change  func(*Edges)
		want    string // "": all is well
		settled bool
	}{
		{"all is well", func(*Edges) {}, "", true},
		{"plaintext", func(e *Edges) {
			e.Rows[0].Encrypted, e.Rows[0].Reason = false, "port skipped"
		}, "web → checkout: not encrypted", true},
		{"wrong client", func(e *Edges) { e.Rows[0].ClientID = outID },
			`the client proved to be "` + outID, true},
		{"no client", func(e *Edges) { e.Rows[0].ClientID = "" },
			`the client proved to be ""`, true},
		{"wrong server", func(e *Edges) { e.Rows[0].ServerID = webID },
			`the server proved to be "` + webID, true},
		{"one side only", func(e *Edges) { e.Rows[0].ReportedBy = "client" },
			"only the client's proxy tells of this edge", false},
		{"one side of a second server only", func(e *Edges) {
			row := e.Rows[0]
			row.ReportedBy = "client"
			e.Rows = append(e.Rows, row)
		}, "only the client's proxy tells of this edge", false},
		{"an edge beside", func(e *Edges) {
			e.Rows = append(e.Rows, viz.EdgeRow{Src: "checkout", SrcKind: "deployment", Dst: "web"})
		},
			"checkout → web: plaintext between meshed workloads", true},
		{"the marker between proxies", func(e *Edges) { e.Records[0].Markers = 1 },
			"read the marker 1 times", true},
		{"a connection without TLS", func(e *Edges) { e.Records[0].TLS = 1 },
			"of 2 connections between the proxies only 1 began with TLS", true},
		{"TLS without a proxy", func(e *Edges) { e.Records[1].TLS = 1 },
			"TLS where an end has no proxy", true},
		{"no traffic", func(e *Edges) { e.Rows, e.Records = nil, nil },
			"nobody has made this call yet", false},
		{"no unmeshed traffic", func(e *Edges) { e.Rows, e.Records = e.Rows[:1], nil },
			"legacy → checkout: nobody has made this call yet", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			edges := goodEdges()
			c.change(edges)
			findings, settled := checkCalls(checkedPorts(), edges)
			var wrong []string
			for _, f := range findings {
				if !f.OK {
					wrong = append(wrong, f.Text)
				}
			}
			if settled != c.settled {
				t.Errorf("settled %v, want %v", settled, c.settled)
			}
			if c.want == "" && len(wrong) > 0 ||
				c.want != "" && !strings.Contains(strings.Join(wrong, "\n"), c.want) {
				t.Errorf("found %q, want %q", wrong, c.want)
			}
		})
	}
}
