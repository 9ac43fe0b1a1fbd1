package cli

import (
	"context"

	"github.com/tulle-mesh/tulle/cli/taps"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/viz"
)

// tapKeeper asks the API server who may tap; nil where there is none to ask: then nobody may.
func (s server) tapKeeper() *taps.Keeper {
	client, cfg, err := kube.Client()
	if err == nil {
		untyped, dynamicErr := kube.Dynamic(cfg)
		if dynamicErr == nil {
			return taps.New(client, untyped, s.log)
		}
		err = dynamicErr
	}
	s.log.Error("nobody can tap", "err", err)
	return nil
}

// keepTaps tells viz who may tap, until the context ends.
func (s server) keepTaps(ctx context.Context, keeper *taps.Keeper, v *viz.Server) error {
	if keeper == nil {
		return nil
	}
	if err := keeper.Run(ctx, v.SetSessions); err != nil { // proxies report all the same
		s.log.Error("nobody can tap", "err", err)
	}
	return nil
}
