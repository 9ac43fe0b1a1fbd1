package dev

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// folders is destination's source here: what Up wrote, and the user's own profiles, each in its
// folder.
type folders struct {
	dirs []string
	log  *slog.Logger
}

// Missing is nil: Run fails where a folder cannot be read.
func (f folders) Missing() error { return nil }

// Run reads and watches every folder until the context ends.
func (f folders) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	group, ctx := errgroup.WithContext(ctx)
	var left atomic.Int64
	left.Store(int64(len(f.dirs)))
	oneSynced := func() {
		if left.Add(-1) == 0 {
			synced()
		}
	}
	for _, dir := range f.dirs {
		source := &files.Source{Dir: dir, Log: f.log}
		group.Go(func() error { return source.Run(ctx, reg, oneSynced) })
	}
	return group.Wait()
}
