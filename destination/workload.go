package destination

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

func workloadOf(w *registry.Workload) *api.Workload {
	return &api.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Owner, Pod: w.Name}
}
