package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

// Finding is one thing that Check looked at. A Warning is about an application, and the mesh is in
// order.
type Finding struct {
	OK, Warning bool
	Text        string
}

func good(format string, args ...any) Finding {
	return Finding{OK: true, Text: fmt.Sprintf(format, args...)}
}

func bad(format string, args ...any) Finding { return Finding{Text: fmt.Sprintf(format, args...)} }

// Edges are what viz and the relays know of who talks to whom.
type Edges struct {
	Rows    []viz.EdgeRow
	Records []Record // empty without --record
}

// checkPause is between looks: proxies report each second.
const checkPause = 500 * time.Millisecond

// Check asks a running mesh whether every call in its mesh.yaml is as it must be: encrypted, with
// the right identity at both ends, or in plaintext because an end has no proxy. It waits up to wait
// for calls that nobody has made yet.
func Check(ctx context.Context, dir string, wait time.Duration) ([]Finding, error) {
	ports, err := ReadPorts(dir)
	if err != nil {
		return nil, err
	}
	out := checkProxies(ctx, ports)
	client := viz.NewClient(ports.VizQuery)
	for deadline := time.Now().Add(wait); ; {
		edges, err := readEdges(ctx, dir, client, ports)
		if err != nil {
			return nil, err
		}
		calls, settled := checkCalls(ports, edges)
		if settled || time.Now().After(deadline) {
			return append(append(out, calls...), checkPropagation(ctx, client)...), nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(checkPause):
		}
	}
}

// checkPropagation names services that do not pass on the headers of traces.
func checkPropagation(ctx context.Context, client *viz.Client) []Finding {
	p, err := client.Propagation(ctx)
	if err != nil {
		return []Finding{bad("viz does not say who passes on the headers of traces: %v", err)}
	}
	var out []Finding
	for _, who := range p.Losing() {
		out = append(out, Finding{OK: true, Warning: true,
			Text: who + ": it does not pass on the headers of traces (docs/tracing.md)"})
	}
	return out
}

func checkProxies(ctx context.Context, ports *Ports) []Finding {
	var out []Finding
	n := 0
	for k := range ports.Instances {
		i := &ports.Instances[k]
		if i.Mesh == "" {
			continue
		}
		if ok, reason := ready(ctx, i.Admin); ok {
			n++
		} else {
			out = append(out, bad("the proxy of %s is not ready: %s", i.Name,
				cmp.Or(reason, "it does not answer on "+i.Admin)))
		}
	}
	if len(out) == 0 {
		out = append(out, good("all %d proxies are ready", n))
	}
	return out
}

func readEdges(ctx context.Context, dir string, client *viz.Client, ports *Ports) (*Edges, error) {
	answer, err := client.Edges(ctx, viz.Query{Resource: "deploy", Namespace: ports.Namespace})
	if err != nil {
		return nil, err
	}
	records, err := Records(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &Edges{answer.Rows, records}, nil
}

// checkCalls looks at each call; settled is whether every one has been made and all that can be
// known is known.
func checkCalls(ports *Ports, edges *Edges) (out []Finding, settled bool) {
	settled = true
	for _, c := range ports.Calls {
		findings, seen := checkCall(ports, &c, edges)
		out = append(out, findings...)
		settled = settled && seen
	}
	return append(out, checkUnexpected(ports, edges)...), settled
}

func checkCall(ports *Ports, c *Call, edges *Edges) (out []Finding, seen bool) {
	both, one := 0, 0
	for _, t := range c.Possible {
		if c.FromID == "" || t.ID == "" {
			continue
		}
		for k := range edges.Rows {
			if row := &edges.Rows[k]; row.Src == c.From && row.Dst == t.Workload {
				if row.ReportedBy == "both" {
					both++
				} else {
					one++ // the other proxy's report may be on its way
				}
				out = append(out, checkEdge(c, t, row))
			}
		}
	}
	seen = both > 0 && one == 0
	if c.FromID == "" || !slices.ContainsFunc(c.Possible, func(t Target) bool {
		return t.ID != ""
	}) {
		if seen = checkUnmeshed(c, edges); seen {
			out = append(out, good("%s → %s: in plaintext, because an end has no proxy", c.From,
				c.Service))
		}
	}
	out = append(out, checkRecords(ports, c, edges.Records)...)
	if len(out) == 0 {
		return []Finding{bad("%s → %s: nobody has made this call yet, so nothing is known of it",
			c.From, c.Service)}, false
	}
	return out, seen
}

// checkEdge is a call between meshed ends.
func checkEdge(c *Call, t Target, row *viz.EdgeRow) Finding {
	name := c.From + " → " + t.Workload
	switch {
	case !row.Encrypted:
		return bad("%s: not encrypted (%s: %s)", name, row.Security, row.Reason)
	case row.ClientID != c.FromID:
		return bad("%s: the client proved to be %q, not %q", name, row.ClientID, c.FromID)
	case row.ServerID != t.ID:
		return bad("%s: the server proved to be %q, not %q", name, row.ServerID, t.ID)
	case row.ReportedBy != "both":
		return bad("%s: only the %s's proxy tells of this edge", name, row.ReportedBy)
	}
	return good("%s: mTLS, %s → %s, as both proxies tell", name, row.ClientID, row.ServerID)
}

// checkUnmeshed says whether a call with an unmeshed end has been seen, by whichever proxy there
// is.
func checkUnmeshed(c *Call, edges *Edges) bool {
	for _, t := range c.Possible {
		for k := range edges.Rows {
			row := &edges.Rows[k]
			fromUnmeshed := c.FromID == "" && row.SrcKind == "address" && row.Dst == t.Workload
			toUnmeshed := t.ID == "" && row.Src == c.From &&
				(row.Dst == t.Workload || row.Dst == c.Service)
			if (fromUnmeshed || toUnmeshed) && !row.Encrypted {
				return true
			}
		}
	}
	// no proxy sees it
	return c.FromID == "" && slices.ContainsFunc(c.Possible, func(t Target) bool {
		return t.ID == ""
	})
}

// checkUnexpected finds plaintext where none is allowed: between two workloads that both have
// proxies.
func checkUnexpected(ports *Ports, edges *Edges) []Finding {
	meshed := map[string]bool{}
	for k := range ports.Instances {
		meshed[ports.Instances[k].Workload] = ports.Instances[k].Mesh != ""
	}
	var out []Finding
	for k := range edges.Rows {
		row := &edges.Rows[k]
		if row.SrcKind == "deployment" && meshed[row.Src] && meshed[row.Dst] && !row.Encrypted {
			out = append(out, bad("%s → %s: plaintext between meshed workloads (%s: %s)", row.Src,
				row.Dst, row.Security, row.Reason))
		}
	}
	return out
}

// checkRecords looks at what the relays read on a call's way, where there are relays.
func checkRecords(ports *Ports, c *Call, records []Record) []Finding {
	var out []Finding
	for k := range records {
		r := &records[k]
		from, to := workloadNamed(ports, r.From), workloadNamed(ports, r.To)
		if from != c.From || !slices.ContainsFunc(c.Possible, func(t Target) bool {
			return t.Workload == to
		}) {
			continue
		}
		if err := checkRecord(c, to, r); err != nil {
			out = append(out, bad("%s → %s: %v", r.From, r.To, err))
			continue
		}
		out = append(
			out,
			good("%s → %s: %d bytes over %d connections, %d with TLS, the marker read %d times",
				r.From, r.To, r.BytesTo+r.BytesFrom, r.Connections, r.TLS, r.Markers))
	}
	return out
}

func checkRecord(c *Call, to string, r *Record) error {
	meshed := c.FromID != "" && slices.ContainsFunc(c.Possible, func(t Target) bool {
		return t.Workload == to && t.ID != ""
	})
	switch {
	case meshed && r.Markers > 0:
		return fmt.Errorf("the relay between the proxies read the marker %d times", r.Markers)
	case meshed && r.TLS != r.Connections:
		return fmt.Errorf("of %d connections between the proxies only %d began with TLS",
			r.Connections, r.TLS)
	case !meshed && r.TLS > 0:
		return errors.New("TLS where an end has no proxy: somebody else is on the way")
	}
	return nil
}

func workloadNamed(ports *Ports, instance string) string {
	for k := range ports.Instances {
		if ports.Instances[k].Name == instance {
			return ports.Instances[k].Workload
		}
	}
	return ""
}
