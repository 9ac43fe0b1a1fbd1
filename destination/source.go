package destination

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// Source fills a registry and keeps it true: kube.Source, files.Source, consul.Source, or Sources.
type Source interface {
	// Run works until the context ends. It calls synced once, when everything that is there has
	// been put into the registry.
	Run(ctx context.Context, reg *registry.Registry, synced func()) error
	// Missing says what has not been read yet, and why if that is known; nil if nothing is.
	Missing() error
}

// Sources are sources side by side. There must be one.
type Sources []Source

// Run runs them all until the context ends, or one of them fails.
func (all Sources) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	group, ctx := errgroup.WithContext(ctx)
	var left atomic.Int64
	left.Store(int64(len(all)))
	for _, source := range all {
		oneSynced := sync.OnceFunc(func() {
			if left.Add(-1) == 0 {
				synced()
			}
		})
		group.Go(func() error { return source.Run(ctx, reg, oneSynced) })
	}
	return group.Wait()
}

// Missing is what the first of them has not read yet.
func (all Sources) Missing() error {
	for _, source := range all {
		if err := source.Missing(); err != nil {
			return err
		}
	}
	return nil
}

// Watches are those of all of them.
func (all Sources) Watches() (out []registry.Watch) {
	for _, source := range all {
		out = append(out, watchesOf(source)...)
	}
	return out
}

// watchesOf is nothing where a source has no watches that could fail by themselves.
func watchesOf(source Source) []registry.Watch {
	if s, ok := source.(interface{ Watches() []registry.Watch }); ok {
		return s.Watches()
	}
	return nil
}
