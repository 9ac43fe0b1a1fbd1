package destination

import "context"

// Source fills a State and keeps it true: Kubernetes, or Files.
type Source interface {
	// Run works until the context ends. It calls synced once, when everything that is there has been applied.
	Run(ctx context.Context, state *State, synced func()) error
}
