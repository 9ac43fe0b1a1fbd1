package viz

import (
	"encoding/hex"
	"maps"
	"math/bits"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tulle-mesh/tulle/viz/api"
)

// exemplar is a request that was counted, and whose spans were exported.
type exemplar struct {
	trace [16]byte
	span  [8]byte
	took  time.Duration
	at    time.Time // when viz heard of it: proxies' clocks differ
}

// maxTook is the longest that is believed.
const maxTook = 24 * time.Hour

// exemplarOf is what a proxy tells, or nil if that is none.
func exemplarOf(m *api.Exemplar) *exemplar {
	if len(m.GetTraceId()) != 16 || len(m.GetSpanId()) != 8 ||
		m.LatencyUs > uint64(maxTook/time.Microsecond) {
		return nil
	}
	e := &exemplar{took: time.Duration(m.LatencyUs) * time.Microsecond}
	copy(e.trace[:], m.TraceId)
	copy(e.span[:], m.SpanId)
	return e
}

// exemplars are the newest of each power of two of microseconds that requests took: a classic
// bucket is one or two of these. There are few.
type exemplars map[int]exemplar

func (e *exemplar) power() int { return bits.Len64(uint64(e.took / time.Microsecond)) }

func (all *exemplars) put(now time.Time, e *exemplar) {
	if e == nil {
		return
	}
	if *all == nil {
		*all = make(exemplars)
	}
	if was := (*all)[e.power()]; was.trace != e.trace || was.span != e.span {
		one := *e
		one.at = now
		(*all)[e.power()] = one
	}
}

// add takes those of others that are newer.
func (all *exemplars) add(others exemplars) {
	if *all == nil {
		*all = maps.Clone(others)
		return
	}
	for power, e := range others {
		if e.at.After((*all)[power].at) {
			(*all)[power] = e
		}
	}
}

func (e *exemplar) message(unit time.Duration) *dto.Exemplar {
	label := func(name string, value []byte) *dto.LabelPair {
		return &dto.LabelPair{Name: proto.String(name),
			Value: proto.String(hex.EncodeToString(value))}
	}
	return &dto.Exemplar{
		Label: []*dto.LabelPair{label("trace_id", e.trace[:]), label("span_id", e.span[:])},
		Value: proto.Float64(float64(e.took) / float64(unit)), Timestamp: timestamppb.New(e.at),
	}
}
