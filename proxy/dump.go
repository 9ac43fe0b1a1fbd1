package proxy

import (
	"errors"
	"runtime"
	"runtime/trace"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/admin"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/record"
)

// What a dump may take, in bytes and in time. Nothing of it is kept or recorded before somebody
// asks.
const (
	maxStacks   = 1 << 20
	maxTrace    = 4 << 20
	traceLength = 4 * time.Second // the admin port ends what takes longer than ten
)

// pages are what 'meshctl debug dump' collects, on the admin port, for the pod itself alone. None
// has a key, a token, or what a header is set to.
func (p *Proxy) pages() []admin.Page {
	return []admin.Page{
		{Path: "/debug/proxy", Type: "application/json", Write: p.writeProxy},
		{Path: "/debug/config", Type: "application/x-protobuf", Write: p.writeConfig},
		{Path: "/debug/clusters", Type: "application/x-ndjson", Write: p.writeClusters},
		{Path: "/debug/goroutines", Type: "text/plain; charset=utf-8", Write: writeStacks},
		{Path: "/debug/trace", Type: "application/octet-stream", Write: p.writeTrace},
	}
}

// writeProxy says who this proxy is, and how it is.
func (p *Proxy) writeProxy(send func([]byte) bool) {
	h := p.discovery.Holding()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	o := object{}
	o.text("version", p.version)
	o.text("go", runtime.Version())
	o.text("pod", p.cfg.Pod)
	o.text("identity", p.cfg.Identity)
	if svid := p.source.SVID(); svid != nil {
		o.text("certificateExpiry", svid.Certificates[0].NotAfter.UTC().Format(time.RFC3339))
	}
	for _, why := range p.unready() {
		o.text("unready", why)
	}
	o.text("logLevel", p.level.Level().String())
	o.text("configRevision", h.Revision)
	o.number("configAgeMs", h.Age.Milliseconds())
	o.number("configConnected", flag(h.Connected))
	o.number("connections", p.metrics.Connections.Load())
	o.number("goroutines", int64(runtime.NumGoroutine()))
	for _, x := range []struct {
		name string
		n    uint64
	}{{"heapAlloc", m.HeapAlloc}, {"heapInuse", m.HeapInuse}, {"heapIdle", m.HeapIdle},
		{"heapReleased", m.HeapReleased}, {"heapObjects", m.HeapObjects},
		{"stackInuse", m.StackInuse}, {"sys", m.Sys}, {"totalAlloc", m.TotalAlloc},
		{"numGC", uint64(m.NumGC)}, {"pauseTotalNs", m.PauseTotalNs}} {
		o.number(x.name, int64(x.n))
	}
	send(o.end())
}

// writeConfig sends what is held of destination's, which together is one message: api.Resources.
func (p *Proxy) writeConfig(send func([]byte) bool) {
	for _, m := range p.discovery.Held() {
		body, err := proto.Marshal(m.Redact())
		if err != nil {
			p.log.Debug("cannot dump a resource", "kind", m.Kind, "name", m.Name, "err", err)
			continue
		}
		if !send(protowire.AppendBytes(
			protowire.AppendTag(nil, resourcesField, protowire.BytesType), body)) {
			return
		}
	}
}

// resourcesField is the number of api.Resources' one field.
const resourcesField = 1

// writeClusters sends a line for each endpoint, and one for each cluster without any.
func (p *Proxy) writeClusters(send func([]byte) bool) {
	now, goes := time.Now(), true
	for _, c := range p.discovery.Clusters() {
		set := c.Current()
		if set == nil || len(set.All) == 0 {
			o := object{}
			o.text("cluster", c.Name)
			o.number("waiting", int64(c.Waiting()))
			goes = goes && send(o.end())
			continue
		}
		set.Each(now, func(m *api.Endpoint, s balance.Standing) {
			goes = goes && send(endpointLine(c, m, s))
		})
	}
}

func endpointLine(c *balance.Cluster, m *api.Endpoint, s balance.Standing) []byte {
	o := object{}
	o.text("cluster", c.Name)
	o.text("endpoint", m.Id)
	o.text("address", m.Address)
	o.text("meshAddress", m.MeshAddress)
	o.text("identity", m.Identity)
	o.text("zone", m.GetLocality().GetZone())
	o.text("node", m.GetLocality().GetNode())
	o.number("weight", int64(max(1, m.Weight)))
	o.number("ewmaUs", s.Latency.Microseconds())
	o.number("measured", flag(s.Measured))
	o.number("inFlight", s.Pending)
	o.number("restsMs", s.Rests.Milliseconds())
	o.number("failedDials", int64(s.Failures))
	o.number("ejected", flag(s.Ejected))
	o.number("ejectedForMs", s.Ejection.Milliseconds())
	return o.end()
}

func flag(set bool) int64 {
	if set {
		return 1
	}
	return 0
}

// object is a line of JSON.
type object struct{ b []byte }

func (o *object) name(name string) {
	separator := byte(',')
	if len(o.b) == 0 {
		separator = '{'
	}
	o.b = append(record.AppendString(append(o.b, separator), name), ':')
}

func (o *object) text(name, value string) {
	if value != "" {
		o.name(name)
		o.b = record.AppendString(o.b, value)
	}
}

func (o *object) number(name string, n int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, n, 10)
}

func (o *object) end() []byte { return append(o.b, "}\n"...) }

// writeStacks sends every goroutine's stack.
func writeStacks(send func([]byte) bool) {
	stacks := make([]byte, maxStacks)
	send(stacks[:runtime.Stack(stacks, true)])
}

// writeTrace records what the runtime does for some seconds, and sends as much of its end as fits.
func (p *Proxy) writeTrace(send func([]byte) bool) {
	r := trace.NewFlightRecorder(trace.FlightRecorderConfig{
		MinAge: traceLength, MaxBytes: maxTrace,
	})
	if err := r.Start(); err != nil {
		send([]byte(err.Error())) // another one runs
		return
	}
	defer r.Stop()
	p.sleep(traceLength)
	if _, err := r.WriteTo(sender(send)); err != nil {
		p.log.Debug("cannot dump a trace", "err", err)
	}
}

// sender is where a trace is written to.
type sender func([]byte) bool

var errNobody = errors.New("nobody takes it any more")

// Write is io.Writer's.
func (s sender) Write(b []byte) (int, error) {
	if !s(b) {
		return 0, errNobody
	}
	return len(b), nil
}
