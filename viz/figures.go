package viz

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// figures are the group's numbers.
func (g *group) figures() Figures {
	t, w := &g.total, &g.window
	f := Figures{
		Requests: t[requests], Failures: t[failures], Tries: t[tries], FailedTries: t[failedTries],
		Retries:        t[retries],
		RetriesRefused: t[retriesRefused], Timeouts: t[timeouts],
		Faulted: t[faultedRequests], Limited: t[limitedRequests],
		ConnectionsOpened: t[connectionsOpened], Connections: g.open,
		ReadBytes: t[readBytes], WrittenBytes: t[writtenBytes],
		WindowRequests: w[requests], WindowFailures: w[failures], WindowTries: w[tries],
		WindowRetries:     w[retries],
		WindowTimeouts:    w[timeouts],
		WindowFaulted:     w[faultedRequests],
		WindowLimited:     w[limitedRequests],
		WindowTriesInZone: w[triesInZone], WindowTriesInRegion: w[triesInRegion],
		WindowTriesFarther: w[triesFarther],
		InZone:             ratio(w[triesInZone], w[triesInZone]+w[triesInRegion]+w[triesFarther]),
		SuccessRate:        success(w[failures], w[requests]),
		ActualSuccessRate:  success(w[failedTries], w[tries]),
		RetryRate:          ratio(w[retries], w[requests]),
	}
	if seconds := g.elapsed.Seconds(); seconds > 0 {
		f.RPS, f.ActualRPS = float64(w[requests])/seconds, float64(w[tries])/seconds
		f.ReadBytesPerSecond, f.WrittenBytesPerSecond = float64(w[readBytes])/seconds,
			float64(w[writtenBytes])/seconds
	}
	f.Ejected, f.Endpoints = g.standing.sums()
	counts := g.latency.counts()
	f.P50Ms, f.P95Ms, f.P99Ms = quantile(counts, 0.50), quantile(counts, 0.95),
		quantile(counts, 0.99)
	return f
}

func quantile(counts []uint64, q float64) *float64 {
	if counts == nil {
		return nil
	}
	ms := float64(metric.Quantile(counts, q)) / float64(time.Millisecond)
	return &ms
}

// trend is the requests per second of the slots before the current one, oldest first.
func (g *group) trend() []float64 {
	out := make([]float64, trendSlots)
	if g.slots == nil {
		return out
	}
	for i, sum := range g.slots {
		if sum.elapsed > 0 {
			out[i] = float64(sum.requests) / sum.elapsed.Seconds()
		}
	}
	return out
}

// success is nil where there was nothing to succeed.
func success(failed, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	rate := max(0, 1-float64(failed)/float64(all))
	return &rate
}

func ratio(part, all uint64) *float64 {
	if all == 0 {
		return nil
	}
	r := float64(part) / float64(all)
	return &r
}
