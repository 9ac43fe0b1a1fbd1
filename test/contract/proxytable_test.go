package contract

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
)

// strictly are the messages of destination.proto in which, and in all that is in them, a proxy may
// not skip a field.
var strictly = []protoreflect.FullName{
	"tulle.destination.v1.Match", "tulle.destination.v1.Filter",
	"tulle.destination.v1.ResponseMatch", "tulle.destination.v1.Authorization",
	"tulle.destination.v1.Hedge", "tulle.destination.v1.ClusterLimits",
	"tulle.destination.v1.OutlierDetection", "tulle.destination.v1.RateLimit",
	"tulle.destination.v1.LocalityPreference",
	"tulle.destination.v1.Retry", "tulle.destination.v1.Fault",
	"tulle.destination.v1.HealthCheck",
	"tulle.destination.v1.Concurrency",
	"tulle.destination.v1.Tracing",
}

// elsewhere are the places of a DiscoverResponse that no resource has, and what is expected there.
// A oneof or an enum that is in no resource and not here fails the test.
var elsewhere = map[string]func(*road, place, fault){
	// There is nothing to reject. The stream goes on, and nothing that is held changes.
	"message": ignored,
	// It names no key of the proxy's. Nobody waits for such an answer.
	"invalid.key.key": ignored,
}

// beyond are the filters of what is carried unread: the proxy refuses them as such, whatever is in
// them.
func beyond(p place) bool { return p.under("route") && (p.under("tls") || p.under("tcp")) }

// names reports whether a reason says where the fault is: by the field's name, the message's, or
// that such a connection has no filters.
func names(reason string, p place) bool {
	reason = strings.ToLower(reason)
	if beyond(p) {
		return strings.Contains(reason, "has no filters")
	}
	field := strings.ReplaceAll(strings.ToLower(p.name()), "_", " ")
	return strings.Contains(reason, field) ||
		p.enum == nil && strings.Contains(reason, strings.ToLower(p.holder()))
}

// What a proxy does not know in what destination says makes the resource unusable, wherever it is:
// it is rejected by name, and the reason says where; nothing is sent or admitted by it; what was
// held before stays in use.
func TestWhatAProxyDoesNotKnowIsRejected(t *testing.T) {
	all := places(&api.DiscoverResponse{}, strictly...)
	r := newRoad(t, len(all))
	seen := map[string]bool{}
	for i, p := range all {
		seen[p.String()] = true
		t.Run(p.String(), func(t *testing.T) {
			defer func(outer testing.TB) { r.t = outer }(r.t)
			r.t = t
			r.place(r.lanes[i], p)
		})
	}
	for name := range elsewhere {
		if !seen[name] {
			t.Errorf("%s is excused and does not exist", name)
		}
	}
}

func (r *road) place(l *lane, p place) {
	if expected := elsewhere[p.String()]; expected != nil {
		r.open(l)
		r.becomes(l, 200)
		for _, f := range p.faults() {
			expected(r, p, f)
			r.serves(l, p, f, 200)
		}
		return
	}
	if !strings.HasPrefix(p.String(), "resources.resources.") {
		r.t.Fatal("no resource has this: add it to elsewhere, and say what is to happen")
	}
	r.resource(l, p)
}

// ignored sends what changes nothing.
func ignored(r *road, p place, f fault) {
	r.t.Helper()
	m := p.in(&api.DiscoverResponse{}, f.plant)
	r.say(encode(r.t, m))
}

// resource takes a lane from its first answer to its last: what is unknown, what is good, what is
// unknown again.
func (r *road) resource(l *lane, p place) {
	if p.under("config") {
		r.config(l, p)
		return
	}
	route, cluster, endpoints, inbound := r.open(l)
	good := map[string]*api.Resource{
		"route": route, "cluster": cluster, "endpoints": endpoints, "inbound": inbound,
		"endpoints_delta": l.delta(endpoints.Version),
	}
	body := "route" // of what is about the resource itself
	for name := range good {
		if p.under(name) {
			body = name
		}
	}
	subject := good[body]
	if body != "endpoints_delta" {
		r.first(l, p, subject, []*api.Resource{cluster, endpoints, route, inbound})
	}
	r.answer(api.KeyString(l.portKey()), encode(r.t, resources(inbound))) // if nobody has asked yet
	r.send(same(cluster), endpoints, same(route), same(inbound))
	r.becomes(l, 200)
	r.control(l, p, subject)
	r.send(same(cluster), endpoints, same(route), same(inbound))
	r.becomes(l, 200)
	for _, f := range p.faults() {
		r.refused(l, p, f, subject)
		r.serves(l, p, f, 200)
	}
	if body == "inbound" {
		r.send(l.policy(api.Action_ACTION_DENY))
		r.becomes(l, 403)
		for _, f := range p.faults() {
			r.refused(l, p, f, subject)
			r.serves(l, p, f, 403)
		}
	}
}

// config takes what the proxy is told about itself from its first word to its last: what is unknown
// is rejected, and the last good one holds.
func (r *road) config(l *lane, p place) {
	good := func(level api.Level) *api.Resource {
		return &api.Resource{Kind: api.Kind_KIND_CONFIG, Name: "self", Version: version(),
			Body: &api.Resource_Config{Config: &api.Config{Log: &api.Log{Level: level},
				AccessLog: &api.AccessLog{Format: api.Format_FORMAT_NONE},
				Tracing: &api.Tracing{Endpoint: "127.0.0.1:9", SpansPerSecond: 1,
					Protocol: api.Transport_TRANSPORT_GRPC}}}}
	}
	for _, f := range p.faults() {
		r.refused(l, p, f, good(api.Level_LEVEL_WARN))
		r.logs("info")
	}
	r.control(l, p, good(api.Level_LEVEL_WARN))
	r.send(good(api.Level_LEVEL_WARN))
	r.logs("warn")
	for _, f := range p.faults() {
		r.refused(l, p, f, good(api.Level_LEVEL_DEBUG))
		r.logs("warn")
	}
	r.send(removal(good(api.Level_LEVEL_WARN)))
	r.logs("info")
}

// logs waits until the proxy logs at a level.
func (r *road) logs(want string) {
	r.t.Helper()
	await.True(r.t, "the proxy logs at "+want, func() bool { return r.proxy.level(r.t) == want })
}

// first sends a lane everything but for the subject, which is never good. No request gets through.
func (r *road) first(l *lane, p place, subject *api.Resource, all []*api.Resource) {
	r.t.Helper()
	r.answer(api.KeyString(l.key()))
	r.answer(api.KeyString(l.portKey()))
	r.asks(l, api.KeyString(l.key()))
	var rest []*api.Resource
	for _, one := range all {
		if one != subject {
			rest = append(rest, one)
		}
	}
	r.send(rest...)
	if subject.Kind == api.Kind_KIND_INBOUND {
		r.asks(l, api.KeyString(l.portKey())) // now that there is a way to it
	}
	for _, f := range p.faults() {
		r.refused(l, p, f, subject)
		if status, body := r.get(l); status != 503 && status != 403 {
			r.t.Errorf("%s as the first answer: a request gets %d %s", f.name, status, body)
		}
	}
}

// asks sends requests until the proxy has asked for a key.
func (r *road) asks(l *lane, name string) {
	r.t.Helper()
	await.True(r.t, "the proxy asks for "+name, func() bool {
		r.get(l)
		for {
			select {
			case got := <-r.asked:
				if got == name {
					return true
				}
			default:
				return false
			}
		}
	})
}

// refused sends a version of the subject with a fault in it, and waits for the proxy's word.
func (r *road) refused(l *lane, p place, f fault, subject *api.Resource) {
	r.t.Helper()
	m, bad := r.with(p, f.plant, subject)
	rejected := r.rejection(m)
	if rejected == nil {
		r.t.Fatalf("%s is not rejected", f.name)
	}
	if rejected.Kind != bad.Kind || rejected.Name != bad.Name || rejected.Version != bad.Version {
		r.t.Fatalf("%s in %v is answered by %v", f.name, bad, rejected)
	}
	if !names(rejected.Reason, p) {
		r.t.Errorf("%s: the reason does not say where: %s", f.name, rejected.Reason)
	}
}

// control sends the same with something known at the place, which must not be rejected: then it is
// the fault that is, and not what is around it.
func (r *road) control(l *lane, p place, subject *api.Resource) {
	r.t.Helper()
	if beyond(p) {
		return // nothing may be there
	}
	m, _ := r.with(p, p.known, subject)
	if rejected := r.rejection(m); rejected != nil {
		r.t.Errorf("what is known is rejected: %v", rejected)
	}
}

// rejection sends a response, and returns what the proxy says of it, or nil. A resource that it
// surely rejects comes after it.
func (r *road) rejection(m proto.Message) *api.Rejected {
	r.t.Helper()
	r.say(encode(r.t, m))
	last := &api.Resource{Kind: unknownNumber, Name: "last", Version: version()}
	r.send(last)
	rejected := r.rejects("a kind that there is not")
	if rejected.Version == last.Version {
		return nil
	}
	r.rejects("a kind that there is not")
	return rejected
}

// with is a response with another version of the subject in it, changed at a place.
func (r *road) with(
	p place, change func(protoreflect.Message), subject *api.Resource,
) (proto.Message, *api.Resource) {
	fresh := same(subject)
	m := p.in(resources(fresh), change)
	return m, m.(*api.DiscoverResponse).GetResources().GetResources()[0]
}

func (r *road) serves(l *lane, p place, f fault, want int) {
	r.t.Helper()
	if status, body := r.get(l); status != want {
		r.t.Errorf("%s: a request gets %d %s, want %d", f.name, status,
			strings.TrimSpace(body), want)
	}
}
