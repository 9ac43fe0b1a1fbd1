package destination

import (
	"context"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// Source fills a registry and keeps it true: kube.Source, or files.Source.
type Source interface {
	// Run works until the context ends. It calls synced once, when everything that is there has
	// been put into the registry.
	Run(ctx context.Context, reg *registry.Registry, synced func()) error
	// Missing says what has not been read yet, and why if that is known; nil if nothing is.
	Missing() error
}
