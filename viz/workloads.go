package viz

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// maxWorkloads bounds those that have series of their own for what is known of their proxies; the
// others are one.
const maxWorkloads = 1000

// fleet is what is known of a workload's proxies.
type fleet struct {
	versions map[string]int // how many there are of each
	expiry   time.Time      // the earliest of their certificates'
	dropped  uint64         // recordings that they folded into "other"
	age      time.Duration  // how old what one of them holds may be: the most
}

// writeWorkloads writes what is known of the proxies that report.
func (s *store) writeWorkloads(p page, now time.Time) {
	all := s.fleets(now)
	names := slices.SortedFunc(maps.Keys(all), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.kind, b.kind),
			cmp.Compare(a.name, b.name))
	})
	p.family(family{"tulle_workload_proxies", "Proxies that report, by version."}, gaugeFamily)
	for _, k := range names {
		for _, version := range slices.Sorted(maps.Keys(all[k].versions)) {
			p.sample(append(k.labels(), "version", version),
				float64(all[k].versions[version]))
		}
	}
	p.family(family{"tulle_workload_certificate_expiry_timestamp_seconds",
		"When the first of its proxies' certificates ends."}, gaugeFamily)
	for _, k := range names {
		if e := all[k].expiry; !e.IsZero() {
			p.sample(k.labels(), float64(e.Unix()))
		}
	}
	p.family(family{"tulle_workload_config_age_seconds",
		"How long one of its proxies has been without destination, whose last word it holds: " +
			"the most, and 0 while all are connected."}, gaugeFamily)
	for _, k := range names {
		p.sample(k.labels(), all[k].age.Seconds())
	}
	p.family(family{"tulle_workload_recordings_folded",
		`Times that its proxies counted a new series as "other", beyond their cap.`}, gaugeFamily)
	for _, k := range names {
		p.sample(k.labels(), float64(all[k].dropped))
	}
}

func (k key) labels() []string {
	return []string{"namespace", k.namespace, "kind", k.kind, "workload", k.name}
}

func (s *store) fleets(now time.Time) map[key]*fleet {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[key]*fleet)
	for _, p := range s.processes {
		if !p.live(now) {
			continue
		}
		k, _ := p.workload.of("")
		if out[k] == nil && len(out) >= maxWorkloads {
			k = key{name: otherName}
		}
		if out[k] == nil {
			out[k] = &fleet{versions: make(map[string]int)}
		}
		out[k].add(p, now)
	}
	return out
}

// maxVersions bounds those of a workload's proxies that are told apart.
const maxVersions = 4

func (f *fleet) add(p *process, now time.Time) {
	version := p.version
	if f.versions[version] == 0 && len(f.versions) >= maxVersions {
		version = otherName
	}
	f.versions[version]++
	if p.expiry.Unix() > 0 && (f.expiry.IsZero() || p.expiry.Before(f.expiry)) {
		f.expiry = p.expiry
	}
	f.dropped += p.dropped
	if age := p.configAge(now); age != nil && !p.held.connected {
		f.age = max(f.age, *age)
	}
}
