// Package objectives brings ServiceLevelObjectives to viz, which knows neither Kubernetes nor
// files: follow.go from a source of destination's, read.go out of files; import.go reads what
// others' tools call one.
//
// It refuses what is wrong with an objective, or in another tool's file has no counterpart here,
// with the field and what to do.
//
// Follow owns its source's goroutine, and ends when its context does.
package objectives

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/viz/slo"
)

// Follow tells set all objectives that a source has, once it has been read and after each change,
// until the context ends.
func Follow(ctx context.Context, source destination.Source, set func([]slo.Objective)) error {
	reg, synced := registry.New(), make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return source.Run(ctx, reg, func() { close(synced) }) })
	group.Go(func() error {
		select {
		case <-synced:
		case <-ctx.Done():
			return nil
		}
		var told []slo.Objective
		for first := true; ; first = false {
			reg.TakeTouched()
			if now := all(reg); first || !slices.Equal(now, told) {
				set(now)
				told = now
			}
			select {
			case <-reg.Changed():
			case <-ctx.Done():
				return nil
			}
		}
	})
	return group.Wait()
}

// all are the objectives in a registry that can be used, by namespace and name.
func all(reg *registry.Registry) (out []slo.Objective) {
	reg.Read(func(v *registry.View) {
		for _, ref := range v.Policies() {
			if ref.Kind != crd.ServiceLevelObjectiveKind {
				continue
			}
			p := v.Policy(ref)
			if body, ok := p.Body.(*crd.ServiceLevelObjective); ok && p.Problem == "" {
				out = append(out, of(body))
			}
		}
	})
	slices.SortFunc(out, func(a, b slo.Objective) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// of is a valid objective as viz has it.
func of(o *crd.ServiceLevelObjective) slo.Objective {
	s := &o.Spec
	return slo.Objective{
		Namespace: o.Namespace, Name: o.Name, Service: s.TargetRef.Name, Route: s.Route,
		Target: s.Ratio(), Window: s.Days(), Latency: s.MaxLatency(),
	}
}
